"""Opens the ledger's database, which is PostgreSQL or SQLite, and checks its revision.

This file hides the differences between the two databases from the rest of the ledger: types of
columns, upserts, and inserts of many rows.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    CreateTableAs,
    DateTime,
    Engine,
    ExceptionContext,
    Integer,
    Interval,
    MetaData,
    Select,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    inspect,
    literal,
    make_url,
    text,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.schema import DropTable
from sqlalchemy.types import TypeDecorator, TypeEngine

from bulkgrants.errors import Misconfigured, Unavailable
from bulkgrants.ledger import failures
from bulkgrants.text import bounded

if TYPE_CHECKING:
    import pandas as pd  # takes half a second to import, and only frames need it
    import psycopg

Ledger: TypeAlias = Engine
"""A ledger that was opened here. Other rooms pass it on and never run SQL on it."""
Reading: TypeAlias = Connection
"""A transaction that only reads."""
Upsert: TypeAlias = "postgresql.Insert | sqlite.Insert"
Cell: TypeAlias = "str | int | float | bool | None"

REVISION = "0009"
"""The newest migration; this code needs a ledger at this revision."""

_BUSY_MS = 60_000
_BRIEF_BUSY_MS = 20_000
_SESSION = {
    # A process that is frozen in a transaction loses it, so that the others get its locks …
    "idle_in_transaction_session_timeout": "15s",
    # … before they give up themselves.
    "lock_timeout": "30s",
    # A machine that is gone, or frozen while rows are on their way to it, is noticed too.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "60s",
    # The comparison of a million mailboxes takes minutes, whatever the role's default allows.
    "statement_timeout": "0",
    "transaction_timeout": "0",
}
"""PostgreSQL's settings for each session; what the URL says in its `options` goes first."""
_BRIEF = (
    "SELECT set_config('lock_timeout', '20s', true), set_config('statement_timeout', '25s', true)"
)
_CLIENT = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""libpq's settings, so that a server that is gone is noticed; the connection's URL goes first."""
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\""})
_AT_ONCE = 5_000
"""Rows in one statement on PostgreSQL, so that each is made, sent and served in a moment."""


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite makes ids for INTEGER keys only


class Exact(TypeDecorator[str]):
    """Text that sorts and compares by code point, both on PostgreSQL and on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """Collation "C" on PostgreSQL; SQLite's default order is the same."""
        collation = "C" if dialect.name == "postgresql" else None
        return dialect.type_descriptor(Text(collation=collation))


class Moment(TypeDecorator[datetime]):
    """A timestamp with time zone; in Python it is always aware and in UTC.

    SQLite has no time zones, so there it is stored in UTC.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The value in UTC; naive for SQLite. Raises ValueError for a naive value."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"A timestamp in the ledger needs a time zone: {value!r}.")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the base class names it
        """The value, aware and in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def by_its_clock(connection: Connection, after: timedelta = timedelta()) -> ColumnElement[datetime]:
    """The time by the database's clock, which all processes share, and so much later."""
    if connection.dialect.name == "postgresql":
        later = func.clock_timestamp() + literal(after, Interval())
    else:
        seconds = f"{after.total_seconds():+f} seconds"
        later = func.strftime("%Y-%m-%d %H:%M:%f000", "now", seconds)  # as Moment is stored
    return type_coerce(later, Moment())


def added_text(name: str, comment: str, length: int | None = None) -> Column[str]:
    """A text column that a later revision added; in older rows it is empty."""
    kind = String(length) if length else Text()
    return Column(name, kind, nullable=False, server_default="", comment=comment)


def ledger_url(url: str | URL) -> URL:
    """The URL with the driver that the ledger uses; for PostgreSQL that is psycopg 3.

    Raises Misconfigured for databases other than PostgreSQL and SQLite, and for what is not a URL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a ValueError quotes what is not a port
        raise Misconfigured(
            "The ledger's URL cannot be understood; write it as postgresql://user:password@host/"
            "database, with every special character of the password as % and two digits."
        ) from None
    backend = (
        "postgresql" if parsed.drivername.startswith("postgres") else parsed.get_backend_name()
    )
    match backend:
        case "postgresql":
            return parsed.set(drivername="postgresql+psycopg")
        case "sqlite":
            return parsed.set(drivername="sqlite")
        case _:
            raise Misconfigured(
                f"The ledger runs on PostgreSQL or SQLite, not on {backend}; "
                "point its Airflow connection to one of them."
            )


def open_ledger(url: str | URL) -> Ledger:
    """The ledger at any revision. For SQLite, makes the file and its folder, for this user alone.

    Errors of the database do not show the values of a statement. Raises Misconfigured for databases
    other than PostgreSQL and SQLite, and if the file cannot be made.
    """
    parsed = ledger_url(url)
    if parsed.get_backend_name() == "sqlite":
        _make_private(parsed)
        engine = create_engine(
            parsed, connect_args={"timeout": _BUSY_MS / 1000}, hide_parameters=True
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        client = {name: value for name, value in _CLIENT.items() if name not in parsed.query}
        engine = create_engine(
            parsed,
            connect_args=client,
            pool_pre_ping=True,
            pool_size=2,
            max_overflow=4,
            hide_parameters=True,
        )
        event.listen(engine, "connect", _prepare_postgresql)
        event.listen(engine, "begin", _begin_postgresql)
    event.listen(engine, "handle_error", _translate)
    return engine


def _make_private(url: URL) -> None:
    """Make the SQLite file, for its owner alone; one that exists keeps its mode.

    SQLite gives its other files, which hold the newest rows, the mode of this one.
    """
    if not url.database or url.database == ":memory:" or url.query:
        return
    path = Path(url.database)
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as error:
        raise Misconfigured(
            f"The ledger's file {path} cannot be made ({type(error).__name__}); correct the path "
            "in its Airflow connection, or let this user write to its folder."
        ) from None


def _prepare_sqlite(raw: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
    """Let readers work beside one writer (WAL), and leave the start of transactions to us."""
    raw.isolation_level = None
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=NORMAL")
    raw.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    raw.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once; a reader that starts to write later would fail, not wait."""
    options = connection.get_execution_options()
    busy = _BRIEF_BUSY_MS if options.get("brief", False) else _BUSY_MS
    connection.exec_driver_sql(f"PRAGMA busy_timeout={busy}")
    connection.exec_driver_sql("BEGIN" if options.get("reads_only", False) else "BEGIN IMMEDIATE")


def _prepare_postgresql(raw: psycopg.Connection, _record: ConnectionPoolEntry) -> None:
    """Set `_SESSION` once for the connection, except for what its URL has set."""
    wanted = ", ".join(f"('{name}', '{value}')" for name, value in _SESSION.items())
    raw.autocommit = True  # in a transaction that is rolled back, the settings would be lost
    raw.execute(
        f"SELECT set_config(wanted.name, wanted.value, false) "  # noqa: S608 - fixed words
        f"FROM (VALUES {wanted}) AS wanted (name, value) "
        "JOIN pg_settings known ON known.name = wanted.name WHERE known.source <> 'client'"
    )
    raw.autocommit = False


def _begin_postgresql(connection: Connection) -> None:
    """Limit a brief transaction; see `brief`."""
    if connection.get_execution_options().get("brief", False):
        connection.exec_driver_sql(_BRIEF).close()


def _translate(context: ExceptionContext) -> Unavailable | Misconfigured | None:
    place = shown(context.engine.url) if context.engine else "an unknown place"
    return failures.translate(context, place)


def brief(ledger: Ledger) -> Ledger:
    """The same ledger, for transactions that are quick by nature and that a person waits for.

    If a lock is not free or a statement not done within seconds, Unavailable is raised.
    """
    return ledger.execution_options(brief=True)


@contextmanager
def reading(ledger: Ledger) -> Iterator[Reading]:
    """A transaction that only reads, and does not wait for writers."""
    with ledger.execution_options(reads_only=True).connect() as connection:
        yield connection


def require_current(engine: Ledger) -> None:
    """Make sure that the ledger is at the revision of this code.

    A SQLite ledger is upgraded at once. A PostgreSQL ledger is upgraded by its administrator, for
    whom Misconfigured names the command. Also raises Misconfigured if newer code has upgraded the
    ledger, and what `opened` raises.
    """
    with opened(engine.execution_options(reads_only=True)) as connection:
        revision = require_known(connection)
    if revision == REVISION:
        return
    if engine.dialect.name == "sqlite":
        from bulkgrants.ledger.upgrade import upgrade  # noqa: PLC0415 - rarely needed and slow

        upgrade(engine)
        return
    raise Misconfigured(
        f"The ledger at {shown(engine.url)} is at revision {revision or 'none'}, "
        f"but this code needs {REVISION}; put its URL into BULKGRANTS_LEDGER_URL, and run "
        "`python -m bulkgrants.ledger upgrade` once."
    )


def shown(url: URL) -> str:
    """The URL without its password, which for PostgreSQL may also be a parameter."""
    return url.difference_update_query(_secret(url)).render_as_string(hide_password=True)


def has_password(url: URL) -> bool:
    """Whether the URL has a password in it."""
    return bool(url.password or _secret(url))


def _secret(url: URL) -> list[str]:
    return [name for name in url.query if "password" in name]


def opened(engine: Ledger) -> Connection:
    """A connection to the ledger.

    Raises Unavailable if it cannot be made now, Misconfigured if it can never be made like this.
    """
    try:
        return engine.connect()
    except (Unavailable, Misconfigured) as error:
        raise error from None
    except SQLAlchemyError as error:
        raise failures.cannot_be_opened(shown(engine.url), error.__cause__ or error) from None


def require_known(connection: Connection) -> str | None:
    """The ledger's revision, None if it is empty. Raises Misconfigured if only newer code knows it.

    It is read without Alembic, which would add two lines to the log of every task.
    """
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    revision = None if found is None else str(found)
    if revision is not None and revision > REVISION:  # they are numbers of four digits
        raise Misconfigured(
            f"The ledger at {shown(connection.engine.url)} is at revision {bounded(revision, 40)}, "
            f"but this code knows revisions up to {REVISION} only: newer code has upgraded it. "
            "Install the newer version here too, or restore the backup from before the upgrade."
        )
    return revision


def upsert(connection: Connection, table: Table) -> Upsert:
    """An INSERT that may carry an ON CONFLICT clause."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


@contextmanager
def temporary_table(connection: Connection, name: str, query: Select[Any]) -> Iterator[Table]:
    """The query's rows in a temporary table, which exists for the block."""
    making = CreateTableAs(query, name, temporary=True)
    connection.execute(DropTable(making.table, if_exists=True))
    connection.execute(making)
    yield making.table
    connection.execute(DropTable(making.table))


def insert_unless_there(connection: Connection, table: Table) -> Upsert:
    """An INSERT that does nothing if the row's key already exists."""
    return upsert(connection, table).on_conflict_do_nothing()


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Cell]]
) -> int:
    """Insert a stream of rows in the caller's transaction; returns their number.

    It uses arrays on PostgreSQL, and one prepared statement on SQLite. Cells are written as they
    are. Defaults and type decorators do not apply, so every column that needs a value has to be
    named.
    """
    if connection.dialect.name != "postgresql":
        return _executemany(connection, table, columns, rows)
    rows, count = iter(rows), 0
    while block := list(islice(rows, _AT_ONCE)):
        _insert_arrays(connection, table, columns, zip(*block, strict=True))
        count += len(block)
    return count


def insert_frame(connection: Connection, table: Table, frame: pd.DataFrame) -> int:
    """`insert_rows` for a frame whose columns have the table's names; returns the number of rows.

    A column holds text, whole numbers or booleans without gaps, or objects in which None means
    null. On PostgreSQL the frame is written by one statement.
    """
    names, cells = list(frame.columns), (frame[name].tolist() for name in frame.columns)
    if connection.dialect.name != "postgresql":
        return _executemany(connection, table, names, zip(*cells, strict=True))
    _insert_arrays(connection, table, names, cells)
    return len(frame)


@contextmanager
def _cursor(connection: Connection) -> Iterator[Any]:
    """The driver's own cursor; its errors become those that a statement of SQLAlchemy raises."""
    raw = connection.connection.cursor()
    try:
        yield raw
    except connection.dialect.loaded_dbapi.Error as error:
        lost = connection.dialect.is_disconnect(error, connection.connection.dbapi_connection, raw)
        lost = lost or failures.ends_session(error)
        unavailable = failures.passing(error, shown(connection.engine.url), lost=lost)
        if lost:
            connection.invalidate()
        if unavailable is None:
            raise
        raise unavailable from error
    finally:
        raw.close()


def _insert_arrays(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    columns: Iterable[Sequence[Cell]],
) -> None:
    """Insert the cells of these columns by one statement, which has an array for each.

    If a process freezes while it sends rows, PostgreSQL has to end its transaction, and
    `idle_in_transaction_session_timeout` counts only until the first message has arrived. A COPY
    has many messages, and a statement that is not prepared has two; this one has all in the first.
    """
    types = (_array_type(connection, table.c[name]) for name in names)
    arrays = ", ".join(f"unnest(%s::{one})" for one in types)
    statement = f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {arrays}"
    with _cursor(connection) as raw:
        raw.execute(statement, [_array(cells) for cells in columns], prepare=True)


def _array_type(connection: Connection, column: Column[Any]) -> str:
    """The type of an array of the column's values; text of any length, which the column checks."""
    if isinstance(column.type, String | Exact):
        return "text[]"
    return f"{column.type.compile(connection.dialect)}[]"


def _array(cells: Sequence[Cell]) -> str:
    """A column's cells as PostgreSQL writes an array; much faster than the driver's own way."""
    texts = ["" if cell is None else cell if isinstance(cell, str) else str(cell) for cell in cells]
    joined = "".join(texts)
    if '"' in joined or "\\" in joined:  # rare; searching all at once is cheap
        texts = [text.translate(_ESCAPES) for text in texts]
    if None not in cells:
        return '{"' + '","'.join(texts) + '"}'
    quoted = (
        "NULL" if cell is None else f'"{text}"' for cell, text in zip(cells, texts, strict=True)
    )
    return "{" + ",".join(quoted) + "}"


def _executemany(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Cell]]
) -> int:
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - names of our own tables
    with _cursor(connection) as raw:
        raw.executemany(statement, rows)
        return max(int(raw.rowcount), 0)
