"""Opens a run: the lease, then the question whether its roster may meet live grants."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine

from bulkgrants.ledger import leases, runs
from bulkgrants.ledger.runs import Run, Scope
from bulkgrants.reconcile.gate import Admission


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
