"""Opens a ledger: an engine with what its database needs, at the revision the code needs."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from bulkgrants.errors import Misconfigured
from bulkgrants.ledger.tables import runs
from bulkgrants.ledger.views import VIEWS

if TYPE_CHECKING:
    from alembic.config import Config

REVISION = "0003"
"""The newest migration, which this code needs."""

_BUSY_MS = 60_000
_UPGRADE_LOCK = 0x62756C6B  # "bulk": PostgreSQL's advisory lock while a revision is applied


def ledger_url(url: str | URL) -> URL:
    """The URL with the driver that the ledger uses: psycopg 3 for PostgreSQL.

    Raises Misconfigured for any other database than PostgreSQL and SQLite.
    """
    parsed = make_url(url)
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
                "point its connection to one of them."
            )


def open_ledger(url: str | URL) -> Engine:
    """An engine on the ledger, whatever its revision. SQLite's file and folder are made."""
    parsed = ledger_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, connect_args={"timeout": _BUSY_MS / 1000})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(parsed, pool_pre_ping=True, pool_size=2, max_overflow=4)


def _prepare_sqlite(raw: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
    """Readers beside one writer (WAL), and transactions begun by us alone."""
    raw.isolation_level = None
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=NORMAL")
    raw.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    raw.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once: a reader that turns writer half-way would fail, not wait."""
    reads = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def reading(engine: Engine) -> Engine:
    """The same ledger for transactions that only read; they wait for no writer."""
    return engine.execution_options(reads_only=True)


def upgrade(engine: Engine) -> None:
    """Bring the ledger to the revision of this code; several processes may do so at once.

    Raises Misconfigured where no ledger can be reached.
    """
    from alembic import command  # noqa: PLC0415 - slow; DAG files need it not

    with _opened(engine) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
        command.upgrade(_alembic(connection), "head")
        _write_comments(connection)


def _write_comments(connection: Connection) -> None:
    """Say in PostgreSQL's catalogue what each table, view and column means; SQLite has no such.

    All are written at every upgrade and by no revision, so that they never differ from the code.
    """
    if connection.dialect.name != "postgresql":
        return
    meanings = []
    for table in runs.metadata.tables.values():
        meanings.append((f"TABLE {table.name}", table.comment))
        meanings += [(f"COLUMN {column}", column.comment) for column in table.columns]
    for name, view in VIEWS.items():
        meanings.append((f"VIEW {name}", view.meaning))
        meanings += [(f"COLUMN {name}.{column}", said) for column, said in view.columns.items()]
    for what, meaning in meanings:
        quoted = (meaning or "").replace("'", "''")
        connection.exec_driver_sql(f"COMMENT ON {what} IS '{quoted}'")


def require_current(engine: Engine) -> None:
    """Make sure the ledger is at the revision of this code.

    A SQLite ledger is brought up to date on the spot. A PostgreSQL ledger is its administrator's
    to change: Misconfigured tells the command. Misconfigured too where no ledger can be reached.
    """
    with _opened(reading(engine)) as connection:
        revision = _revision(connection)
    if revision == REVISION:
        return
    if engine.dialect.name == "sqlite":
        upgrade(engine)
        return
    raise Misconfigured(
        f"The ledger at {shown(engine.url)} is at revision {revision or 'none'}, "
        f"this code needs {REVISION}: run "
        "`python -m bulkgrants.ledger upgrade --url …` once."
    )


def shown(url: URL) -> str:
    """The URL without its password, which PostgreSQL also takes as a parameter."""
    secrets = [name for name in url.query if "password" in name]
    return url.difference_update_query(secrets).render_as_string(hide_password=True)


def _opened(engine: Engine) -> Connection:
    try:
        return engine.connect()
    except SQLAlchemyError as error:
        raise Misconfigured(
            f"The ledger at {shown(engine.url)} cannot be opened; check the host, login and "
            f"database of its Airflow connection ({type(error).__name__})."
        ) from None


def _revision(connection: Connection) -> str | None:
    """What Alembic has noted down; asking it would write two lines into every task's log."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _alembic(connection: Connection) -> Config:
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
