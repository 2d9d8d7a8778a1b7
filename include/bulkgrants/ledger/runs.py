"""The record of each run: what it is for, how far it got, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, Engine, func, select, update
from sqlalchemy.engine import Row

from bulkgrants.errors import Misconfigured, Superseded
from bulkgrants.ledger.engine import reading
from bulkgrants.ledger.leases import Lease
from bulkgrants.ledger.tables import runs
from bulkgrants.ledger.upserts import insert_unless_there
from bulkgrants.model import Mode


@dataclass(frozen=True, slots=True)
class Scope:
    """Which part of the roster a run is about; empty means all of it."""

    tenants: tuple[str, ...] = ()
    mailbox: str | None = None
    """A normalised address."""

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return not self.tenants and self.mailbox is None


@dataclass(frozen=True, slots=True)
class Run:
    """One run as the ledger knows it."""

    run_id: int
    application: str
    key: str
    kind: str
    mode: Mode
    mode_reason: str
    roster_date: date | None
    scope: Scope
    token: int
    opened_at: datetime
    planned_at: datetime | None
    closed_at: datetime | None
    entries: int | None
    rejected: int | None
    observed: int | None

    @property
    def lease(self) -> Lease:
        """The lease under which the run was opened."""
        return Lease(self.application, self.run_id, self.token)


def open_record(
    connection: Connection, *, application: str, key: str, kind: str, now: datetime
) -> int:
    """The id of the run with this key, made where there is none that could still be used.

    A run that was planned or closed is not taken up again: its tasks were cleared by a person who
    wants it done anew, so it gets a fresh record under the key with a number behind it.
    """
    same = (runs.c.application == application) & (
        (runs.c.key == key) | runs.c.key.startswith(f"{key} #", autoescape=True)
    )
    number = 0
    while True:
        usable = connection.execute(
            select(runs.c.id)
            .where(same, runs.c.planned_at.is_(None), runs.c.closed_at.is_(None))
            .order_by(runs.c.id.desc())
        ).scalar()
        if usable is not None:
            return int(usable)
        number += 1
        connection.execute(
            insert_unless_there(connection, runs).values(
                application=application,
                key=f"{key} #{number}" if number > 1 else key,
                kind=kind,
                mode=Mode.AUDIT,
                opened_at=now,
            )
        )


def read_run(engine: Engine, run_id: int) -> Run:
    """The run with this id. Raises Misconfigured where this ledger has none."""
    with reading(engine).connect() as connection:
        row = connection.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
    if row is None:
        raise Misconfigured(
            f"The ledger has no run {run_id}; its connection points to another ledger than when "
            "the run was opened. Set it back, or start a new run."
        )
    return _run(row)


def require_unplanned(connection: Connection, run: Run) -> None:
    """Lock the run's record. Raises Superseded where it is planned or closed already."""
    row = connection.execute(
        select(runs.c.planned_at, runs.c.closed_at)
        .where(runs.c.id == run.run_id)
        .with_for_update(key_share=True)
    ).one()
    if row.planned_at is not None or row.closed_at is not None:
        raise Superseded(
            f"Run {run.key} is planned already; to do it anew, clear its first task "
            "with everything downstream."
        )


def note(connection: Connection, run_id: int, **values: object) -> None:
    """Write columns of the run's record."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(**values))


def newest_applied(connection: Connection, application: str) -> date | None:
    """The newest roster date that was ever applied: nothing older may be."""
    return connection.execute(
        select(func.max(runs.c.roster_date)).where(
            runs.c.application == application,
            runs.c.mode == Mode.APPLY,
            runs.c.planned_at.is_not(None),
        )
    ).scalar()


def _run(row: Row[tuple[object, ...]]) -> Run:
    return Run(
        run_id=row.id,
        application=row.application,
        key=row.key,
        kind=row.kind,
        mode=Mode(row.mode),
        mode_reason=row.mode_reason,
        roster_date=row.roster_date,
        scope=Scope(tuple(row.tenants or ()), row.mailbox),
        token=row.token,
        opened_at=row.opened_at,
        planned_at=row.planned_at,
        closed_at=row.closed_at,
        entries=row.entries,
        rejected=row.rejected,
        observed=row.observed,
    )
