"""Decides what happens to a mailbox: values in, one change or skip out. Only this file decides."""

from __future__ import annotations

from datetime import datetime

from bulkgrants.model import (
    Actual,
    Awaiting,
    Candidate,
    Change,
    Circumstances,
    Create,
    Desired,
    GrantStatus,
    Provider,
    Renew,
    Rescope,
    Revoke,
    Skip,
    SkipReason,
)
from bulkgrants.reconcile.escrow import LONGEST_ESCROW


def decide(
    desired: Desired | None, actual: Actual | None, circumstances: Circumstances
) -> Change | Skip:
    """What to do with one mailbox, given what the roster and the API say about it.

    Reasons to leave it alone come first, the strongest of them at the top, so that a skip names the
    one that a person would have to remove. A broken grant is renewed, never deleted and made again,
    because deleting is final (docs/nylas-api.md, Grants). If its credential was deleted and made
    anew under the same name, it is renewed under the new id; while it is valid, the old credential
    still works, so it is left alone. A Microsoft grant carries the permissions of the day on which
    it was authenticated; once the tenant's canary has others, it is authenticated again. Raises
    ValueError for a mailbox that is neither in the roster nor at Nylas.
    """
    if desired is not None:
        return _with_entry(desired, actual, circumstances)
    if actual is not None:
        return _without_entry(actual, circumstances)
    raise ValueError("A mailbox that neither side knows is not a candidate.")


def _with_entry(
    desired: Desired, actual: Actual | None, circumstances: Circumstances
) -> Change | Skip:
    obstacle = _obstacle(actual, circumstances)
    if obstacle is not None:
        return obstacle
    if circumstances.shared_with is not None:
        return _shared(circumstances.shared_with)
    if desired.credential_id is None:
        return Skip(SkipReason.CREDENTIAL_NOT_REGISTERED)
    if actual is None:
        return Create(desired.tenant, desired.scopes, desired.credential_id)
    other = actual.credential_id != desired.credential_id
    if other and not (circumstances.credential_made_anew and actual.status is GrantStatus.INVALID):
        return Skip(SkipReason.CREDENTIAL_DIFFERS, f"grant uses {actual.credential_id or 'none'}")
    if actual.status is GrantStatus.INVALID:
        return Renew(desired.tenant, desired.scopes, desired.credential_id, actual.grant_id)
    rescoped = circumstances.provider == Provider.GOOGLE and actual.scopes != desired.scopes
    if rescoped or circumstances.permissions_changed:
        return Rescope(desired.tenant, desired.scopes, desired.credential_id, actual.grant_id)
    return Skip(SkipReason.EQUAL)


def _obstacle(actual: Actual | None, circumstances: Circumstances) -> Skip | None:
    """What prevents any change to a mailbox that should have a grant."""
    standing, escrow, now = circumstances.standing, circumstances.escrow, circumstances.now
    if not standing.enabled:
        return Skip(SkipReason.TENANT_DISABLED)
    if actual is not None and actual.blocked:
        return Skip(SkipReason.GRANT_BLOCKED)
    if circumstances.unreadable:
        return Skip(SkipReason.GRANT_UNREADABLE, "Nylas lists a grant that cannot be read")
    if standing.awaiting is Awaiting.CONSENT:
        return Skip(SkipReason.AWAITING_CONSENT)
    if standing.awaiting is Awaiting.PROPAGATION:
        return Skip(SkipReason.AWAITING_PROPAGATION)
    if standing.quarantined_until is not None and standing.is_quarantined(now):
        detail = f"until {_moment(standing.quarantined_until)}: {standing.quarantine_reason}"
        return Skip(SkipReason.TENANT_QUARANTINED, detail)
    if escrow is not None and escrow.due_at is None:
        return Skip(SkipReason.GIVEN_UP, escrow.reason)
    # a time further away was written by a clock that was ahead
    if (
        escrow is not None
        and escrow.due_at is not None
        and (now < escrow.due_at <= now + LONGEST_ESCROW)
    ):
        return Skip(SkipReason.IN_ESCROW, f"until {_moment(escrow.due_at)}: {escrow.reason}")
    return None


def _without_entry(actual: Actual, circumstances: Circumstances) -> Change | Skip:
    if circumstances.rejected:
        return Skip(SkipReason.ROSTER_ROW_REJECTED)
    if not actual.owned:
        return Skip(SkipReason.FOREIGN)
    if not circumstances.standing.enabled:
        return Skip(SkipReason.TENANT_DISABLED)
    if circumstances.shared_with is not None:
        return _shared(circumstances.shared_with)
    grace_ends = (actual.orphan_since or circumstances.now) + circumstances.standing.grace
    if circumstances.now < grace_ends:
        return Skip(SkipReason.IN_GRACE, f"until {_moment(grace_ends)}")
    return Revoke(actual.grant_id)


def _shared(mailbox: str) -> Skip:
    return Skip(SkipReason.GRANT_SHARED, f"it has the grant of {mailbox}, whose row counts")


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def is_new_orphan(candidate: Candidate) -> bool:
    """Whether this is the first plan that finds the mailbox's grant without an entry."""
    if candidate.desired is not None or candidate.actual is None:
        return False
    if candidate.rejected or candidate.shared_with is not None:
        return False
    return candidate.actual.orphan_since is None
