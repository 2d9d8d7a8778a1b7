"""Mailboxes that were refused, and when they are due again."""

from __future__ import annotations

from datetime import datetime, timedelta

GIVEN_UP_AFTER = timedelta(days=28)
_FIRST = timedelta(hours=6)
_LONGEST = timedelta(hours=23)
"""A day, less the time that a run takes: else a nightly run, which begins when it always does and
refuses some minutes later, would find the mailbox not yet due, and try it every other night.
"""


def due_after(refusals: int, first_refused_at: datetime, now: datetime) -> datetime | None:
    """When a mailbox is due after its n-th refusal in a row; None once it is given up.

    After 6 and 12 hours, then daily, for 28 days from the first refusal.
    """
    if now - first_refused_at >= GIVEN_UP_AFTER:
        return None
    wait: timedelta = _FIRST * (1 << min(refusals - 1, 8))
    return now + min(wait, _LONGEST)
