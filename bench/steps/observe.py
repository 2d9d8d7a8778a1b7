"""Observing: list every grant page by page through the real sender, and stage it."""

from __future__ import annotations

import asyncio

from bulkgrants.ledger import runs
from bulkgrants.ledger.budgets import Budget
from bulkgrants.ledger.engine import open_ledger
from bulkgrants.ports import utc_now
from bulkgrants.reconcile.observe import stage_grants
from bulkgrants.reconcile.pacing import Pacer, undisturbed
from bulkgrants_airflow.hooks.nylas_async import NylasAsyncHook


def measured(url: str, run_id: int, per_second: float) -> dict[str, float]:
    """Stage the listing of one run."""
    return asyncio.run(_observe(url, run_id, per_second))


async def _observe(url: str, run_id: int, per_second: float) -> dict[str, float]:
    ledger = open_ledger(url)
    run = runs.read_run(ledger, run_id)
    async with NylasAsyncHook().open() as sender:
        pacer = Pacer(sender, Budget(ledger, run.application, per_second))
        with undisturbed():
            listed = await stage_grants(ledger, pacer, run, clock=utc_now)
    return {"pages": listed.pages, "staged": listed.staged}
