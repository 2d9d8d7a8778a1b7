"""The warehouse: finds the roster and the tenants, reads them, and knows which days there are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from bulkgrants.errors import Misconfigured, Unavailable
from bulkgrants.redaction import redacted
from bulkgrants.text import bounded, quoted

Warehouse: TypeAlias = Engine
"""The database with the roster and the tenants table. This file only ever reads it."""

_QUERY = re.compile(r"(select|with)\b", re.IGNORECASE)
_DAY = re.compile(r"([0-9]{4})(-?)([0-9]{2})\2([0-9]{2})(?:[T ].*)?")
_DAY_CHARACTERS = 11
"""What `read_day` needs of a text: `2026-01-31`, and the character behind it."""
_SHOWN_COLUMNS = 40
_SHOWN_ROWS = 3
_LONGEST_DATE = 80
"""Characters of a date that cannot be read."""
_MOST_TEXTS = 20_000
"""Different dates, written as text: a day for each of fifty years."""
MOST_UNDATED = 10_000
"""Rows without a readable date that a run sets aside. They belong to no day, so every run rejects
them anew; many more would fill the ledger, night after night, with the same mistake."""


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


def read_day(text: str) -> date | None:
    """The day in a text like `2026-01-31` or `20260131`, with or without a time behind it.

    None if it is not a day of the calendar, or written in another way. Ways that leave a choice are
    not read at all: `01.02.2026` may be in January or in February, and a week has seven days.
    """
    found = _DAY.fullmatch(text)
    if found is None:
        return None
    year, _, month, day = found.groups()
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


class DateForm(StrEnum):
    """How the warehouse writes roster_date, which decides how it is compared."""

    DATE = "date"
    TIMESTAMP = "timestamp"
    ZONED = "timestamp with time zone"
    TEXT = "text or whole number"


@dataclass(frozen=True, slots=True)
class Days:
    """Which days a roster has, as far as its dates can be read."""

    newest: date | None
    """None if no row has a day."""
    undated: str
    """How many rows have no date that can be read, and a few of them; empty if there are none."""


@dataclass(frozen=True, slots=True)
class _Dates:
    """The date column of a roster, and conditions for its rows.

    Texts are compared for equality only, because their order depends on the database's collation.
    """

    source: Source
    resolved: Mapping[str, str]
    origin: sa.FromClause
    form: DateForm = DateForm.TEXT
    texts: Mapping[str, date | None] = field(default_factory=dict)
    """For `DateForm.TEXT`: the beginnings of all cells, and the day of each."""

    @property
    def column(self) -> sa.ColumnElement[object]:
        return self.origin.c[self.resolved["roster_date"]]

    @property
    def as_text(self) -> sa.ColumnElement[str]:
        return sa.func.trim(sa.cast(self.column, sa.Text))

    @property
    def beginning(self) -> sa.ColumnElement[str]:
        """Enough of a text to tell its day, but not the time, which would make each one differ."""
        return sa.func.substring(self.as_text, 1, _DAY_CHARACTERS)

    def of_day(self, day: date) -> sa.ColumnElement[bool]:
        """A day is from midnight to midnight; if the type has a time zone, in UTC."""
        if self.form is DateForm.TEXT:
            return self._written(lambda found: found == day)
        following = self._midnight(day + timedelta(days=1))
        return sa.and_(self.column >= self._midnight(day), self.column < following)

    def after(self, day: date) -> sa.ColumnElement[bool]:
        if self.form is DateForm.TEXT:
            return self._written(lambda found: found is not None and found > day)
        return self.column >= self._midnight(day + timedelta(days=1))

    def undated(self) -> sa.ColumnElement[bool]:
        return sa.or_(self.column.is_(None), self._written(lambda found: found is None))

    def _written(self, wanted: Callable[[date | None], bool]) -> sa.ColumnElement[bool]:
        texts = [text for text, found in self.texts.items() if wanted(found)]
        return self.beginning.in_(texts) if texts else sa.false()

    def _midnight(self, day: date) -> sa.ColumnElement[object]:
        if self.form is DateForm.DATE:
            return sa.literal(day, sa.Date)
        zoned = self.form is DateForm.ZONED
        moment = datetime.combine(day, time.min, UTC if zoned else None)
        return sa.literal(moment, sa.DateTime(timezone=zoned))


def roster_days(warehouse: Warehouse, source: Source, today: date) -> Days | None:
    """Which days the roster has; None for a current table, which has no roster_date.

    Raises Misconfigured if the roster cannot be read, if it has rows for days after `today`, or if
    it has rows, but no date, or not enough of them, can be read.
    """
    with warehouse_connection(warehouse, source) as connection:
        resolved = resolve_columns(connection, source)
        if "roster_date" not in resolved:
            return None
        dates = _read_dates(connection, source, resolved)
        later = _shown_rows(connection, dates, dates.after(today))[1]
        if later:
            raise Misconfigured(
                f"The {source.shown} has {later} for days after {today}, which is today. Correct "
                "or remove them: the newest day is the one that is applied, and all others are old."
            )
        undated = _undated_rows(connection, dates)[1]
        newest = _newest(connection, dates)
        if newest is None and undated:
            raise _no_date(dates, f"holds no date that can be read in any row: {undated}")
    return Days(newest, undated)


def _read_dates(connection: Connection, source: Source, resolved: Mapping[str, str]) -> _Dates:
    """How the roster writes its dates. Raises Misconfigured if they are no dates at all."""
    dates = _Dates(source, resolved, source.origin(dict.fromkeys(resolved.values())))
    if connection.dialect.name != "sqlite":  # there each cell has a type of its own
        dates = replace(dates, form=_form(connection, dates))
    if dates.form is not DateForm.TEXT:
        return dates
    beginnings = sa.select(dates.beginning)
    texts = connection.execute(
        beginnings.where(dates.column.is_not(None)).distinct().limit(_MOST_TEXTS + 1)
    ).scalars()
    found = {str(text): read_day(str(text)) for text in texts}
    if len(found) > _MOST_TEXTS:
        raise _no_date(dates, f"holds more than {_MOST_TEXTS} different values, so no days")
    return replace(dates, texts=found)


def _form(connection: Connection, dates: _Dates) -> DateForm:
    """The form of the whole column, by one of its values; any form if there is none."""
    one = sa.select(dates.column).where(dates.column.is_not(None))
    try:
        value = connection.execute(one.limit(1)).scalar()
    except sa.exc.DataError:  # such as PostgreSQL's infinity
        raise _no_date(dates, "holds a date that is not in the calendar") from None
    match value:
        case datetime():
            return DateForm.TIMESTAMP if value.tzinfo is None else DateForm.ZONED
        case date():
            return DateForm.DATE
        case None | int() | str() if not isinstance(value, bool):
            return DateForm.TEXT
    raise _no_date(dates, f"holds {bounded(repr(value), 60)}, which is not a date")


def _no_date(dates: _Dates, why: str) -> Misconfigured:
    return Misconfigured(
        f'The column "{bounded(dates.resolved["roster_date"], 60)}" of the {dates.source.shown} '
        f"{why}. Use a DATE, a TIMESTAMP, or a text like 2026-01-31 or 20260131, or map "
        f"`roster_date` to another column in `{dates.source.mapping_setting}`."
    )


def _newest(connection: Connection, dates: _Dates) -> date | None:
    if dates.form is DateForm.TEXT:
        return max((day for day in dates.texts.values() if day), default=None)
    found = connection.execute(sa.select(sa.func.max(dates.column))).scalar()
    if isinstance(found, datetime):
        return (found.astimezone(UTC) if found.tzinfo else found).date()
    return found if isinstance(found, date) else None


def _undated_rows(connection: Connection, dates: _Dates) -> tuple[int, str]:
    """The number of rows without a readable date, and how a message names them.

    Raises Misconfigured if there are more than a run sets aside.
    """
    count, shown = _shown_rows(connection, dates, dates.undated())
    if count > MOST_UNDATED:
        raise _no_date(
            dates,
            f"holds no date that can be read in {shown}; every run would reject them anew, and "
            f"at most {MOST_UNDATED} are. Correct them, or leave them out with a query",
        )
    return count, shown


def _shown_rows(
    connection: Connection, dates: _Dates, condition: sa.ColumnElement[bool]
) -> tuple[int, str]:
    """The number of these rows, and how a message names them: their number and the first few."""
    tenant, email = (dates.origin.c[dates.resolved[ours]] for ours in ("tenant", "email"))
    some = sa.select(sa.cast(dates.column, sa.Text), tenant, email)
    rows = connection.execute(some.where(condition).limit(_SHOWN_ROWS)).all()
    if not rows:
        return 0, ""
    counting = sa.select(sa.func.count()).select_from(dates.origin).where(condition)
    count = connection.execute(counting).scalar_one()
    first = "; ".join(", ".join(_shown_cell(cell) for cell in row) for row in rows)
    return (
        count,
        f"{count} row{'s' if count > 1 else ''} ({first}{'; …' if count > _SHOWN_ROWS else ''})",
    )


def _shown_cell(cell: object) -> str:
    return "null" if cell is None else quoted(str(cell))


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

    With the rows of a day come those whose date cannot be read. If there are any, the blocks have a
    column `unreadable_date`: their date as text, empty for null; null in the rows of the day. Each
    block has our names of the columns, and its rows exactly as the driver returned them.
    Raises Misconfigured if the source cannot be read, or if it has a roster_date column and
    `roster_date` is None, or the other way round; Unavailable if the connection is lost half-way.
    """
    with warehouse_connection(warehouse, source) as connection:
        resolved = resolve_columns(connection, source)
        statement = _statement(connection, source, resolved, roster_date)
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
    connection: Connection, source: Source, resolved: Mapping[str, str], day: date | None
) -> sa.Select[*tuple[object, ...]]:
    dated = "roster_date" in resolved
    if day is None and not dated:
        return sa.select(*labelled(source.origin(dict.fromkeys(resolved.values())), resolved))
    if day is None:
        raise Misconfigured(
            f"The {source.shown} has a roster_date column, so it is read one day at a time and "
            "a day must be chosen; for a current table, leave that column out with a query."
        )
    if not dated:
        raise Misconfigured(
            f"The {source.shown} has no roster_date column, so it has no roster for {day}; add the "
            f"column, or map it in the setting `{source.mapping_setting}`."
        )
    dates = _read_dates(connection, source, resolved)
    wanted = {ours: theirs for ours, theirs in resolved.items() if ours != "roster_date"}
    statement, undated = sa.select(*labelled(dates.origin, wanted)), dates.undated()
    if not _undated_rows(connection, dates)[0]:
        return statement.where(dates.of_day(day))
    text = sa.func.coalesce(sa.func.substring(dates.as_text, 1, _LONGEST_DATE), "")
    shown = sa.case((undated, text)).label("unreadable_date")
    return statement.add_columns(shown).where(sa.or_(dates.of_day(day), undated))
