"""Work that tests run in other threads and processes, which import it by name."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from sqlalchemy import URL, Engine

from bulkgrants.errors import BulkgrantsError
from bulkgrants.ledger import runs
from bulkgrants.ledger.budgets import Budget
from bulkgrants.ledger.database import open_ledger
from bulkgrants.ledger.rights import writing
from bulkgrants.ledger.tenants import lock_tenants
from bulkgrants.ledger.upgrade import upgrade
from bulkgrants.ports import utc_now
from support.ledgers import APPLICATION, lease_run
from support.senders import open_sender


def at_once(work: Callable, count: int, url: str | URL, *arguments) -> list:
    """Let `count` threads begin the same work at the same moment; return their results.

    Each opens the ledger for itself, so the database cannot tell them from processes.
    """
    barrier = Barrier(count, timeout=30)

    def begin(number: int):
        engine = open_ledger(url)
        try:
            barrier.wait()
            return work(number, engine, *arguments)
        finally:
            engine.dispose()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def leased(number: int, engine: Engine) -> str:
    """The key of the run that got the lease, or the message of the error."""
    try:
        return lease_run(engine, f"run {number}").key
    except BulkgrantsError as error:
        return f"{type(error).__name__}: {error}"


def opened_alike(number: int, engine: Engine) -> int:
    """The id of the run, under a key that all processes share."""
    return lease_run(engine, "the same").run_id


def slots(number: int, engine: Engine, ceiling: float, rounds: int) -> list[float]:
    """The times of all slots that this process got."""
    budget = Budget(engine, APPLICATION, ceiling)
    moments = []
    for _ in range(rounds):
        taken = budget.reserve(3)
        asked = time.time()
        moments += [asked + wait for wait in taken.waits()]
    return moments


async def _apply(url: str, base_url: str, api_key: str, run_id: int, batch: int) -> None:
    from bulkgrants.reconcile.apply import apply_batch

    engine = open_ledger(url)
    run = runs.read_run(engine, run_id)
    async with open_sender(base_url, api_key) as sender:
        await apply_batch(engine, sender, run, batch, clock=utc_now)


def _write_slowly(url: str, run_id: str) -> None:
    """Begin a write of the run, say so, and go on only once the standard input ends."""
    engine = open_ledger(url)
    try:
        with writing(engine, runs.read_run(engine, int(run_id)), utc_now()) as write:
            lock_tenants(write.connection, APPLICATION)
            print("in the middle", flush=True)  # noqa: T201 - the parent reads it
            sys.stdin.read()
            runs.note(write, observed=1)
    except BulkgrantsError as error:
        print(f"{type(error).__name__}: {error}")  # noqa: T201 - the parent reads it


if __name__ == "__main__" and sys.argv[1:2] == ["upgrade"]:
    upgrade(open_ledger(sys.argv[2]))
elif __name__ == "__main__" and sys.argv[1:2] == ["write slowly"]:
    _write_slowly(*sys.argv[2:])
elif __name__ == "__main__":
    url, base_url, api_key, run_id, batch = sys.argv[1:]
    asyncio.run(_apply(url, base_url, api_key, int(run_id), int(batch)))
