"""The record of each run: what it is for, how far it got, and what it did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime

from sqlalchemy import Connection, func, select, update
from sqlalchemy.engine import Row

from bulkgrants.errors import Misconfigured, Superseded
from bulkgrants.ledger.database import Ledger, insert_unless_there, reading
from bulkgrants.ledger.rights import Writing, release_lease
from bulkgrants.ledger.tables import runs
from bulkgrants.model import Mode, Run, RunKind, Selection


def open_record(ledger: Ledger, *, application: str, key: str, kind: RunKind, now: datetime) -> int:
    """The id of the run with this key; creates a record unless there is one that can be used.

    A run that was planned or closed is not used again. It comes back only if a person has cleared
    its tasks to start over, so it gets a new record whose key ends in a number.
    """
    same = (runs.c.application == application) & (
        (runs.c.key == key) | runs.c.key.startswith(f"{key} #", autoescape=True)
    )
    number = 0
    with ledger.begin() as connection:
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


def read_run(ledger: Ledger, run_id: int) -> Run:
    """The run with this id. Raises Misconfigured if the ledger does not have it."""
    with reading(ledger) as connection:
        row = connection.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
    if row is None:
        raise Misconfigured(
            f"The ledger has no run {run_id}. Its Airflow connection points to a different ledger "
            "than when the run was opened; change it back, or start a new run."
        )
    return _run(row)


def require_unplanned(write: Writing[Run]) -> None:
    """Lock the run's record. Raises Superseded if the run is already planned or closed."""
    row = _locked(write)
    if row.planned_at is not None or row.closed_at is not None:
        raise Superseded(
            f"Run {write.right.key} is already planned; to start over, clear its first task and "
            "all tasks downstream of it."
        )


def is_planned(write: Writing[Run]) -> bool:
    """Lock the run's record; returns whether the run has a plan."""
    return _locked(write).planned_at is not None


def _locked(write: Writing[Run]) -> Row[datetime | None, datetime | None]:
    """The run's record, locked; rows that refer to it by a foreign key may still be added."""
    return write.connection.execute(
        select(runs.c.planned_at, runs.c.closed_at)
        .where(runs.c.id == write.right.run_id)
        .with_for_update(key_share=True)
    ).one()


def note(write: Writing[Run], **values: object) -> None:
    """Write these columns of the run's record."""
    write.connection.execute(update(runs).where(runs.c.id == write.right.run_id).values(**values))


@contextmanager
def closing(ledger: Ledger, run: Run) -> Iterator[Connection]:
    """The transaction that closes a run; the lease comes first, as in every write.

    A run that has lost its lease can be closed too, since `write_report` writes only its record.
    """
    with ledger.begin() as connection:
        release_lease(connection, run)
        yield connection


def write_report(
    connection: Connection, run: Run, now: datetime, *, report: str, counts: dict[str, int]
) -> None:
    """Write the report into the record of a run that is being closed."""
    connection.execute(
        update(runs)
        .where(runs.c.id == run.run_id)
        .values(report=report, counts=counts, closed_at=now)
    )


def newest_applied(ledger: Ledger, application: str, today: date) -> date | None:
    """The newest roster date that was ever applied; an older roster must not be applied.

    A date after today was a mistake in a roster. It does not count, or no roster would be applied
    before that day.
    """
    with reading(ledger) as connection:
        return connection.execute(
            select(func.max(runs.c.roster_date)).where(
                runs.c.application == application,
                runs.c.mode == Mode.APPLY,
                runs.c.planned_at.is_not(None),
                runs.c.roster_date <= today,
            )
        ).scalar()


def _run(row: Row[tuple[object, ...]]) -> Run:
    return Run(
        run_id=row.id,
        application=row.application,
        key=row.key,
        kind=RunKind(row.kind),
        mode=Mode(row.mode),
        mode_reason=row.mode_reason,
        roster_date=row.roster_date,
        selection=Selection(tuple(row.tenants or ()), row.mailbox),
        token=row.token,
        opened_at=row.opened_at,
        planned_at=row.planned_at,
        closed_at=row.closed_at,
        entries=row.entries,
        rejected=row.rejected,
        observed=row.observed,
        listing_note=row.listing_note,
    )
