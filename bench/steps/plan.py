"""Planning: compare, decide, and write the work queue."""

from __future__ import annotations

from bench.nights import NOW
from bulkgrants.ledger import runs
from bulkgrants.ledger.engine import open_ledger
from bulkgrants.reconcile.plan import plan


def measured(url: str, run_id: int) -> dict[str, float]:
    """Plan one run."""
    ledger = open_ledger(url)
    made = plan(ledger, runs.read_run(ledger, run_id), batch_size=2000, now=NOW)
    return {**made.counts, "batches": len(made.batches)}
