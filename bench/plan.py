"""Benchmark 1: stage and plan as many roster rows as there are grants, compared with DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import nights, workers
from bench.nights import Crowd
from bench.servers import ledgers
from bench.workers import Figures
from bulkgrants.ledger.database import open_ledger


@dataclass(frozen=True, slots=True)
class Measured:
    """One step on one database."""

    database: str
    rows: int
    step: str
    figures: Figures
    bare: float
    """The seconds that DuckDB took for the same sets."""


def measure(database: str, rows: int, folder: Path) -> Iterator[Measured]:
    """Measure each step of two nights: an ordinary one, and one in which no grant exists yet."""
    home, crowd = folder / "airflow", Crowd(rows)
    with ledgers(database, folder) as new_ledger:
        url = new_ledger()
        nights.load_roster(url, crowd)
        for empty, steps in ((False, _ordinary_nights), (True, _all_new)):
            bare = workers.run(home, "bare", rows=rows, empty=empty).details
            for step, figures in steps(home, url, crowd, bare["differing"]):
                yield Measured(database, rows, step, figures, bare["seconds"])


Steps = Iterator[tuple[str, Figures]]


def _ordinary_nights(home: Path, url: str, crowd: Crowd, differing: float) -> Steps:
    """The first listing, and the night after it."""
    ledger = open_ledger(url)
    first = nights.open_night(ledger, "first")
    nights.stage_listing(ledger, crowd, healthy=True)
    merged = workers.run(home, "merge", url=url, run_id=first)
    _require(merged, {"seen": crowd.end - crowd.missing})
    yield "merge the first listing", merged
    nights.own_grants(ledger, crowd)
    nights.close_night(ledger, first)

    night = nights.open_night(ledger, "ordinary")
    staged = workers.run(home, "stage", url=url, run_id=night)
    _require(staged, {"entries": crowd.rows, "rejected": 0})
    yield "stage the roster", staged
    nights.stage_listing(ledger, crowd, healthy=False)
    yield "merge the next listing", workers.run(home, "merge", url=url, run_id=night)
    planned = workers.run(home, "plan", url=url, run_id=night)
    _require(planned, _right_plan(crowd, differing))
    yield "plan an ordinary night", planned
    nights.close_night(ledger, night)
    ledger.dispose()


def _all_new(home: Path, url: str, crowd: Crowd, _: float) -> Steps:
    """A night in which every entry needs its first grant."""
    ledger = open_ledger(url)
    night = nights.open_night(ledger, "all new")
    workers.run(home, "stage", url=url, run_id=night)
    nights.forget_grants(ledger)
    workers.run(home, "merge", url=url, run_id=night)
    planned = workers.run(home, "plan", url=url, run_id=night)
    _require(planned, {"create": crowd.rows, "entries": crowd.rows, "unchanged": 0, "foreign": 0})
    yield "plan all as new", planned
    ledger.dispose()


def _right_plan(crowd: Crowd, differing: float) -> dict[str, float]:
    """The only correct plan for the ordinary night."""
    right = {
        "create": crowd.missing,
        "renew": crowd.each,
        "rescope": crowd.each,
        "skip:in_grace": crowd.each,
        "foreign": crowd.each,
        "entries": crowd.rows,
        "unchanged": crowd.rows - crowd.missing - 2 * crowd.each,
    }
    if differing != crowd.missing + 3 * crowd.each:
        raise RuntimeError(f"DuckDB found {differing} differing rows, which is wrong.")
    return right


def _require(figures: Figures, right: dict[str, float]) -> None:
    """Make sure that the step did its work correctly. Raises RuntimeError."""
    if figures.details | right != figures.details:
        raise RuntimeError(f"The result is wrong: {figures.details}, not {right}.")
