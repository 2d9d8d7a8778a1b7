"""Decides whether the canary may be authenticated, from what Nylas and the ledger have for it.

Authenticating a mailbox rewrites the grant that it has: its credential, its scopes, its owner. So
the mailbox is looked at before it is probed. A grant that another party uses is never rewritten,
and a grant of ours never gets fewer scopes than it has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from bulkgrants.errors import Misconfigured
from bulkgrants.model import (
    Actual,
    Grant,
    GrantStatus,
    Onboarding,
    Provider,
    UnreadableGrant,
)
from bulkgrants.text import address_key, bounded, canonical_scopes, split_scopes


@dataclass(frozen=True, slots=True)
class Approach:
    """How to authenticate the canary."""

    scopes: str
    """Canonical scopes to ask for; empty for Microsoft."""
    address: str
    """The canary's address as its grant spells it: Nylas may take another spelling for another
    mailbox, and make a second grant."""
    grant: Actual | None = None
    """The grant that it has; None if it has none."""


def grants_of(
    canary: str, provider: Provider, listed: Iterable[Grant | UnreadableGrant]
) -> list[Grant]:
    """The canary's grants in a listing, whose filter may be looser than asked for.

    Raises Misconfigured if one of them cannot be read, since it may be another party's.
    """
    found = list[Grant]()
    for one in listed:
        if isinstance(one, Grant):
            if one.provider == provider and address_key(one.email) == canary:
                found.append(one)
        elif one.provider in {provider, None} and address_key(one.email) in {canary, ""}:
            raise Misconfigured(
                f"The canary {bounded(canary, 120)} was not probed: Nylas lists a grant for it "
                f"that cannot be read ({bounded(one.fault)}). Name a mailbox without a grant in "
                "the column `canary` of the tenants table."
            )
    return found


def approach(
    onboarding: Onboarding,
    listed: Iterable[Grant],
    recorded: Actual | None,
    *,
    gone: bool,
    credential_id: str,
    registered: Collection[str],
) -> Approach:
    """How to authenticate the canary. Raises Misconfigured if its grant must not be rewritten.

    `listed` are the canary's grants at Nylas. `recorded` is the one in the ledger, `gone` if a
    listing did not have it. A filtered listing may be behind by more than a minute, and may know
    the address in another spelling only; so a grant that only the ledger has counts too.
    `registered` are the ids of all credentials that the ledger knows.
    """
    ours = recorded.grant_id if recorded is not None and recorded.owned else None
    there = [
        _actual(
            one,
            owned=one.grant_id == ours
            or (one.credential_id == credential_id and one.made_since(onboarding.since)),
        )
        for one in listed
    ]
    if not there and recorded is not None and not gone:
        there.append(recorded)
    for one in there:
        _require_ours(onboarding, one, credential_id, registered)
    carried = [one.scopes for one in there if not one.owned or one.status is GrantStatus.VALID]
    scopes = onboarding.scopes
    if scopes:  # without any, the provider decides
        scopes = canonical_scopes(" ".join((scopes, *carried)))
    known = next((one for one in there if one.grant_id == ours), there[0] if there else None)
    address = known.address if known is not None else ""
    return Approach(scopes, address or onboarding.canary, known)


def _require_ours(
    onboarding: Onboarding, grant: Actual, credential_id: str, registered: Collection[str]
) -> None:
    """Raise Misconfigured unless authenticating the grant again takes nothing from any party."""
    canary = bounded(onboarding.canary, 120)
    head = f"The canary {canary} of the tenant {onboarding.tenant} was not probed: it already has "
    which = f"(grant {bounded(grant.grant_id, 80)})"
    way_out = (
        "Name a mailbox without a grant in the column `canary` of the tenants table. If the grant "
        "was deleted meanwhile, run reconcile_grants first, which sees that."
    )
    if grant.credential_id == credential_id:
        wanted = set(split_scopes(onboarding.scopes))
        if grant.owned or wanted <= set(split_scopes(grant.scopes)):
            return
        raise Misconfigured(
            f"{head}a grant with other scopes that this project did not make {which}, and a probe "
            f"would change them. {way_out}"
        )
    if not grant.owned:
        raise Misconfigured(
            f"{head}a grant of another party {which}, which uses "
            f"{_credential(grant)}, and a probe would take it over. {way_out}"
        )
    # Ours under a credential that was deleted or made anew: it is broken, and the probe mends it.
    lost = grant.credential_id is None or grant.credential_id not in registered
    if lost and (grant.credential_id is None or grant.status is GrantStatus.INVALID):
        return
    raise Misconfigured(
        f"{head}a grant under {_credential(grant)} {which}, not under the tenant's credential "
        f"'{bounded(onboarding.credential, 80)}', and a probe would move it. Write the former "
        "credential into the tenants table again, or name a mailbox without a grant in its column "
        "`canary`."
    )


def _credential(grant: Actual) -> str:
    if grant.credential_id is None:
        return "no credential"
    return f"the credential with the id {bounded(grant.credential_id, 80)}"


def _actual(grant: Grant, *, owned: bool) -> Actual:
    return Actual(
        grant_id=grant.grant_id,
        status=grant.status,
        scopes=grant.scopes,
        credential_id=grant.credential_id,
        blocked=grant.blocked,
        owned=owned,
        orphan_since=None,
        address=grant.email,
    )
