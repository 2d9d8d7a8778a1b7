"""Asks a tenant's canary whether its provider still honours the admin's consent.

Mailboxes are refused for want of consent for reasons of their own too: a partner's address, or a
permission that only they need. So before a tenant is sent back to its admin, its canary is asked.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from enum import StrEnum

from bulkgrants.errors import Refused, Retriable
from bulkgrants.ledger import changes
from bulkgrants.ledger.database import Ledger, reading
from bulkgrants.ledger.onboarding import read_onboarding, record_probe
from bulkgrants.ledger.rights import writing
from bulkgrants.ledger.staging import Owned, may_authenticate, own
from bulkgrants.ledger.tenants import credential_ids
from bulkgrants.model import BatchClaim, Grant, Onboarding, Probed, ProbeOutcome
from bulkgrants.nylas.calls import Call, authenticate
from bulkgrants.nylas.sending import AsyncSender
from bulkgrants.ports import Clock
from bulkgrants.refusals import Refusal
from bulkgrants.text import bounded, missing_scopes, split_scopes

SEVERAL = 3
"""This many refused mailboxes may speak for a tenant whose canary cannot be asked."""
LATELY = timedelta(hours=12)
"""A grant that the tenant got within this time shows that its consent is honoured."""
_LONGEST_MESSAGE = 1000


class Consent(StrEnum):
    """What a canary has shown."""

    HONOURED = "honoured"
    MISSING = "missing"
    UNKNOWN = "unknown"
    """It could not be asked, or gave no answer about the consent."""


async def has_lost_consent(
    ledger: Ledger,
    sender: AsyncSender,
    claim: BatchClaim,
    tenant: str,
    *,
    refused: int,
    clock: Clock,
) -> bool:
    """Whether a tenant with `refused` mailboxes that lack consent has lost it as a whole.

    The canary decides. If it cannot, several mailboxes do, unless the tenant got a grant lately.
    Raises Superseded, and the Fatal errors of the sender.
    """
    seen = await _consent(ledger, sender, claim, tenant, clock)
    if seen is not Consent.UNKNOWN:
        return seen is Consent.MISSING
    if refused < SEVERAL:
        return False
    since = clock() - LATELY
    return not await asyncio.to_thread(
        changes.got_grant_since, ledger, claim.application, tenant, since
    )


async def _consent(
    ledger: Ledger, sender: AsyncSender, claim: BatchClaim, tenant: str, clock: Clock
) -> Consent:
    """Authenticate the canary, and record the probe and the grant."""
    onboarding, call = await asyncio.to_thread(_call, ledger, claim.application, tenant)
    if call is None:
        return Consent.UNKNOWN
    every = tuple(split_scopes(onboarding.required))
    grant: Grant | None = None
    try:
        grant = await sender.send(call)  # once: the batch goes on without a slow answer
    except Refused as error:
        message = bounded(error, _LONGEST_MESSAGE)
        probed = Probed(ProbeOutcome.REFUSED, every, message, error.known)
        is_missing = error.known.refusal is Refusal.CONSENT_MISSING
        seen = Consent.MISSING if is_missing else Consent.UNKNOWN
    except Retriable as error:
        probed = Probed(ProbeOutcome.UNSERVED, every, bounded(error, _LONGEST_MESSAGE))
        seen = Consent.UNKNOWN
    else:
        missing = missing_scopes(onboarding.required, grant.scopes)
        probed = Probed(ProbeOutcome.PARTIAL if missing else ProbeOutcome.GRANTED, missing)
        seen = Consent.HONOURED
    await asyncio.to_thread(_record, ledger, claim, onboarding, probed, grant, clock)
    return seen


def _call(ledger: Ledger, application: str, tenant: str) -> tuple[Onboarding, Call[Grant] | None]:
    """The canary's authentication, or None if it must not be sent: its grant may not be ours."""
    onboarding = read_onboarding(ledger, application, tenant)
    provider, email = onboarding.provider, onboarding.canary
    with reading(ledger) as connection:
        credential_id = credential_ids(connection, application).get(
            (provider, onboarding.credential)
        )
        if not email or credential_id is None:
            return onboarding, None
        if not may_authenticate(connection, application, provider, email, credential_id):
            return onboarding, None
    return onboarding, authenticate(provider, email, credential_id, onboarding.scopes)


def _record(
    ledger: Ledger,
    claim: BatchClaim,
    onboarding: Onboarding,
    probed: Probed,
    grant: Grant | None,
    clock: Clock,
) -> None:
    with writing(ledger, claim, clock()) as write:
        record_probe(write, onboarding.tenant, onboarding.canary, probed)
        if grant is not None:
            own(write, [Owned(onboarding.provider, onboarding.canary, onboarding.tenant, grant)])
