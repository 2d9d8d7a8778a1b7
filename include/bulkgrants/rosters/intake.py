"""Takes a run's roster and tenants out of the warehouse and into the ledger."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine

from bulkgrants.ledger import leases, runs
from bulkgrants.ledger.credentials import credential_ids
from bulkgrants.ledger.runs import Run
from bulkgrants.ledger.tenants import record_tenants
from bulkgrants.rosters.read import read_chunks
from bulkgrants.rosters.sources import Source
from bulkgrants.rosters.stage import Staged, stage_roster
from bulkgrants.rosters.tenants import read_tenants, require_known


def take_in(
    ledger: Engine, warehouse: Engine, run: Run, *, roster: Source, tenants: Source, now: datetime
) -> Staged:
    """Read everything in one ledger transaction: a killed reading leaves what was there before.

    Raises Misconfigured for a source that cannot be read or a run for a tenant that the tenants
    table lacks, Superseded for a run that is planned already or has lost its lease.
    """
    listed = {tenant.tenant: tenant for tenant in read_tenants(warehouse, tenants)}
    require_known(run.scope.tenants, listed.values(), tenants)
    with ledger.begin() as connection:
        runs.require_unplanned(connection, run)
        leases.renew(connection, run.lease, now)
        record_tenants(connection, run.application, listed.values())
        staged = stage_roster(
            connection,
            run_id=run.run_id,
            application=run.application,
            chunks=read_chunks(warehouse, roster, run.roster_date),
            tenants=listed,
            credential_ids=credential_ids(connection, run.application),
        )
        runs.note(connection, run.run_id, entries=staged.entries, rejected=staged.rejected)
    return staged
