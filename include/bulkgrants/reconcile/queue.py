"""The work queue of one batch: which changes are open, what is intended, what came of it.

Every write checks, in its own transaction, that the run still holds its lease and that no other
task has taken up the batch; otherwise it raises Superseded and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update

from bulkgrants.errors import Misconfigured, Superseded
from bulkgrants.ledger import leases
from bulkgrants.ledger.engine import reading
from bulkgrants.ledger.runs import Run
from bulkgrants.ledger.tables import attempts, batches, changes

RETRIED = "retried"
"""The attempt failed in a way that another one may mend."""
STOPPED = "stopped"
"""The attempt met an error that ended the whole batch."""


@dataclass(frozen=True, slots=True)
class Open:
    """A change that is still to be made."""

    seq: int
    kind: str
    provider: str
    email: str
    tenant: str
    scopes: str
    credential_id: str
    attempts: int
    """How many attempts earlier tasks have made."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that is over."""

    seq: int
    number: int
    at: datetime
    outcome: str
    """An `Outcome`, `RETRIED` or `STOPPED`; with the last two the change stays open."""
    http_status: int
    message: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One task's right to work on a batch; the next task that takes it up ends it."""

    run: Run
    batch: int
    number: int
    first_seq: int
    last_seq: int


def claim(engine: Engine, run: Run, batch: int, now: datetime) -> Claim:
    """Take up a batch, whoever had it before. Raises Superseded, or Misconfigured for no batch."""
    with engine.begin() as connection:
        leases.renew(connection, run.lease, now)
        row = connection.execute(
            update(batches)
            .where(batches.c.run_id == run.run_id, batches.c.batch == batch)
            .values(claim=batches.c.claim + 1)
            .returning(batches.c.claim, batches.c.first_seq, batches.c.last_seq)
        ).one_or_none()
    if row is None:
        raise Misconfigured(f"Run {run.key} has no batch {batch}; clear the planning task.")
    return Claim(run, batch, row.claim, row.first_seq, row.last_seq)


def open_changes(engine: Engine, claim: Claim, *, after: int, limit: int) -> list[Open]:
    """The next open changes of the batch, in plan order, behind the change `after`."""
    earlier = (
        select(func.coalesce(func.max(attempts.c.number), 0))
        .where(attempts.c.run_id == changes.c.run_id, attempts.c.seq == changes.c.seq)
        .scalar_subquery()
    )
    query = (
        select(
            changes.c.seq,
            changes.c.kind,
            changes.c.provider,
            changes.c.email,
            changes.c.tenant,
            changes.c.scopes,
            changes.c.credential_id,
            earlier.label("attempts"),
        )
        .where(
            changes.c.run_id == claim.run.run_id,
            changes.c.seq > max(after, claim.first_seq - 1),
            changes.c.seq <= claim.last_seq,
            changes.c.state == "planned",
        )
        .order_by(changes.c.seq)
        .limit(limit)
    )
    with reading(engine).connect() as connection:
        return [Open(**row) for row in connection.execute(query).mappings()]


def intend(engine: Engine, claim: Claim, numbers: Iterable[tuple[int, int]], now: datetime) -> None:
    """Record, before the calls, that these attempts (seq, number) are about to be made."""
    rows = [
        {
            "run_id": claim.run.run_id,
            "seq": seq,
            "number": number,
            "claim": claim.number,
            "intended_at": now,
            "message": "",
        }
        for seq, number in numbers
    ]
    with engine.begin() as connection:
        require_claim(connection, claim, now)
        connection.execute(insert(attempts), rows)


def end_attempts(connection: Connection, claim: Claim, ended: Iterable[Ended]) -> None:
    """Record, after the calls, how the attempts ended."""
    rows = [
        {
            "its_seq": one.seq,
            "its_number": one.number,
            "ended_at": one.at,
            "outcome": one.outcome,
            "http_status": one.http_status,
            "message": one.message,
        }
        for one in ended
    ]
    if rows:
        connection.execute(
            update(attempts).where(
                attempts.c.run_id == claim.run.run_id,
                attempts.c.seq == bindparam("its_seq"),
                attempts.c.number == bindparam("its_number"),
            ),
            rows,
        )


def require_claim(connection: Connection, claim: Claim, now: datetime) -> None:
    """Keep the lease and the claim for this transaction. Raises Superseded."""
    leases.renew(connection, claim.run.lease, now)
    current = connection.execute(
        select(batches.c.claim)
        .where(batches.c.run_id == claim.run.run_id, batches.c.batch == claim.batch)
        .with_for_update()
    ).scalar_one()
    if current != claim.number:
        raise Superseded(
            f"Another task has taken up batch {claim.batch} of run {claim.run.key}; "
            "this one writes nothing more."
        )


def close(engine: Engine, claim: Claim, now: datetime) -> int:
    """Close the batch unless changes are still open; gives how many are."""
    with engine.begin() as connection:
        require_claim(connection, claim, now)
        left_open = connection.execute(
            select(func.count()).where(
                changes.c.run_id == claim.run.run_id,
                changes.c.seq.between(claim.first_seq, claim.last_seq),
                changes.c.state == "planned",
            )
        ).scalar_one()
        if not left_open:
            connection.execute(
                update(batches)
                .where(batches.c.run_id == claim.run.run_id, batches.c.batch == claim.batch)
                .values(closed_at=now)
            )
        return left_open
