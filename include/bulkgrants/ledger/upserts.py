"""INSERT … ON CONFLICT in the spelling of the database at hand."""

from __future__ import annotations

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Upsert = postgresql.Insert | sqlite.Insert


def upsert(connection: Connection, table: Table) -> Upsert:
    """An INSERT that may carry an ON CONFLICT clause."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def insert_unless_there(connection: Connection, table: Table) -> Upsert:
    """An INSERT without effect where the row's key exists already."""
    return upsert(connection, table).on_conflict_do_nothing()
