"""Decides how long a mailbox that was refused, or not served, is left alone.

Values in, values out. Every refused mailbox has a record in escrow, whatever the reason: it is
tried again later, after all others, and what it is answered then says nothing about its tenant.
The record ends when the mailbox is as the roster asks or leaves the roster, and it no longer counts
when its row, its credential or the credential's secret changes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeGuard

from bulkgrants.model import EscrowRecord, NotGranted, NotServed, Outcome

GIVEN_UP_AFTER = timedelta(days=28)
UNSERVED_FOR = timedelta(hours=40)
"""How long a mailbox may go unserved, while others are served, before it goes into escrow. In
between lies one more night, so a single long outage is not enough."""
_FIRST_ESCROW = timedelta(hours=6)
_LONGEST_ESCROW = timedelta(hours=23)
"""A day, less the time that a run may take. A nightly run begins at the same time every night, and
the mailbox is refused some minutes later. With a full day it would not be due yet when the next run
plans, and would be tried only every other night."""


def escrow_until(
    refusals: int, first_refused_at: datetime, now: datetime, *, concerns_mailbox: bool = True
) -> datetime | None:
    """When a mailbox is due after its n-th refusal in a row; None once it is given up.

    It is due after 6 hours, then 12, then daily. If the mailbox itself is the reason, it is given
    up 28 days after the first refusal. A reason that somebody may remove for the whole tenant is
    tried daily for as long as it lasts.
    """
    if concerns_mailbox and now - first_refused_at >= GIVEN_UP_AFTER:
        return None
    wait: timedelta = _FIRST_ESCROW * (1 << min(refusals - 1, 8))
    return now + min(wait, _LONGEST_ESCROW)


def after_refusal(one: NotGranted, before: EscrowRecord | None) -> EscrowRecord:
    """The record of a mailbox that was refused; `before` is its record until now."""
    if before is not None and not _counts(before, one):
        before = None
    count = before.refusals + 1 if before else 1
    since = before.first_refused_at if before else one.at
    due_at = escrow_until(count, since, one.at, concerns_mailbox=one.concerns_mailbox)
    return _record(one, refusals=count, since=since, due_at=due_at)


def after_silence(one: NotServed, before: EscrowRecord | None) -> EscrowRecord:
    """The record of a mailbox that was not served, although others were.

    It stays due until this has gone on for `UNSERVED_FOR`.
    """
    since = before.first_refused_at if _is_silent(before, one) else one.at
    return _record(one, refusals=0, since=since, due_at=one.at)


def silent_for_too_long(one: NotServed, before: EscrowRecord | None) -> NotGranted | None:
    """The refusal with which a change ends whose mailbox was not served for `UNSERVED_FOR`."""
    if not _is_silent(before, one) or one.at - before.first_refused_at < UNSERVED_FOR:
        return None
    return NotGranted(
        one.change, Outcome.REFUSED, one.reason, one.code, one.message, one.at,
        concerns_mailbox=True,
    )  # fmt: skip


def _is_silent(before: EscrowRecord | None, one: NotServed) -> TypeGuard[EscrowRecord]:
    return before is not None and before.reason == one.reason and _counts(before, one)


def _counts(record: EscrowRecord, one: NotGranted | NotServed) -> bool:
    """Whether the record is about the row and the credential that the change is for."""
    asked = (one.change.tenant, one.change.scopes, one.change.credential_id)
    return asked == (record.tenant, record.scopes, record.credential_id)


def _record(
    one: NotGranted | NotServed, *, refusals: int, since: datetime, due_at: datetime | None
) -> EscrowRecord:
    return EscrowRecord(
        provider=one.change.provider,
        email=one.change.email,
        tenant=one.change.tenant,
        scopes=one.change.scopes,
        credential_id=one.change.credential_id,
        reason=one.reason,
        code=one.code,
        message=one.message,
        refusals=refusals,
        first_refused_at=since,
        due_at=due_at,
    )
