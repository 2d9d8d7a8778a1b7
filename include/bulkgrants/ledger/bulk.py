"""Many rows at once: COPY on PostgreSQL, one prepared statement on SQLite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Table

Cell = str | int | float | bool | None


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Cell]]
) -> int:
    """Insert rows, streamed and within the caller's transaction; gives their number.

    The cells are written as they are: no defaults and no type decorators apply, so every column
    that needs a value is named.
    """
    if connection.dialect.name == "postgresql":
        return _copy(connection, table, columns, rows)
    return _executemany(connection, table, columns, rows)


def _copy(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Cell]]
) -> int:
    count = 0
    names = ", ".join(columns)
    raw = connection.connection.cursor()
    with raw.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:  # type: ignore[attr-defined]  # psycopg's cursor, behind the DBAPI's interface
        for row in rows:
            copy.write_row(row)
            count += 1
    raw.close()
    return count


def _executemany(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Cell]]
) -> int:
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - names of our own tables
    raw = connection.connection.cursor()
    raw.executemany(statement, rows)
    count = raw.rowcount
    raw.close()
    return max(count, 0)
