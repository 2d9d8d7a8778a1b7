"""Opens a run: decides what it may do with its roster, and takes the lease."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from bulkgrants.errors import Misconfigured, Unavailable
from bulkgrants.ledger import runs
from bulkgrants.ledger.database import Ledger
from bulkgrants.ledger.rights import take_lease, writing
from bulkgrants.model import Mode, Run, RunKind, Selection
from bulkgrants.text import BadAddress, normalise_address

_PRESENT = timedelta(days=1)
"""How long after its due time a run of a current table still shows its own day: until the next
night's run is due. Midnight alone does not make it old, since it may have waited for a lease."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The roster date that a run is for, and what it may do."""

    roster_date: date | None
    mode: Mode
    reason: str
    """Why the run does nothing at all, in one sentence; empty if it continues."""


@dataclass(frozen=True, slots=True)
class RosterState:
    """The day that a run is for, and which days the roster has."""

    day: date
    """The run's logical date."""
    today: date
    exact: bool
    """Whether the run needs the roster of exactly its day, as scheduled and backfill runs do; a
    manual run uses the newest roster that is not later than its day."""
    dated: bool
    """Whether the roster has a partition for each day; a current table shows only the present."""
    newest: date | None
    """The newest partition, which is not after `today`; None if there is none."""
    overdue: timedelta = timedelta()
    """How long ago the run was due."""
    undated: str = ""
    """The rows whose date cannot be read, in words; empty if there are none."""


def admit(mode: Mode, roster: RosterState, newest_applied: date | None) -> Admission:
    """Decide what a run may do; `mode` is what it was started for.

    An old roster is never applied to today's grants. Raises Unavailable if the partition that the
    run needs does not exist yet.
    """
    if not roster.dated:
        if roster.exact and roster.overdue >= _PRESENT:
            reason = f"The roster is a current table, which does not show {roster.day}."
            return Admission(None, Mode.AUDIT, reason)
        return Admission(None, mode, "")
    if roster.newest is None:
        raise _not_yet("The roster has no partition; load one", roster)
    if roster.day > roster.newest and roster.exact:
        raise _not_yet(
            f"The roster has no partition for {roster.day} yet, the newest is {roster.newest}; "
            "load it",
            roster,
        )
    if roster.day < roster.newest:
        reason = f"This run is for {roster.day}, but the newest roster is {roster.newest}."
        return Admission(roster.day, Mode.AUDIT, reason)
    if newest_applied is not None and roster.newest < newest_applied:
        reason = f"Roster {newest_applied} has already been applied, and {roster.newest} is older."
        return Admission(roster.newest, Mode.AUDIT, reason)
    return Admission(roster.newest, mode, "")


def _not_yet(what: str, roster: RosterState) -> Unavailable:
    undated = f" No date can be read in {roster.undated}." if roster.undated else ""
    return Unavailable(f"{what}, and this task will continue by itself.{undated}", after=600.0)


def selection_of(tenants: Iterable[str], mailbox: str | None) -> Selection:
    """The part of the roster that a person asked for. Raises Misconfigured for a wrong address."""
    if not mailbox:
        return Selection(tenants=tuple(tenants))
    try:
        return Selection(tenants=tuple(tenants), mailbox=normalise_address(mailbox))
    except BadAddress as error:
        raise Misconfigured(
            f"The run is for one mailbox, but the address cannot be used: {error}"
        ) from None


def open_run(
    ledger: Ledger,
    *,
    application: str,
    key: str,
    kind: RunKind,
    mode: Mode,
    selection: Selection,
    roster: RosterState,
    now: datetime,
) -> Run:
    """Open a run, take the lease, and record what it is for; safe to repeat until it is planned.

    A second call with the same key returns the same run, which has to read everything anew: it may
    be for another day now, and another run may have staged its own roster meanwhile. Raises
    LeaseHeld or Unavailable if it has to wait, Misconfigured if waiting does not help.
    """
    admission = admit(mode, roster, runs.newest_applied(ledger, application, roster.today))
    run_id = runs.open_record(ledger, application=application, key=key, kind=kind, now=now)
    take_lease(ledger, application=application, run_id=run_id)
    with writing(ledger, runs.read_run(ledger, run_id), now) as write:
        runs.note(
            write,
            mode=admission.mode,
            mode_reason=admission.reason,
            roster_date=admission.roster_date,
            tenants=list(selection.tenants) or None,
            mailbox=selection.mailbox,
            entries=None,
            rejected=None,
            observed=None,
        )
    return runs.read_run(ledger, run_id)
