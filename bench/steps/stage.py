"""Staging: read the roster from the warehouse, normalise it, and write it to the ledger."""

from __future__ import annotations

from bench.crowd import APPLICATION, CREDENTIAL_ID
from bench.nights import tenants, warehouse_url
from bulkgrants.ledger import runs
from bulkgrants.ledger.engine import open_ledger
from bulkgrants.rosters.read import read_chunks
from bulkgrants.rosters.sources import roster_source
from bulkgrants.rosters.stage import stage_roster


def measured(url: str, run_id: int) -> dict[str, float]:
    """Stage the roster of one run."""
    ledger, warehouse = open_ledger(url), open_ledger(warehouse_url(url))
    with ledger.begin() as connection:
        staged = stage_roster(
            connection,
            run_id=run_id,
            application=APPLICATION,
            chunks=read_chunks(warehouse, roster_source("roster"), None),
            tenants=tenants(),
            credential_ids={("google", "sa"): CREDENTIAL_ID},
        )
        runs.note(connection, run_id, entries=staged.entries, rejected=staged.rejected)
    return {"entries": staged.entries, "rejected": staged.rejected}
