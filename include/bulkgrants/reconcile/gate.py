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


@dataclass(frozen=True, slots=True)
class RosterState:
    """The day a run is for, and what the roster has to offer."""

    day: date
    """The run's logical date."""
    today: date
    exact: bool
    """Whether the run is for its day and no other, as scheduled and backfill runs are; a manual
    run takes the newest roster not later than its day."""
    dated: bool
    """Whether the roster has a partition a day; a plain current table says how things are now."""
    newest: date | None
    """The newest partition, where there is any."""


def admit(mode: Mode, roster: RosterState, newest_applied: date | None) -> Admission:
    """Decide what a run may do; `mode` is what it would like to.

    Raises Unavailable where the day's partition is not there yet, Misconfigured where the roster
    has none at all.
    """
    if not roster.dated:
        if roster.exact and roster.day < roster.today:
            reason = f"The roster is a current table, which says nothing of {roster.day}."
            return Admission(None, Mode.AUDIT, reason)
        return Admission(None, mode, "")
    if roster.newest is None:
        raise Misconfigured("The roster has not a single partition; load one.")
    if roster.day > roster.newest and roster.exact:
        raise Unavailable(
            f"The roster has no partition for {roster.day} yet, the newest is {roster.newest}; "
            "load it, and this task goes on by itself.",
            after=600.0,
        )
    if roster.day < roster.newest:
        reason = f"This run is for {roster.day}, but the newest roster is {roster.newest}."
        return Admission(roster.day, Mode.AUDIT, reason)
    if newest_applied is not None and roster.newest < newest_applied:
        reason = f"Roster {newest_applied} was applied already, and {roster.newest} is older."
        return Admission(roster.newest, Mode.AUDIT, reason)
    return Admission(roster.newest, mode, "")
