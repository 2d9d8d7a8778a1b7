"""Reads a run's roster from the warehouse into the ledger, chunk by chunk, whatever its size.

Every row that is read ends up in `entries` or in `rejects`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd

from bulkgrants.errors import Superseded
from bulkgrants.ledger import runs, staging
from bulkgrants.ledger.database import Ledger
from bulkgrants.ledger.rights import Writing, writing
from bulkgrants.ledger.staging import Reject, Repeated
from bulkgrants.ledger.tenants import credential_ids, record_tenants
from bulkgrants.model import RejectReason, Run, Tenant
from bulkgrants.rosters.normalise import normalise_chunk
from bulkgrants.rosters.tenants import read_tenants, require_known
from bulkgrants.rosters.warehouse import Source, Warehouse, read_blocks
from bulkgrants.text import bounded, quoted

CHUNK_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Staged:
    """How many rows a roster had, and where they went; `read == entries + rejected`."""

    entries: int
    rejected: int
    read: int


def read_roster(
    ledger: Ledger,
    warehouse: Warehouse,
    run: Run,
    *,
    roster: Source,
    tenants: Source,
    now: datetime,
) -> Staged:
    """Read roster and tenants in one ledger transaction; a killed read leaves the ledger as it was.

    Raises Misconfigured for a source that cannot be read or a run for a tenant that the tenants
    table lacks, Superseded for a run that is planned already or has lost its lease.
    """
    listed = {tenant.tenant: tenant for tenant in read_tenants(warehouse, tenants)}
    require_known(run.selection.tenants, listed.values(), tenants)
    with writing(ledger, run, now) as write:
        runs.require_unplanned(write)
        record_tenants(write, listed.values())
        staged = stage_roster(
            write,
            chunks=read_chunks(warehouse, roster, run.roster_date),
            tenants=listed,
            credential_ids=credential_ids(write.connection, run.application),
        )
        runs.note(write, entries=staged.entries, rejected=staged.rejected)
    return staged


def stage_roster(
    write: Writing[Run],
    *,
    chunks: Iterable[pd.DataFrame],
    tenants: Mapping[str, Tenant],
    credential_ids: Mapping[tuple[str, str], str],
) -> Staged:
    """Replace what is staged for the application by these rows.

    Chunks are as `read_chunks` yields them, `tenants` by name; `credential_ids` maps (provider,
    credential name) to the id at Nylas. Staging again, for the same run or another, starts afresh.
    Raises Superseded where another process staged the application's roster at the same time, and
    whatever the chunks raise.
    """
    staging.clear_roster(write)
    read = 0
    for chunk in chunks:
        normalised = normalise_chunk(chunk, tenants, credential_ids)
        staging.stage_entries(write, normalised.entries)
        staging.stage_rejects(write, normalised.rejects)
        read += len(chunk)
    staging.analyze_roster(write)
    _reject_duplicates(write)
    staged = Staged(*staging.count_staged(write), read)
    if staged.entries + staged.rejected != staged.read:
        raise Superseded(
            f"Of {staged.read} roster rows {staged.entries} are staged and {staged.rejected} "
            f"rejected; another process is staging the roster of {write.application} at the same "
            "time, so let one of them finish and run this again."
        )
    return staged


def _reject_duplicates(write: Writing[Run]) -> None:
    """Move the rows of mailboxes that are named more than once from `entries` to `rejects`."""
    moved = 0
    for block in staging.repeated_rows(write):
        moved += staging.record_rejects(write, [_reject(row) for row in block])
    if moved:
        staging.drop_rejected_duplicates(write)


def _reject(row: Repeated) -> Reject:
    contradicts = RejectReason.CONFLICTING_DUPLICATE
    return Reject(
        row_number=row.row_number,
        tenant=bounded(row.tenant),
        email=bounded(row.email),
        provider=row.provider,
        mailbox=row.email,
        reason=contradicts if row.contradict else RejectReason.DUPLICATE,
        sentence=_conflict(row) if row.contradict else _same(row),
    )


def _same(row: Repeated) -> str:
    return (
        f"{quoted(row.email)} is in row {row.first} already, with the same tenant, scopes and "
        "credential; remove this row."
    )


def _conflict(row: Repeated) -> str:
    two = row.rows == 2  # noqa: PLR2004 - a pair is named exactly, more as a range
    where = (
        f"rows {row.first} and {row.last}"
        if two
        else f"{row.rows} rows from {row.first} to {row.last}"
    )
    tenants = f"tenant ({quoted(row.a_tenant)}, {quoted(row.z_tenant)})"
    differences = [
        *([tenants] if row.a_tenant != row.z_tenant else []),
        *(["scopes"] if row.scopes_differ else []),
        *(["credential"] if row.credentials_differ else []),
    ]
    return (
        f"{quoted(row.email)} is in {where}, which differ in {' and '.join(differences)}; "
        "nothing tells which is right, so none is used: keep one of them."
    )


def read_chunks(
    warehouse: Warehouse, source: Source, roster_date: date | None, chunk_rows: int = CHUNK_ROWS
) -> Iterator[pd.DataFrame]:
    """The rows of one day, or all of a plain current table (`roster_date` None), as frames.

    Each frame has `row_number` (int64, from 1 in the order given) and, as objects exactly as the
    driver returned them, `tenant`, `email` and those of `scopes`, `credential`, `provider` that the
    source has. (`pandas.read_sql` would turn numbers beside nulls into floats.) A day without
    rows yields nothing. Raises what `warehouse.read_blocks` raises.
    """
    first = 1
    for names, block in read_blocks(warehouse, source, roster_date, chunk_rows):
        numbers = pd.Series(range(first, first + len(block)), dtype="int64")
        cells = zip(names, zip(*block, strict=True), strict=True)
        columns = {name: pd.Series(column, dtype="object") for name, column in cells}
        yield pd.DataFrame({"row_number": numbers, **columns})
        first += len(block)
