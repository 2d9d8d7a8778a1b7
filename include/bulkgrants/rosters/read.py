"""Reads a run's roster of any size from the warehouse into the ledger, chunk by chunk.

Every row that is read ends up either in `entries` or in `rejects`.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from tempfile import TemporaryFile
from typing import IO, TypeAlias

import pandas as pd

from bulkgrants.errors import Superseded, Unavailable
from bulkgrants.ledger import runs, staging
from bulkgrants.ledger.database import Ledger
from bulkgrants.ledger.rights import Writing, keeping, writing
from bulkgrants.ledger.staging import Reject, Repeated
from bulkgrants.ledger.tenants import credential_ids, record_tenants
from bulkgrants.model import RejectReason, Run, Tenant
from bulkgrants.ports import Clock
from bulkgrants.rosters.normalise import Normalised, normalise_chunk
from bulkgrants.rosters.tenants import read_tenants, require_known
from bulkgrants.rosters.warehouse import Source, Warehouse, read_blocks
from bulkgrants.text import bounded, quoted

CHUNK_ROWS = 10_000

Part: TypeAlias = tuple[int, Normalised]
"""How many rows a chunk of the roster has, and what they are."""


@dataclass(frozen=True, slots=True)
class Staged:
    """How many rows were read, and where they went; `read == entries + rejected`."""

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
    clock: Clock,
) -> Staged:
    """Read the roster and the tenants; if it is killed, the staged roster stays as it was.

    No transaction of the ledger is open while the warehouse is read, however long that takes. The
    rows wait in a temporary file, in the folder that Python's `tempfile` uses; a million take about
    0.1 GB there. Raises Misconfigured if a source cannot be read or the run is for a tenant that is
    not in the tenants table, Unavailable if the roster has no row for the run's day, Superseded if
    the run is already planned or has lost its lease.
    """
    with keeping(ledger, run):
        listed = {tenant.tenant: tenant for tenant in read_tenants(warehouse, tenants)}
    require_known(run.selection.tenants, listed.values(), tenants)
    with writing(ledger, run, clock()) as write:
        runs.require_unplanned(write)
        ids = credential_ids(write.connection, run.application)
    with TemporaryFile() as spool:
        with keeping(ledger, run):
            chunks = _with_rows(read_chunks(warehouse, roster, run.roster_date), roster, run)
            _spool(spool, _normalised(chunks, listed, ids))
        with writing(ledger, run, clock()) as write:  # short: an admin's answer waits for it
            runs.require_unplanned(write)
            record_tenants(write, listed.values())
        with writing(ledger, run, clock()) as write:
            runs.require_unplanned(write)
            staged = _stage(write, _spooled(spool))
            runs.note(write, entries=staged.entries, rejected=staged.rejected)
    return staged


def _with_rows(chunks: Iterable[pd.DataFrame], roster: Source, run: Run) -> Iterator[pd.DataFrame]:
    """The same chunks. Raises Unavailable at their end if none had a row that is for the run.

    A roster without rows would make every grant an orphan. It is far more probable that the table
    is being loaded, or was moved away.
    """
    rows = 0
    for chunk in chunks:
        undated = chunk["unreadable_date"].notna().sum() if "unreadable_date" in chunk else 0
        rows += len(chunk) - int(undated)
        yield chunk
    if not rows:
        day = f" for {run.roster_date}" if run.roster_date else ""
        raise Unavailable(
            f"The {roster.shown} has no rows{day}, so nothing is compared with it. It is being "
            "loaded, or was emptied; load it, and run the task again."
        )


def stage_roster(
    write: Writing[Run],
    *,
    chunks: Iterable[pd.DataFrame],
    tenants: Mapping[str, Tenant],
    credential_ids: Mapping[tuple[str, str], str],
) -> Staged:
    """Replace the application's staged roster with rows that are at hand; it is safe to repeat.

    The transaction stays open while the chunks are read, so that must not take long. Chunks are as
    `read_chunks` yields them, and `tenants` are by name. `credential_ids` maps (provider,
    credential name) to the id at Nylas. Raises Superseded if another process staged the
    application's roster at the same time, and any error that reading the chunks raises.
    """
    return _stage(write, _normalised(chunks, tenants, credential_ids))


def _normalised(
    chunks: Iterable[pd.DataFrame],
    tenants: Mapping[str, Tenant],
    credential_ids: Mapping[tuple[str, str], str],
) -> Iterator[Part]:
    for chunk in chunks:
        yield len(chunk), normalise_chunk(chunk, tenants, credential_ids)


def _spool(spool: IO[bytes], parts: Iterable[Part]) -> None:
    for part in parts:
        pickle.dump(part, spool, protocol=pickle.HIGHEST_PROTOCOL)


def _spooled(spool: IO[bytes]) -> Iterator[Part]:
    """What `_spool` has written, one part at a time."""
    end = spool.tell()
    spool.seek(0)
    while spool.tell() < end:
        yield pickle.load(spool)  # noqa: S301 - this process has just written it


def _stage(write: Writing[Run], parts: Iterable[Part]) -> Staged:
    staging.clear_roster(write)
    read = 0
    for rows, chunk in parts:
        staging.stage_entries(write, chunk.entries)
        staging.stage_rejects(write, chunk.rejects)
        read += rows
    staging.analyze_roster(write)
    _reject_duplicates(write)
    staged = Staged(*staging.count_staged(write), read)
    if staged.entries + staged.rejected != staged.read:
        raise Superseded(
            f"Of {staged.read} roster rows, {staged.entries} are staged and {staged.rejected} "
            f"rejected, so another process is staging the roster of {write.application} at the "
            "same time; let it finish, and run this again."
        )
    return staged


def _reject_duplicates(write: Writing[Run]) -> None:
    """Move repeated rows of mailboxes, and all rows if they contradict each other, to `rejects`."""
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
        f"{quoted(row.email)} is already in row {row.first}, with the same tenant, scopes and "
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
        f"{quoted(row.email)} is in {where}, which differ in {' and '.join(differences)}; it is "
        "unknown which one is right, so none is used: keep one of them."
    )


def read_chunks(
    warehouse: Warehouse, source: Source, roster_date: date | None, chunk_rows: int = CHUNK_ROWS
) -> Iterator[pd.DataFrame]:
    """The rows of one day, or all rows of a current table (`roster_date` None), as frames.

    Each frame has `row_number` (int64, from 1 in the warehouse's order), `tenant` and `email`, and
    those of `scopes`, `credential` and `provider` that the source has; `unreadable_date` is as in
    `warehouse.read_blocks`. All but the first are objects, exactly as the driver returned them;
    `pandas.read_sql` would turn numbers in a column with nulls into floats. A day without rows
    yields nothing. Raises what `warehouse.read_blocks` raises.
    """
    first = 1
    for names, block in read_blocks(warehouse, source, roster_date, chunk_rows):
        numbers = pd.Series(range(first, first + len(block)), dtype="int64")
        cells = zip(names, zip(*block, strict=True), strict=True)
        columns = {name: pd.Series(column, dtype="object") for name, column in cells}
        yield pd.DataFrame({"row_number": numbers, **columns})
        first += len(block)
