"""Merging: bring the ledger's grants in line with a staged listing."""

from __future__ import annotations

from bench.nights import NOW
from bulkgrants.ledger import runs
from bulkgrants.ledger.engine import open_ledger
from bulkgrants.ledger.grants import merge_listing


def measured(url: str, run_id: int) -> dict[str, float]:
    """Merge the listing of one run."""
    ledger = open_ledger(url)
    run = runs.read_run(ledger, run_id)
    with ledger.begin() as connection:
        seen = merge_listing(connection, run, NOW)
        runs.note(connection, run_id, observed=seen)
    return {"seen": seen}
