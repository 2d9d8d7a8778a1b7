"""Benchmark 1: stage and plan as many roster rows as there are grants, beside DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import nights, workers
from bench.crowd import Crowd
from bench.databases import ledgers
from bench.workers import Figures
from bulkgrants.ledger.engine import open_ledger


@dataclass(frozen=True, slots=True)
class Measured:
    """One step on one database."""

    database: str
    rows: int
    step: str
    figures: Figures
    bare: float
    """Seconds that DuckDB took for the same sets."""


def measure(database: str, rows: int, folder: Path) -> Iterator[Measured]:
    """Every step of two nights: an ordinary one, and one in which no grant exists yet."""
    home = folder / "airflow"
    ordinary = workers.run(home, "bare", rows=rows, empty=False).details
    fresh = workers.run(home, "bare", rows=rows, empty=True).details
    crowd = Crowd(rows)

    def made(step: str, figures: Figures, bare: dict[str, float]) -> Measured:
        return Measured(database, rows, step, figures, bare["seconds"])

    with ledgers(database, folder) as new_ledger:
        url = new_ledger()
        nights.load_roster(url, crowd)
        ledger = open_ledger(url)
        first = nights.open_night(ledger, "first")
        nights.stage_listing(ledger, crowd, healthy=True)
        merged = workers.run(home, "merge", url=url, run_id=first)
        _require(merged, {"seen": crowd.end - crowd.missing})
        yield made("merge the first listing", merged, ordinary)
        nights.own_grants(ledger, crowd)
        nights.close_night(ledger, first)

        night = nights.open_night(ledger, "ordinary")
        staged = workers.run(home, "stage", url=url, run_id=night)
        _require(staged, {"entries": rows, "rejected": 0})
        yield made("stage the roster", staged, ordinary)
        nights.stage_listing(ledger, crowd, healthy=False)
        merged = workers.run(home, "merge", url=url, run_id=night)
        yield made("merge the next listing", merged, ordinary)
        planned = workers.run(home, "plan", url=url, run_id=night)
        _require(planned, _ordinary(crowd, ordinary["differing"]))
        yield made("plan an ordinary night", planned, ordinary)
        nights.close_night(ledger, night)

        night = nights.open_night(ledger, "all new")
        workers.run(home, "stage", url=url, run_id=night)
        nights.forget_grants(ledger)
        workers.run(home, "merge", url=url, run_id=night)
        planned = workers.run(home, "plan", url=url, run_id=night)
        _require(planned, {"create": rows, "entries": rows, "unchanged": 0, "foreign": 0})
        yield made("plan all as new", planned, fresh)
        ledger.dispose()


def _ordinary(crowd: Crowd, differing: float) -> dict[str, float]:
    """The only right plan for the ordinary night."""
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
        raise RuntimeError(f"DuckDB finds {differing} differing rows, which is wrong.")
    return right


def _require(figures: Figures, right: dict[str, float]) -> None:
    """A wrong result is not measured. Raises RuntimeError."""
    if figures.details | right != figures.details:
        raise RuntimeError(f"The result is wrong: {figures.details}, not {right}.")
