"""Reads a roster from the warehouse, chunk by chunk, whatever its size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

import pandas as pd
import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from bulkgrants.errors import Misconfigured
from bulkgrants.rosters.partitions import of_day, probe
from bulkgrants.rosters.sources import Source, labelled
from bulkgrants.rosters.warehouse import our_error, reading, resolve_columns

CHUNK_ROWS = 10_000


def read_chunks(
    engine: Engine, source: Source, roster_date: date | None, chunk_rows: int = CHUNK_ROWS
) -> Iterator[pd.DataFrame]:
    """The roster's rows of one day, or all of a plain current table (`roster_date` None).

    Each frame has `row_number` (int64, from 1 in the order given) and, as objects exactly as the
    driver gave them, `tenant`, `email` and those of `scopes`, `credential`, `provider` that the
    source has. (`pandas.read_sql` would turn numbers beside nulls into floats.) A day without
    rows yields nothing.

    Raises Misconfigured where the source cannot be read or its having a roster_date column does
    not fit `roster_date`; Unavailable for a connection lost half-way.
    """
    with reading(engine, source) as connection:
        resolved = resolve_columns(connection, source)
        statement = _statement(connection, source, resolved, roster_date)
        if statement is None:
            return
        names = statement.selected_columns.keys()
        first = 1
        try:
            with connection.execute(statement.execution_options(yield_per=chunk_rows)) as rows:
                for part in rows.partitions():
                    yield _frame(part, names, first)
                    first += len(part)
        except SQLAlchemyError as error:
            raise our_error(error, engine, source, under_way=first > 1) from None


def _statement(
    connection: Connection, source: Source, resolved: dict[str, str], day: date | None
) -> sa.Select[*tuple[object, ...]] | None:
    """What to select; None where the roster has no rows for any day."""
    origin = source.origin(dict.fromkeys(resolved.values()))
    wanted = {ours: theirs for ours, theirs in resolved.items() if ours != "roster_date"}
    statement = sa.select(*labelled(origin, wanted))
    theirs = resolved.get("roster_date")
    if day is None and theirs is None:
        return statement
    if day is None:
        raise Misconfigured(
            f"The {source.shown} has a roster_date column, so it is read one day at a time and "
            "a day must be chosen; for a plain current table leave that column out by a query."
        )
    if theirs is None:
        raise Misconfigured(
            f"The {source.shown} has no roster_date column, so it holds no {day}; add the column "
            f"or map it in the setting `{source.mapping_setting}`."
        )
    found = probe(connection, source, resolved)
    return statement.where(of_day(origin.c[theirs], found.form, day)) if found else None


def _frame(
    part: Sequence[sa.Row[*tuple[object, ...]]], names: Sequence[str], first: int
) -> pd.DataFrame:
    numbers = pd.Series(range(first, first + len(part)), dtype="int64")
    cells = zip(names, zip(*part, strict=True), strict=True)
    columns = {name: pd.Series(column, dtype="object") for name, column in cells}
    return pd.DataFrame({"row_number": numbers, **columns})
