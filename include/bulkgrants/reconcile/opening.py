"""Opens a run: the lease, then the question whether its roster may meet live grants."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Engine

from bulkgrants.errors import Misconfigured
from bulkgrants.ledger import leases, runs
from bulkgrants.ledger.engine import reading
from bulkgrants.ledger.runs import Run, Scope
from bulkgrants.model import Mode
from bulkgrants.reconcile.gate import Admission, RosterState, admit
from bulkgrants.rosters.addresses import BadAddress, normalise_address


def scope_of(tenants: Iterable[str], mailbox: str | None) -> Scope:
    """The scope that a person asked for. Raises Misconfigured for what is no mailbox address."""
    if not mailbox:
        return Scope(tenants=tuple(tenants))
    try:
        return Scope(tenants=tuple(tenants), mailbox=normalise_address(mailbox))
    except BadAddress as error:
        raise Misconfigured(
            f"The run is for one mailbox, but that is no address: {error}"
        ) from None


def take_lease(engine: Engine, *, application: str, key: str, kind: str, now: datetime) -> Run:
    """The run with this key, holding its application's lease; a second call gives the same run.

    Raises LeaseHeld while another run of the application is under way.
    """
    with engine.begin() as connection:
        run_id = runs.open_record(connection, application=application, key=key, kind=kind, now=now)
    lease = leases.acquire(engine, application, run_id, now)
    with engine.begin() as connection:
        runs.note(connection, run_id, token=lease.token)
    return runs.read_run(engine, run_id)


def admit_run(engine: Engine, run: Run, admission: Admission, scope: Scope) -> Run:
    """Record what the run is for and what it may do."""
    with engine.begin() as connection:
        runs.note(
            connection,
            run.run_id,
            mode=admission.mode,
            mode_reason=admission.reason,
            roster_date=admission.roster_date,
            tenants=list(scope.tenants) or None,
            mailbox=scope.mailbox,
        )
    return runs.read_run(engine, run.run_id)


def open_run(
    engine: Engine,
    *,
    application: str,
    key: str,
    kind: str,
    mode: Mode,
    scope: Scope,
    roster: RosterState,
    now: datetime,
) -> Run:
    """Open a run with all that it is for; safe to repeat until the run is planned.

    Raises LeaseHeld or Unavailable while it has to wait, Misconfigured where waiting would not
    help.
    """
    with reading(engine).connect() as connection:
        admission = admit(mode, roster, runs.newest_applied(connection, application))
    run = take_lease(engine, application=application, key=key, kind=kind, now=now)
    return admit_run(engine, run, admission, scope)
