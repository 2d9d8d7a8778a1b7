"""The steps that are measured: each does real work in a process like an idle Airflow task.

Each function imports what its step needs, and returns the step. So a step's memory includes only
its own imports, and its time does not include imports.
"""
# ruff: noqa: PLC0415 - see above

from __future__ import annotations

from collections.abc import Callable

Step = Callable[..., dict[str, float]]
"""Does the work, and returns counts that show the caller that it was done correctly."""

_REPEATS = 5
_COMPARE = """
CREATE OR REPLACE TABLE differing AS
SELECT coalesce(d.provider, a.provider) AS provider, coalesce(d.email, a.email) AS email,
       d.tenant, d.scopes, d.credential_id, a.grant_id, a.status, a.scopes AS granted_scopes
FROM desired d FULL OUTER JOIN actual a ON d.provider = a.provider AND d.email = a.email
WHERE a.email IS NULL
   OR (d.email IS NULL AND a.owned)
   OR (d.email IS NOT NULL AND (a.status <> 'valid' OR a.scopes <> d.scopes
       OR a.credential_id IS DISTINCT FROM d.credential_id))
"""


def bare() -> Step:
    """DuckDB's bare comparison of sets, to which staging and planning are compared."""
    import statistics
    import time

    import duckdb

    from bench import nights

    def step(rows: int, *, empty: bool) -> dict[str, float]:
        """The median of five comparisons of loaded tables; the differing rows are stored."""
        database = duckdb.connect()
        for statement in nights.duckdb_tables(nights.Crowd(rows), empty=empty):
            database.execute(statement)
        took = []
        for _ in range(_REPEATS):
            begun = time.monotonic()
            database.execute(_COMPARE)
            took.append(time.monotonic() - begun)
        found = database.execute("SELECT count(*) FROM differing").fetchone()
        return {"seconds": statistics.median(took), "differing": found[0] if found else 0}

    return step


def stage() -> Step:
    """Read the roster from the warehouse, normalise it, and write it to the ledger."""
    from bench import nights
    from bulkgrants.ledger import runs
    from bulkgrants.ledger.database import open_ledger
    from bulkgrants.ledger.rights import writing
    from bulkgrants.rosters.read import read_chunks, stage_roster
    from bulkgrants.rosters.warehouse import roster_source

    def step(url: str, run_id: int) -> dict[str, float]:
        ledger, warehouse = open_ledger(url), open_ledger(nights.warehouse_url(url))
        with writing(ledger, runs.read_run(ledger, run_id), nights.NOW) as write:
            staged = stage_roster(
                write,
                chunks=read_chunks(warehouse, roster_source("roster"), None),
                tenants=nights.tenants(),
                credential_ids={("google", "sa"): nights.CREDENTIAL_ID},
            )
            runs.note(write, entries=staged.entries, rejected=staged.rejected)
        return {"entries": staged.entries, "rejected": staged.rejected}

    return step


def merge() -> Step:
    """Bring the ledger's grants in line with a staged listing."""
    from bench.nights import NOW
    from bulkgrants.ledger import runs
    from bulkgrants.ledger.database import open_ledger
    from bulkgrants.ledger.rights import writing
    from bulkgrants.ledger.staging import merge_listing

    def step(url: str, run_id: int) -> dict[str, float]:
        ledger = open_ledger(url)
        run = runs.read_run(ledger, run_id)
        with writing(ledger, run, NOW) as write:
            seen = merge_listing(write)
            runs.note(write, observed=seen)
        return {"seen": seen}

    return step


def plan() -> Step:
    """Compare, decide, and write the work queue."""
    from bench.nights import NOW
    from bulkgrants.ledger import runs
    from bulkgrants.ledger.database import open_ledger
    from bulkgrants.reconcile.plan import plan as make_plan

    def step(url: str, run_id: int) -> dict[str, float]:
        ledger = open_ledger(url)
        made = make_plan(ledger, runs.read_run(ledger, run_id), batch_size=2000, now=NOW)
        return {**made.counts, "batches": len(made.batches)}

    return step


def observe() -> Step:
    """List every grant page by page through the real sender, and stage it."""
    import asyncio

    from bulkgrants.ledger import runs
    from bulkgrants.ledger.budgets import Budget
    from bulkgrants.ledger.database import open_ledger
    from bulkgrants.nylas.sending import Pacer, undisturbed
    from bulkgrants.ports import utc_now
    from bulkgrants.reconcile.observe import stage_grants
    from bulkgrants_airflow.hooks.nylas import NylasAsyncHook

    async def listing(url: str, run_id: int, per_second: float) -> dict[str, float]:
        ledger = open_ledger(url)
        run = runs.read_run(ledger, run_id)
        async with NylasAsyncHook().open() as sender:
            pacer = Pacer(sender, Budget(ledger, run.application, per_second))
            with undisturbed():
                listed = await stage_grants(ledger, pacer, run, clock=utc_now)
        return {"pages": listed.pages, "staged": listed.staged}

    def step(url: str, run_id: int, per_second: float) -> dict[str, float]:
        return asyncio.run(listing(url, run_id, per_second))

    return step


def apply() -> Step:
    """Apply one batch through the real sender, on a budget that other processes may share."""
    import asyncio

    from bulkgrants.ledger import runs
    from bulkgrants.ledger.budgets import Budget
    from bulkgrants.ledger.database import open_ledger
    from bulkgrants.nylas.sending import Pacer, undisturbed
    from bulkgrants.ports import utc_now
    from bulkgrants.reconcile.apply import apply_batch
    from bulkgrants_airflow.hooks.nylas import NylasAsyncHook

    async def applied(url: str, run_id: int, batch: int, per_second: float) -> dict[str, float]:
        ledger = open_ledger(url)
        run = runs.read_run(ledger, run_id)
        async with NylasAsyncHook().open() as sender:
            pacer = Pacer(sender, Budget(ledger, run.application, per_second))
            with undisturbed():
                done = await apply_batch(ledger, pacer, run, batch, clock=utc_now)
        return dict(done.outcomes)

    def step(url: str, run_id: int, batch: int, per_second: float) -> dict[str, float]:
        """Apply the batch; batch 0 applies nothing, for a caller that needs only the imports."""
        return asyncio.run(applied(url, run_id, batch, per_second)) if batch else {}

    return step
