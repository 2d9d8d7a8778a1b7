"""Batches for tests: plans them, asks for faults, and checks the ledger at the end."""

from __future__ import annotations

import itertools
import time

from sqlalchemy import func, select

from bulkgrants.errors import RateLimited, Throttle
from bulkgrants.ledger.runs import read_run
from bulkgrants.ledger.tables import changes
from bulkgrants.model import AttemptEnd, Mode, Outcome, Plan
from bulkgrants.reconcile.plan import plan
from bulkgrants.reconcile.report import close_run
from support.ledgers import NOW, noted, opened, put, ready, with_tenants

MAKING = {"method": "POST", "path": "/v3/connect/custom"}


def people(count: int, tenant: str = "acme") -> list[tuple[str, str, None]]:
    return [(tenant, f"user{number:04d}@{tenant}.example.com", None) for number in range(count)]


async def planned(world, roster, batch_size=2000):
    run = await world.observe(world.read(world.open(), roster))
    return run, world.plan(run, batch_size)


def fault(world, kind: str, **more) -> None:
    world.control.add_fault(kind, **{"match": MAKING, **more})


def done(engine) -> int:
    with engine.connect() as connection:
        return connection.execute(
            select(func.count()).where(changes.c.state == "done")
        ).scalar_one()


def require_settled(world, count: int, *, killed: bool = False) -> None:
    """One grant and one outcome for each mailbox, one attempt for each call."""
    there, made = world.grants(), world.rows("changes")
    assert len(there) == len(made) == count
    assert {row["email"]: row["grant_id"] for row in made} == {
        email: grant["id"] for email, grant in there.items()
    }
    assert {(row["state"], row["outcome"]) for row in made} == {("done", "granted")}
    attempts = world.rows("attempts")
    ended = [row for row in attempts if row["ended_at"] is not None]
    answered = [row for row in ended if row["outcome"] != AttemptEnd.STOPPED]
    assert sum(row["outcome"] == Outcome.GRANTED for row in answered) == count
    if killed:
        assert len(answered) < len(attempts)
        assert sum(world.calls().values()) <= len(attempts)
    else:
        assert len(answered) == len(attempts) == sum(world.calls().values())
    numbers = sorted((row["seq"], row["number"]) for row in attempts)
    for seq, group in itertools.groupby(numbers, key=lambda pair: pair[0]):
        found = [number for _, number in group]
        assert found == list(range(1, len(found) + 1)), seq


class Watching:
    """A sender that notes when each call was sent, when it was answered, and how."""

    def __init__(self, sender) -> None:
        self.sender = sender
        self.left: list[tuple[str, float]] = []
        self.answered: list[tuple[str, float, Exception | None]] = []

    async def send(self, call):
        email = call.body["settings"]["email_address"]
        self.left.append((email, time.monotonic()))
        try:
            result = await self.sender.send(call)
        except Exception as error:
            self.answered.append((email, time.monotonic(), error))
            raise
        self.answered.append((email, time.monotonic(), None))
        return result


def throttled(after: float):
    return RateLimited("slow down", throttle=Throttle.PROVIDER, after=after)


def fake_plan(make_ledger, roster):
    engine = make_ledger()
    with_tenants(engine, "acme", "umbrella")
    run = ready(engine, opened(engine), [(tenant, email) for tenant, email, _ in roster])
    return engine, run, plan(engine, run, batch_size=10_000, now=run.opened_at)


def plan_of(engine, *entries_, grants=(), mode=Mode.APPLY, selection=None, key="night") -> Plan:
    """The plan for these entries and grants, made by a run that is closed afterwards."""
    run = opened(engine, key, mode=mode, selection=selection)
    ready(engine, run)
    for table, found in (("entries", entries_), ("grants", grants)):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DELETE FROM {table}")
        if found:
            put(engine, table, *found)
    run = noted(engine, run, entries=len(entries_))
    made = plan(engine, run, batch_size=2000, now=NOW)
    close_run(engine, read_run(engine, run.run_id), NOW)
    return made
