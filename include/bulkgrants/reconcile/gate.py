"""Which roster a run is for, and whether it may write: an old roster never meets live grants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from bulkgrants.errors import Misconfigured, Unavailable
from bulkgrants.model import Mode


@dataclass(frozen=True, slots=True)
class Admission:
    """The roster date a run is for, and what it may do."""

    roster_date: date | None
    mode: Mode
    reason: str
    """Why it does nothing at all, in one sentence; empty where it goes on."""


def admit(
    mode: Mode,
    *,
    day: date,
    today: date,
    exact: bool,
    dated: bool,
    newest: date | None,
    newest_applied: date | None,
) -> Admission:
    """Decide what a run for `day` may do; `mode` is what it would like to.

    `exact` is true for scheduled and backfill runs, which are for their day and no other; a manual
    run takes the newest roster not later than its day. `dated` tells whether the roster has a
    partition a day, and `newest` which is the last. A plain current table has neither: it says how
    things are now, so a run that is exact and for an earlier day than `today` finds nothing in it.

    Raises Unavailable where the day's partition is not there yet, Misconfigured where the roster
    has none at all.
    """
    if not dated and exact and day < today:
        reason = f"The roster is a current table, which says nothing of {day}."
        return Admission(None, Mode.AUDIT, reason)
    if not dated:
        return Admission(None, mode, "")
    if newest is None:
        raise Misconfigured("The roster table has no partition at all; load one.")
    if day > newest and exact:
        raise Unavailable(
            f"The roster has no partition for {day} yet; the newest is {newest}. "
            "Load it and this task goes on by itself while it has retries, or clear it.",
            after=600.0,
        )
    if day < newest:
        reason = f"This run is for {day}, but the newest roster is {newest}."
        return Admission(day, Mode.AUDIT, reason)
    if newest_applied is not None and newest < newest_applied:
        reason = f"Roster {newest_applied} has been applied already, and {newest} is older."
        return Admission(newest, Mode.AUDIT, reason)
    return Admission(newest, mode, "")
