"""Applying: one batch through the real sender, on a budget that other processes may share."""

from __future__ import annotations

import asyncio

from bulkgrants.ledger import runs
from bulkgrants.ledger.budgets import Budget
from bulkgrants.ledger.engine import open_ledger
from bulkgrants.ports import utc_now
from bulkgrants.reconcile.apply import apply_batch
from bulkgrants.reconcile.pacing import Pacer, undisturbed
from bulkgrants_airflow.hooks.nylas_async import NylasAsyncHook


def measured(url: str, run_id: int, batch: int, per_second: float) -> dict[str, float]:
    """Apply one batch of a run; batch 0 stands for none, when only the imports are wanted."""
    return asyncio.run(_apply(url, run_id, batch, per_second)) if batch else {}


async def _apply(url: str, run_id: int, batch: int, per_second: float) -> dict[str, float]:
    ledger = open_ledger(url)
    run = runs.read_run(ledger, run_id)
    async with NylasAsyncHook().open() as sender:
        pacer = Pacer(sender, Budget(ledger, run.application, per_second))
        with undisturbed():
            applied = await apply_batch(ledger, pacer, run, batch, clock=utc_now)
    return dict(applied.outcomes)
