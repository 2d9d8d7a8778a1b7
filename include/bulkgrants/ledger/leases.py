"""One run per application at a time: a lease with a fencing token."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Engine, and_, select, update

from bulkgrants.errors import LeaseHeld, Superseded
from bulkgrants.ledger.tables import leases, runs
from bulkgrants.ledger.upserts import insert_unless_there

LEASE_TERM = timedelta(minutes=15)
"""How long a run that has fallen silent keeps others out. Work renews it far more often."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one run to write for its application."""

    application: str
    run_id: int
    token: int
    """Grows with every change of hands; a writer with an older one is too late."""


def acquire(engine: Engine, application: str, run_id: int, now: datetime) -> Lease:
    """Take the lease, or keep it where this run holds it already.

    Raises LeaseHeld while another run's lease has not expired, naming that run.
    """
    mine = leases.c.application == application
    with engine.begin() as connection:
        connection.execute(
            insert_unless_there(connection, leases).values(
                application=application, token=0, expires_at=now
            )
        )
        row = connection.execute(
            select(leases.c.token, leases.c.expires_at, leases.c.run_id, runs.c.key)
            .join(runs, runs.c.id == leases.c.run_id, isouter=True)
            .where(mine)
            .with_for_update(of=leases)
        ).one()
        held = row.run_id is not None and row.expires_at > now
        if row.run_id == run_id or not held:
            token = row.token if row.run_id == run_id else row.token + 1
            connection.execute(
                update(leases)
                .where(mine)
                .values(run_id=run_id, token=token, expires_at=now + LEASE_TERM)
            )
            return Lease(application, run_id, token)
    raise LeaseHeld(
        f"Run {row.key} of the same application is under way; its lease ends at "
        f"{row.expires_at:%Y-%m-%d %H:%M:%S} UTC unless it goes on.",
        after=max(1.0, (row.expires_at - now).total_seconds()),
    )


def renew(connection: Connection, lease: Lease, now: datetime) -> None:
    """Keep the lease, within the transaction whose writes it protects.

    Raises Superseded where the run has been replaced; then the transaction must not commit.
    """
    kept = connection.execute(
        update(leases).where(_held_by(lease)).values(expires_at=now + LEASE_TERM)
    ).rowcount
    if not kept:
        raise Superseded(
            "This run no longer holds its application's lease: it is closed, or it fell silent for "
            "too long and another run took its place. Nothing more is written; start a new run."
        )


def release(connection: Connection, lease: Lease, now: datetime) -> None:
    """Give the lease back; without effect where somebody else holds it by now."""
    connection.execute(update(leases).where(_held_by(lease)).values(run_id=None, expires_at=now))


def _held_by(lease: Lease) -> ColumnElement[bool]:
    return and_(
        leases.c.application == lease.application,
        leases.c.run_id == lease.run_id,
        leases.c.token == lease.token,
    )
