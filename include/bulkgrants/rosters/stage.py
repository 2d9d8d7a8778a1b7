"""Stages a roster in the ledger: every row that was read ends up in `entries` or in `rejects`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd
import sqlalchemy as sa
from sqlalchemy import Connection

from bulkgrants.errors import Superseded
from bulkgrants.ledger.bulk import insert_frame
from bulkgrants.ledger.tables import entries, rejects
from bulkgrants.model import Tenant
from bulkgrants.rosters.duplicates import reject_duplicates
from bulkgrants.rosters.normalise import normalise_chunk


@dataclass(frozen=True, slots=True)
class Staged:
    """How many rows a roster had, and where they went; `read == entries + rejected`."""

    entries: int
    rejected: int
    read: int


def stage_roster(
    connection: Connection,
    *,
    run_id: int,
    application: str,
    chunks: Iterable[pd.DataFrame],
    tenants: Mapping[str, Tenant],
    credential_ids: Mapping[tuple[str, str], str],
) -> Staged:
    """Replace what is staged for the application by these rows, in the caller's transaction.

    Chunks are as `read_chunks` yields them, `tenants` by name; `credential_ids` maps (provider,
    credential name) to the id at Nylas. Staging again, for the same run or another, starts afresh.
    Raises Superseded where another process staged the application's roster at the same time, and
    whatever the chunks raise.
    """
    connection.execute(sa.delete(entries).where(entries.c.application == application))
    connection.execute(sa.delete(rejects).where(rejects.c.run_id == run_id))
    read = 0
    for chunk in chunks:
        normalised = normalise_chunk(chunk, tenants, credential_ids)
        _insert(connection, entries, normalised.entries, "application", application)
        _insert(connection, rejects, normalised.rejects, "run_id", run_id)
        read += len(chunk)
    if connection.dialect.name == "postgresql":
        # without it the search for duplicates, and the plan's join, expect a table of yesterday's
        # size, and take ten times as long
        connection.execute(sa.text("ANALYZE entries, rejects"))
    reject_duplicates(connection, run_id=run_id, application=application)
    staged = Staged(
        entries=_count(connection, entries.c.application == application),
        rejected=_count(connection, rejects.c.run_id == run_id),
        read=read,
    )
    if staged.entries + staged.rejected != staged.read:
        raise Superseded(
            f"Of {staged.read} roster rows {staged.entries} are staged and {staged.rejected} "
            f"rejected; another process stages the roster of {application} at the same time, so "
            "let one of them finish and run this again."
        )
    return staged


def _insert(
    connection: Connection, table: sa.Table, frame: pd.DataFrame, column: str, value: str | int
) -> None:
    if len(frame):
        insert_frame(connection, table, frame.assign(**{column: value}))


def _count(connection: Connection, condition: sa.ColumnElement[bool]) -> int:
    return connection.execute(sa.select(sa.func.count()).where(condition)).scalar_one()
