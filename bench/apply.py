"""Benchmark 3: make grants at the rate limit, with one process and several, on each limiter."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from sqlalchemy import insert

from bench import nights
from bench.observe import LATENCY, PER_SECOND
from bench.servers import Standin, ledgers
from bench.workers import Worker, workers
from bulkgrants.ledger import runs
from bulkgrants.ledger.database import open_ledger
from bulkgrants.ledger.rights import writing
from bulkgrants.ledger.tables import batches
from bulkgrants.reconcile.plan import plan
from bulkgrants.rosters.read import stage_roster

LIMIT = 50.0
ONE, EVEN, UNEVEN = (2000,), (500, 500, 500, 500), (1700, 100, 100, 100)
"""The changes that each process has to make."""

Case = tuple[str, tuple[int, ...]]
"""The form of the rate limit, and the load."""

CASES: tuple[Case, ...] = tuple(
    (policy, load)
    for policy in ("fixed", "sliding", "token_bucket", "gcra")
    for load in (ONE, EVEN, UNEVEN)
    if load is not EVEN or policy == "sliding"  # the strictest form is enough for an even load
)
FEW: tuple[Case, ...] = (("sliding", ONE), ("sliding", UNEVEN))


@dataclass(frozen=True, slots=True)
class Application:
    """What applying one plan cost."""

    database: str
    policy: str
    load: tuple[int, ...]
    seconds: float
    """From the start of the first batch to the end of the last."""
    refused: int
    """Calls answered with 429."""
    above_idle_mb: float
    """Of the process that used most."""

    @property
    def share_of_limit(self) -> float:
        """Changes made, as a share of those that the limit allows in the same time."""
        return sum(self.load) / self.seconds / LIMIT

    @property
    def share_refused(self) -> float:
        """429s as a share of all calls."""
        return self.refused / (sum(self.load) + self.refused)


def measure(
    database: str,
    cases: Sequence[Case],
    standin: Standin,
    folder: Path,
) -> Iterator[Application]:
    """Measure each case, with a new ledger and no grants each time."""
    most = max(len(load) for _, load in cases)
    with (
        ledgers(database, folder) as new_ledger,
        workers(most, folder / "airflow", standin.connection) as hands,
    ):
        _warm_up(hands)
        for policy, load in cases:
            yield _one(database, policy, load, new_ledger(), standin, hands)


def _warm_up(hands: Sequence[Worker]) -> None:
    for hand in hands:
        hand.begin("apply", url="", run_id=0, batch=0, per_second=PER_SECOND)
    for hand in hands:
        hand.figures()


def _one(
    database: str,
    policy: str,
    load: tuple[int, ...],
    url: str,
    standin: Standin,
    hands: Sequence[Worker],
) -> Application:
    standin.reset(latency=LATENCY, policy=policy)
    run_id = _planned(url, load, standin.make_credential())
    standin.control.clear_stats()
    begun = time.monotonic()
    for number, hand in enumerate(hands[: len(load)], start=1):
        hand.begin("apply", url=url, run_id=run_id, batch=number, per_second=PER_SECOND)
    figures = [hand.figures() for hand in hands[: len(load)]]
    granted = sum(one.details.get("granted", 0) for one in figures)
    if granted != sum(load):
        raise RuntimeError(f"{granted} of {sum(load)} grants were made.")
    return Application(
        database,
        policy,
        load,
        max(one.ended for one in figures) - begun,
        standin.control.stats()["answered_429"],
        max(one.above_idle_mb for one in figures),
    )


def _planned(url: str, load: tuple[int, ...], credential_id: str) -> int:
    """A planned run whose batches have the sizes in the load; returns its id."""
    ledger = open_ledger(url)
    now = nights.really_now()
    run_id = nights.open_night(ledger, "apply", now=now)
    with writing(ledger, runs.read_run(ledger, run_id), now) as write:
        staged = stage_roster(
            write,
            chunks=[_roster(sum(load))],
            tenants=nights.tenants(),
            credential_ids={("google", "sa"): credential_id},
        )
        runs.note(write, entries=staged.entries, rejected=0, observed=0)
    plan(ledger, runs.read_run(ledger, run_id), batch_size=sum(load), now=now)
    with ledger.begin() as connection:
        connection.execute(batches.delete())
        first = 1
        for number, size in enumerate(load, start=1):
            row = {"run_id": run_id, "batch": number, "first_seq": first, "claim": 0}
            connection.execute(insert(batches).values(**row, last_seq=first + size - 1))
            first += size
    ledger.dispose()
    return run_id


def _roster(rows: int) -> pd.DataFrame:
    names = list(nights.tenants())
    return pd.DataFrame(
        {
            "row_number": range(1, rows + 1),
            "tenant": [names[number % len(names)] for number in range(rows)],
            "email": [f"person.{number}@bench.example.com" for number in range(rows)],
        }
    ).astype({"tenant": object, "email": object})
