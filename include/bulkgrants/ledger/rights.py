"""The right to write: every write for a run, a batch or a tenant gets its transaction here.

`writing` opens a transaction, checks in it that the right is still held, and renews it. Functions
that write under a right take a `Writing`, and only `writing` makes one. So the check cannot be
forgotten: a write without it does not pass the type checker.

- A **run** holds its application's lease: one run per application at a time, with a fencing token.
  The database's clock times the lease, so a machine whose clock is wrong cannot take it early.
- A **batch** belongs to the task that claimed it last; the claim also needs the run's lease.
- A **tenant** is held by one onboarding run at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import Generic, TypeAlias, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select, update
from sqlalchemy.engine import Row

from bulkgrants.errors import LeaseHeld, Misconfigured, Superseded, Unavailable
from bulkgrants.ledger.database import Ledger, brief, by_its_clock, insert_unless_there, reading
from bulkgrants.ledger.tables import batches, leases, runs, tenants
from bulkgrants.model import BatchClaim, Hold, Run

LEASE_TERM = timedelta(minutes=15)
"""How long a silent run keeps others out. While it works, it renews the lease far more often."""
KEEP_EVERY = LEASE_TERM / 5
"""How often a working run renews its lease at least."""
HOLD_TERM = timedelta(hours=6)
"""How long a silent onboarding run keeps other runs from its tenant. While it waits, it renews the
hold more often. After it has failed, the tenant rests for this long before a run takes it again."""

Right: TypeAlias = Run | BatchClaim | Hold
RightT = TypeVar("RightT", bound=Right)


@dataclass(frozen=True, slots=True)
class Writing(Generic[RightT]):
    """A transaction in which a right was checked and renewed. Only `writing` makes one."""

    connection: Connection
    right: RightT
    now: datetime

    @property
    def application(self) -> str:
        """The application that the right is for."""
        return self.right.application


Answering: TypeAlias = Connection
"""A transaction for an admin's answer; `answering` opens it."""


@contextmanager
def writing(ledger: Ledger, right: RightT, now: datetime) -> Iterator[Writing[RightT]]:
    """A transaction in which the holder of the right may write.

    Raises Superseded and writes nothing if another process now holds the right.
    """
    began = time.monotonic()
    with ledger.begin() as connection:
        match right:
            case Run():
                _renew_lease(connection, right)
            case BatchClaim():
                _renew_lease(connection, right.run)
                _lock_claim(connection, right)
            case Hold():
                _renew_hold(connection, right, now)
        yield Writing(connection, right, now)
        if isinstance(right, Run) and time.monotonic() - began > KEEP_EVERY.total_seconds():
            _renew_lease(connection, right)  # as a long plan does


@contextmanager
def keeping(ledger: Ledger, run: Run) -> Iterator[None]:
    """Keep the run's lease while the block waits for something else, however long that takes.

    The block has no transaction open meanwhile. If the lease is lost, the next write says so.
    """
    done = Event()

    def renew() -> None:
        while not done.wait(KEEP_EVERY.total_seconds()):
            try:
                with ledger.begin() as connection:
                    _renew_lease(connection, run)
            except Unavailable:
                continue
            except Superseded:
                return

    thread = Thread(target=renew, name="bulkgrants-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def answering(ledger: Ledger) -> Iterator[Answering]:
    """A transaction for an admin's answer, whose right to write is the consent's single-use state.

    Only the first answer to a pending consent changes anything, even if two come at the same time.
    Raises Unavailable if another process keeps it waiting: the admin is looking at the page.
    """
    with brief(ledger).begin() as connection:
        yield connection


def take_lease(ledger: Ledger, *, application: str, run_id: int) -> None:
    """Take the application's lease for the run, or keep it if the run already holds it.

    The token rises each time another run takes the lease; it is noted in the run's record. Raises
    LeaseHeld, with the name of the other run, while that run's lease has not expired.
    """
    mine = leases.c.application == application
    with reading(ledger) as connection:  # a run at work may keep the lease locked for minutes
        row = connection.execute(_lease(connection).where(mine)).one_or_none()
        if row is not None:
            _require_free(row, run_id)
    with ledger.begin() as connection:
        now, end = by_its_clock(connection), by_its_clock(connection, LEASE_TERM)
        connection.execute(
            insert_unless_there(connection, leases).values(
                application=application, token=0, expires_at=now
            )
        )
        locked = _lease(connection).where(mine).with_for_update(of=leases)
        row = connection.execute(locked).one()
        _require_free(row, run_id)
        token = row.token if row.run_id == run_id else row.token + 1
        connection.execute(
            update(leases).where(mine).values(run_id=run_id, token=token, expires_at=end)
        )
        connection.execute(update(runs).where(runs.c.id == run_id).values(token=token))


def _lease(connection: Connection) -> Select[tuple[int, datetime, int | None, str, datetime]]:
    """A lease with the key of the run that has it, and the time."""
    return select(
        leases.c.token,
        leases.c.expires_at,
        leases.c.run_id,
        runs.c.key,
        by_its_clock(connection).label("now"),
    ).join(runs, runs.c.id == leases.c.run_id, isouter=True)


def _require_free(lease: Row[tuple[int, datetime, int | None, str, datetime]], run_id: int) -> None:
    """Make sure that no other run holds the lease. Raises LeaseHeld."""
    left = (lease.expires_at - lease.now).total_seconds()
    if lease.run_id not in {None, run_id} and left > 0:
        raise LeaseHeld(
            f"Run {lease.key} of the same application is active; its lease ends at "
            f"{lease.expires_at:%Y-%m-%d %H:%M:%S} UTC unless the run renews it.",
            after=max(1.0, left),
        )


def release_lease(connection: Connection, run: Run) -> None:
    """Release the lease; does nothing if another run now holds it."""
    now = by_its_clock(connection)
    connection.execute(update(leases).where(_held_by(run)).values(run_id=None, expires_at=now))


def claim_batch(ledger: Ledger, run: Run, batch: int, now: datetime) -> BatchClaim:
    """Claim a batch, and end the claim of the task that had it before.

    Raises Superseded, or Misconfigured if the run has no such batch.
    """
    with writing(ledger, run, now) as write:
        row = write.connection.execute(
            update(batches)
            .where(batches.c.run_id == run.run_id, batches.c.batch == batch)
            .values(claim=batches.c.claim + 1)
            .returning(batches.c.claim, batches.c.first_seq, batches.c.last_seq)
        ).one_or_none()
    if row is None:
        raise Misconfigured(f"Run {run.key} has no batch {batch}; clear the task that plans.")
    return BatchClaim(run.application, run, batch, row.claim, row.first_seq, row.last_seq)


def release_hold(ledger: Ledger, hold: Hold) -> None:
    """Release the tenant, since the run is done with it; does nothing if another run holds it."""
    with ledger.begin() as connection:
        connection.execute(
            update(tenants)
            .where(_of_tenant(hold), tenants.c.claimed_by == hold.run_key)
            .values(claimed_by=None, claimed_until=None)
        )


def keep_hold(ledger: Ledger, hold: Hold, now: datetime) -> None:
    """Renew the hold before anything is done for the tenant outside the ledger.

    Raises Superseded if another run holds the tenant.
    """
    with writing(ledger, hold, now):
        pass  # `writing` has renewed it


def is_unheld(now: datetime) -> ColumnElement[bool]:
    """The condition that no onboarding run holds the tenant."""
    return or_(
        tenants.c.claimed_by.is_(None),
        tenants.c.claimed_until <= now,
        # written by a clock that was far ahead
        tenants.c.claimed_until > now + 2 * HOLD_TERM,
    )


def confirm_claim(ledger: Ledger, claim: BatchClaim) -> None:
    """Check that the task may still work on its batch; it locks and renews nothing.

    Raises Superseded if another task has claimed the batch, or another run has the lease.
    """
    held = select(leases.c.token).where(_held_by(claim.run))
    with reading(ledger) as connection:
        if connection.execute(held).one_or_none() is None:
            raise _lease_lost()
        number = connection.execute(select(batches.c.claim).where(_of_batch(claim))).scalar_one()
    if number != claim.number:
        raise _claim_lost(claim)


def _renew_lease(connection: Connection, run: Run) -> None:
    end = by_its_clock(connection, LEASE_TERM)
    kept = connection.execute(update(leases).where(_held_by(run)).values(expires_at=end)).rowcount
    if not kept:
        raise _lease_lost()


def _lock_claim(connection: Connection, claim: BatchClaim) -> None:
    current = connection.execute(
        select(batches.c.claim).where(_of_batch(claim)).with_for_update()
    ).scalar_one()
    if current != claim.number:
        raise _claim_lost(claim)


def _lease_lost() -> Superseded:
    return Superseded(
        "This run no longer holds its application's lease: it is closed, or it was silent for too "
        "long and another run took over. It does not write anything more; start a new run."
    )


def _claim_lost(claim: BatchClaim) -> Superseded:
    return Superseded(
        f"Another task has claimed batch {claim.batch} of run {claim.run.key}; this task does not "
        "write anything more."
    )


def _renew_hold(connection: Connection, hold: Hold, now: datetime) -> None:
    """Renew the hold, or take the tenant if no run holds it.

    The latter happens to a task that a person has cleared, or that was silent for too long.
    """
    free = or_(tenants.c.claimed_by == hold.run_key, is_unheld(now))
    kept = connection.execute(
        update(tenants)
        .where(_of_tenant(hold), free)
        .values(claimed_by=hold.run_key, claimed_until=now + HOLD_TERM)
    ).rowcount
    if not kept:
        raise Superseded(
            f"Another run is now onboarding the tenant {hold.tenant}; this run leaves it alone."
        )


def _held_by(run: Run) -> ColumnElement[bool]:
    return and_(
        leases.c.application == run.application,
        leases.c.run_id == run.run_id,
        leases.c.token == run.token,
    )


def _of_batch(claim: BatchClaim) -> ColumnElement[bool]:
    return and_(batches.c.run_id == claim.run.run_id, batches.c.batch == claim.batch)


def _of_tenant(hold: Hold) -> ColumnElement[bool]:
    return and_(tenants.c.application == hold.application, tenants.c.tenant == hold.tenant)
