"""Benchmark 2: list all grants over a slow network, compared with the shortest possible time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench import nights, workers
from bench.servers import Standin, ledgers
from bench.workers import Figures
from bulkgrants.ledger.database import open_ledger
from bulkgrants.nylas.calls import PAGE_SIZE

LATENCY = 0.15
PER_SECOND = 48.0


@dataclass(frozen=True, slots=True)
class Listing:
    """What one listing cost."""

    database: str
    grants: int
    figures: Figures
    refused: int
    """Calls answered with 429."""

    @property
    def pages(self) -> int:
        """The smallest number of pages that hold all grants."""
        return -(-self.grants // PAGE_SIZE)

    @property
    def floor(self) -> float:
        """The shortest time in seconds in which the budget allows them to be read."""
        return self.pages / PER_SECOND

    @property
    def cpu_per_thousand(self) -> float:
        """Seconds of processor time per thousand pages."""
        return self.figures.cpu / self.figures.details["pages"] * 1000


def measure(database: str, grants: int, standin: Standin, folder: Path) -> Listing:
    """List all the grants that the stand-in was started with."""
    standin.reset(latency=LATENCY, policy="fixed")
    with ledgers(database, folder) as new_ledger:
        url = new_ledger()
        ledger = open_ledger(url)
        run_id = nights.open_night(ledger, "listing", now=nights.really_now())
        ledger.dispose()
        home, connection = folder / "airflow", standin.connection
        figures = workers.run(
            home, "observe", connection, url=url, run_id=run_id, per_second=PER_SECOND
        )
    if figures.details["staged"] != grants:
        raise RuntimeError(f"{figures.details['staged']} of {grants} grants were staged.")
    return Listing(database, grants, figures, standin.control.stats()["answered_429"])
