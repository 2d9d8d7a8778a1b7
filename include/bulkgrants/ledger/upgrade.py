"""Upgrades a ledger to the revision of this code: Alembic's migrations, then all comments."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from bulkgrants.ledger.database import Ledger, opened, require_known
from bulkgrants.ledger.tables import runs
from bulkgrants.ledger.views import VIEWS

_LOCK = 0x62756C6B  # "bulk"; PostgreSQL's advisory lock while revisions are applied


def upgrade(engine: Ledger) -> None:
    """Upgrade the ledger to the revision of this code; several processes may do so at once.

    Raises Misconfigured if newer code has upgraded the ledger, and what `opened` raises.
    """
    with opened(engine) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            # Another upgrade may take long; an open table that is in use must not hold up its users
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            connection.execute(text("SET LOCAL lock_timeout = '30s'"))
        require_known(connection)
        command.upgrade(_alembic(connection), "head")
        _write_comments(connection)


def _write_comments(connection: Connection) -> None:
    """Write the meaning of each table, view and column into PostgreSQL's catalogue.

    Every upgrade writes all of them and no revision does, so they never differ from the code.
    SQLite cannot store comments.
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


def _alembic(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
