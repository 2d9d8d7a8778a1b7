"""Decides how long a mailbox that was refused, or not served, is left alone.

Values in, values out. Every refused mailbox has a record in escrow, whatever the reason: it is
tried again later, after all others, and what it is answered then says nothing about its tenant.
The record ends when the mailbox is as the roster asks or leaves the roster, and it no longer counts
when its row, its credential or the credential's secret changes.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bulkgrants.model import EscrowRecord, NotGranted, NotServed, Outcome

GIVEN_UP_AFTER = timedelta(days=28)
FEWEST_REFUSALS = 14
"""A mailbox is not given up before it was refused this often, however long that took."""
UNSERVED_FOR = timedelta(hours=40)
"""How long a mailbox may go unserved before it goes into escrow, if its tenant was served since. In
between lies one more night, so a single long outage is not enough."""
UNSERVED_ALONE = timedelta(days=7)
"""The same if nothing shows that its tenant is served, as it may be every night's only change."""
LONGEST_ESCROW = timedelta(hours=23)
"""A day, less the time that a run may take. A nightly run begins at the same time every night, and
the mailbox is refused some minutes later. With a full day it would not be due yet when the next run
plans, and would be tried only every other night."""

_FIRST_ESCROW = timedelta(hours=6)
_ONE_RUN = timedelta(hours=6)
"""What was answered this long before a mailbox fell silent was answered in the same run."""


def escrow_until(
    refusals: int, first_refused_at: datetime, now: datetime, *, lasting: bool = True
) -> datetime | None:
    """When a mailbox is due after its n-th refusal in a row; None once it is given up.

    It is due after 6 hours, then 12, then daily. If the reason is a `lasting` one of the mailbox
    itself, it is given up 28 days after the first refusal. A reason that somebody may remove for
    the whole tenant is tried daily for as long as it lasts.
    """
    often, long = refusals >= FEWEST_REFUSALS, now - first_refused_at >= GIVEN_UP_AFTER
    if lasting and often and long:
        return None
    wait: timedelta = _FIRST_ESCROW * (1 << min(refusals - 1, 8))
    return now + min(wait, LONGEST_ESCROW)


def after_refusal(one: NotGranted, before: EscrowRecord | None) -> EscrowRecord:
    """The record of a mailbox that was refused; `before` is its record until now.

    Refusals add up while the reason and what the roster asks for stay the same.
    """
    if before is not None and (before.reason != one.reason or not _counts(before, one)):
        before = None
    count = before.refusals + 1 if before else 1
    since = before.first_refused_at if before else one.at
    due_at = escrow_until(count, since, one.at, lasting=one.lasting)
    return _record(one, refusals=count, since=since, due_at=due_at)


def after_silence(one: NotServed, before: EscrowRecord | None) -> EscrowRecord:
    """The record of a mailbox that was not served; it stays due.

    A record that counts is kept: it says why the mailbox was refused, or since when it is silent.
    One of a time to come was written by a clock that was ahead; the silence begins anew.
    """
    if before is not None and before.first_refused_at <= one.at and _counts(before, one):
        return before
    return _record(one, refusals=0, since=one.at, due_at=one.at)


def silent_for_too_long(
    one: NotServed, before: EscrowRecord | None, *, tenant_answered_at: datetime | None
) -> NotGranted | None:
    """The refusal with which a change ends whose mailbox was not served for too long.

    `tenant_answered_at` is when another change of its tenant was last answered.
    """
    if before is None or not _counts(before, one):
        return None
    silent = before.reason == one.reason
    since = before.first_refused_at if silent else before.due_at
    if since is None:
        return None
    alone = tenant_answered_at is None or tenant_answered_at < since - _ONE_RUN
    long = one.at - since >= (UNSERVED_ALONE if alone else UNSERVED_FOR)
    if not (long or (silent and before.refusals)):  # refused for its silence before
        return None
    return NotGranted(one.change, Outcome.REFUSED, one.reason, one.code, one.message, one.at)


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
