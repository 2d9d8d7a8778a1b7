"""The warehouse: finds the roster and the tenants, reads them, and knows which days there are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from bulkgrants.errors import Misconfigured, Unavailable
from bulkgrants.redaction import redacted
from bulkgrants.text import bounded

Warehouse: TypeAlias = Engine
"""The database with the roster and the tenants table. This file only ever reads it."""

_QUERY = re.compile(r"(select|with)\b", re.IGNORECASE)
_SHOWN_COLUMNS = 40


class SourceKind(StrEnum):
    """What a source holds; the value is its name in settings and messages."""

    ROSTER = "roster"
    TENANTS = "tenants"


REQUIRED = {
    SourceKind.ROSTER: ("tenant", "email"),
    SourceKind.TENANTS: ("tenant", "provider", "credential", "secret_conn_id"),
}
OPTIONAL = {
    SourceKind.ROSTER: ("scopes", "credential", "provider", "roster_date"),
    SourceKind.TENANTS: (
        "scopes",
        "grace_days",
        "enabled",
        "microsoft_tenant",
        "canary",
        "consent_scopes",
        "azure_manifest",
    ),
}


@dataclass(frozen=True, slots=True)
class Source:
    """A table or query of the warehouse. Make it with `roster_source` or `tenants_source`."""

    kind: SourceKind
    schema: str | None
    table: str
    """The table's name; empty for a query."""
    query: str
    """A statement that starts with SELECT or WITH; empty for a table."""
    columns: Mapping[str, str]
    """Maps our column names to the warehouse's if they differ."""

    @property
    def shown(self) -> str:
        """How a message names the source."""
        if self.query:
            return f"{self.kind} query"
        name = f"{self.schema}.{self.table}" if self.schema else self.table
        return f'{self.kind} table "{bounded(name, 100)}"'

    @property
    def mapping_setting(self) -> str:
        """The name of the setting that maps columns."""
        return f"{self.kind}_columns"

    def origin(self, columns: Iterable[str] = ()) -> sa.FromClause:
        """What to select from; its columns have the warehouse's names."""
        named: list[sa.ColumnClause[object]] = [sa.column(name) for name in columns]
        if self.query:
            # text() would read a colon as a parameter; the line end closes a trailing comment
            escaped = self.query.replace(":", r"\:") + "\n"
            return sa.text(escaped).columns(*named).subquery("source")
        return sa.table(self.table, *named, schema=self.schema)


def labelled(origin: sa.FromClause, resolved: Mapping[str, str]) -> list[sa.Label[object]]:
    """The columns of an origin by our names; `resolved` maps our names to the warehouse's."""
    return [origin.c[theirs].label(ours) for ours, theirs in resolved.items()]


def roster_source(origin: str, columns: Mapping[str, str] | None = None) -> Source:
    """The roster: a table, `schema.table` or a query; `columns` maps our names to the warehouse's.

    Raises Misconfigured for an empty origin, a name of three parts, or a column that we do not use.
    """
    return _source(SourceKind.ROSTER, origin, columns or {})


def tenants_source(origin: str, columns: Mapping[str, str] | None = None) -> Source:
    """The tenants table; the parameters and errors are those of `roster_source`."""
    return _source(SourceKind.TENANTS, origin, columns or {})


def _source(kind: SourceKind, origin: str, columns: Mapping[str, str]) -> Source:
    written = origin.strip().rstrip(";").rstrip()
    if not written:
        raise Misconfigured(
            f"The setting `{kind}` is empty; set it to a table, schema.table, or a query that "
            "starts with SELECT or WITH."
        )
    known = (*REQUIRED[kind], *OPTIONAL[kind])
    for ours, theirs in columns.items():
        if ours not in known or not theirs.strip():
            raise Misconfigured(
                f"The setting `{kind}_columns` maps {bounded(repr(ours), 80)} to "
                f"{bounded(repr(theirs), 80)}; map only {', '.join(known)}, each to the name of a "
                "column."
            )
    mapping = {ours: theirs.strip() for ours, theirs in columns.items()}
    if _QUERY.match(written):
        return Source(kind, None, "", written, mapping)
    parts = [part.strip() for part in written.split(".")]
    if len(parts) > 2 or not all(parts):  # noqa: PLR2004 - schema and table
        raise Misconfigured(
            f"The setting `{kind}` is {bounded(repr(written), 100)}, which is neither a table nor "
            "schema.table; for other sources write a query that starts with SELECT or WITH."
        )
    return Source(kind, parts[0] if len(parts) > 1 else None, parts[-1], "", mapping)


def read_only(warehouse: Warehouse) -> Engine:
    """The same warehouse, for transactions that only read.

    PostgreSQL enforces this. On SQLite, a file that is also the ledger is not locked for writing.
    Other databases ignore both options, but this file sends only SELECT statements anyway.
    """
    return warehouse.execution_options(postgresql_readonly=True, reads_only=True)


@contextmanager
def warehouse_connection(warehouse: Warehouse, source: Source) -> Iterator[Connection]:
    """A connection to read the source; database errors become errors of `bulkgrants.errors`.

    Raises Misconfigured, or Unavailable if the connection was lost after it was made.
    """
    try:
        connection = read_only(warehouse).connect()
    except SQLAlchemyError as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        raise Misconfigured(
            f"The {source.shown} cannot be read because {place(warehouse)} cannot be reached "
            f"({type(cause).__name__}); check the host, login and database of the warehouse's "
            "connection."
        ) from None
    with connection:
        try:
            yield connection
        except SQLAlchemyError as error:
            raise as_our_error(error, warehouse, source, under_way=False) from None


def as_our_error(
    error: SQLAlchemyError, warehouse: Warehouse, source: Source, *, under_way: bool
) -> Misconfigured | Unavailable:
    """The error for a failed statement, without its SQL; `under_way` once rows have been read."""
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if lost or (under_way and isinstance(error, OperationalError | InterfaceError)):
        return Unavailable(
            f"The connection to {place(warehouse)} was lost while the {source.shown} was being "
            "read; run the task again."
        )
    return Misconfigured(
        f"The {source.shown} at {place(warehouse)} cannot be read{_said(error, warehouse)}; "
        f"correct the setting `{source.kind}`, or allow the connection's user to select from it."
    )


def _said(error: SQLAlchemyError, warehouse: Warehouse) -> str:
    """The first line of the database's message if it is about the statement, not about data."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        cause = type(error.orig).__name__
        if isinstance(error, OperationalError | sa.exc.ProgrammingError):
            first = (str(error.orig).strip().splitlines() or [""])[0]
            return f" ({cause}: {redacted(first, _passwords(warehouse.url), 160)})"
        return f" ({cause})"
    return f" ({type(error).__name__})"


def _passwords(url: URL) -> list[str]:
    """Every value in the URL that may be a secret; some drivers take a token as a parameter."""
    values = [value for name in url.query for value in url.normalized_query[name]]
    return [str(url.password), *values] if url.password else values


def place(warehouse: Warehouse) -> str:
    """The warehouse's URL without login and parameters, which may hold secrets."""
    url = warehouse.url
    shown = URL.create(
        url.get_backend_name(), host=url.host, port=url.port, database=url.database
    ).render_as_string()
    return bounded(shown, 150)


def resolve_columns(connection: Connection, source: Source) -> dict[str, str]:
    """Maps our column names to the warehouse's, for every column of the source that we use.

    An optional column that the source does not have is left out, unless the mapping names it.
    Raises Misconfigured if a column is missing. The database is asked first, because SQLite reads a
    quoted name that it does not know as a text.
    """
    nothing = sa.select(sa.text("*")).select_from(source.origin()).where(sa.false())
    found = list(connection.execute(nothing).keys())
    resolved: dict[str, str] = {}
    for ours in (*REQUIRED[source.kind], *OPTIONAL[source.kind]):
        theirs = _match(source.columns.get(ours, ours), found)
        if theirs is not None:
            resolved[ours] = theirs
        elif ours in source.columns or ours in REQUIRED[source.kind]:
            raise Misconfigured(_missing(ours, source, found))
    return resolved


def _match(wanted: str, found: Sequence[str]) -> str | None:
    """The column of that name, or the only one whose name differs just in case."""
    if wanted in found:
        return wanted
    alike = [name for name in found if name.lower() == wanted.lower()]
    return alike[0] if len(alike) == 1 else None


def _missing(ours: str, source: Source, found: Sequence[str]) -> str:
    wanted = source.columns.get(ours, ours)
    names = ", ".join(bounded(name, 60) for name in found[:_SHOWN_COLUMNS])
    more = f" and {len(found) - _SHOWN_COLUMNS} more" if len(found) > _SHOWN_COLUMNS else ""
    return (
        f'The {source.shown} has no column "{bounded(wanted, 60)}"; it has {names or "none"}'
        f"{more}. Add the column, or map `{ours}` to one of these in the setting "
        f"`{source.mapping_setting}`."
    )


class DateForm(StrEnum):
    """How the warehouse writes roster_date, which decides how it is compared."""

    DATE = "date"
    TIMESTAMP = "timestamp"
    ZONED = "timestamp with time zone"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Partitions:
    """The newest roster_date of a roster, and how the warehouse writes it."""

    newest: date
    form: DateForm


def newest_partition(warehouse: Warehouse, source: Source) -> date | None:
    """The newest day in the roster; None if it is empty or has no roster_date.

    Raises Misconfigured if the roster cannot be read or roster_date does not hold dates.
    """
    with warehouse_connection(warehouse, source) as connection:
        found = newest_day(connection, source, resolve_columns(connection, source))
    return found.newest if found else None


def has_partitions(warehouse: Warehouse, source: Source) -> bool:
    """Whether the roster has a roster_date column at all. Raises Misconfigured."""
    with warehouse_connection(warehouse, source) as connection:
        return "roster_date" in resolve_columns(connection, source)


def newest_day(
    connection: Connection, source: Source, resolved: dict[str, str]
) -> Partitions | None:
    """The newest roster_date and its form; None if there is no such column or no row."""
    theirs = resolved.get("roster_date")
    if theirs is None:
        return None
    column = source.origin([theirs]).c[theirs]
    newest = connection.execute(sa.select(sa.func.max(column))).scalar()
    return None if newest is None else _read(newest, source, theirs)


def _read(newest: object, source: Source, column: str) -> Partitions:
    match newest:
        case datetime(tzinfo=None):
            return Partitions(newest.date(), DateForm.TIMESTAMP)
        case datetime():
            return Partitions(newest.astimezone(UTC).date(), DateForm.ZONED)
        case date():
            return Partitions(newest, DateForm.DATE)
        case str():
            try:
                return Partitions(date.fromisoformat(newest.strip()[:10]), DateForm.TEXT)
            except ValueError:
                pass
    raise Misconfigured(
        f'The newest value of "{bounded(column, 60)}" in the {source.shown} is '
        f"{bounded(repr(newest), 60)}, which is not a date; use a DATE, a TIMESTAMP or a text like "
        f"2026-01-31, or map `roster_date` to another column in `{source.mapping_setting}`."
    )


def of_day(column: sa.ColumnElement[object], form: DateForm, day: date) -> sa.ColumnElement[bool]:
    """The condition for one day's rows, in the type that the warehouse uses.

    A day is from midnight to midnight; if the type has a time zone, in UTC.
    """
    following = day + timedelta(days=1)
    match form:
        case DateForm.DATE:
            return column == sa.literal(day, sa.Date)
        case DateForm.TIMESTAMP | DateForm.ZONED:
            zone = UTC if form is DateForm.ZONED else None
            kind = sa.DateTime(timezone=form is DateForm.ZONED)
            first, last = (
                sa.literal(datetime.combine(each, time.min, zone), kind)
                for each in (day, following)
            )
        case DateForm.TEXT:  # a range, because SQLite also writes timestamps as text
            first, last = sa.literal(day.isoformat()), sa.literal(following.isoformat())
    return sa.and_(column >= first, column < last)


def read_rows(warehouse: Warehouse, source: Source) -> list[dict[str, object]]:
    """All rows of a small source, by our names for the columns. Raises Misconfigured."""
    with warehouse_connection(warehouse, source) as connection:
        resolved = resolve_columns(connection, source)
        origin = source.origin(dict.fromkeys(resolved.values()))
        rows = connection.execute(sa.select(*labelled(origin, resolved))).mappings().all()
    return [{str(name): cell for name, cell in row.items()} for row in rows]


def read_blocks(
    warehouse: Warehouse, source: Source, roster_date: date | None, block_rows: int
) -> Iterator[tuple[Sequence[str], Sequence[Sequence[object]]]]:
    """The rows of one day, or all rows of a current table (`roster_date` None), in blocks.

    Each block has our names of the columns, and its rows exactly as the driver returned them.
    Raises Misconfigured if the source cannot be read, or if it has a roster_date column and
    `roster_date` is None, or the other way round; Unavailable if the connection is lost half-way.
    """
    with warehouse_connection(warehouse, source) as connection:
        resolved = resolve_columns(connection, source)
        statement = _statement(connection, source, resolved, roster_date)
        if statement is None:
            return
        names = statement.selected_columns.keys()
        under_way = False
        try:
            with connection.execute(statement.execution_options(yield_per=block_rows)) as rows:
                for block in rows.partitions():
                    yield names, block
                    under_way = True
        except SQLAlchemyError as error:
            raise as_our_error(error, warehouse, source, under_way=under_way) from None


def _statement(
    connection: Connection, source: Source, resolved: dict[str, str], day: date | None
) -> sa.Select[*tuple[object, ...]] | None:
    """What to select; None if the roster has no rows for any day."""
    origin = source.origin(dict.fromkeys(resolved.values()))
    wanted = {ours: theirs for ours, theirs in resolved.items() if ours != "roster_date"}
    statement = sa.select(*labelled(origin, wanted))
    theirs = resolved.get("roster_date")
    if day is None and theirs is None:
        return statement
    if day is None:
        raise Misconfigured(
            f"The {source.shown} has a roster_date column, so it is read one day at a time and "
            "a day must be chosen; for a current table, leave that column out with a query."
        )
    if theirs is None:
        raise Misconfigured(
            f"The {source.shown} has no roster_date column, so it has no roster for {day}; add the "
            f"column, or map it in the setting `{source.mapping_setting}`."
        )
    found = newest_day(connection, source, resolved)
    return statement.where(of_day(origin.c[theirs], found.form, day)) if found else None
