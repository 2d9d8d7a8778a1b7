"""Many rows at once: COPY on PostgreSQL, one prepared statement on SQLite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Table

if TYPE_CHECKING:
    import pandas as pd  # half a second to import, and only frames need it

Cell = str | int | float | bool | None

_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


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


def insert_frame(connection: Connection, table: Table, frame: pd.DataFrame) -> int:
    """`insert_rows` for a frame whose columns are called as the table's; gives the rows' number.

    A column holds text, whole numbers or booleans without gaps, or objects among which None is
    null. For PostgreSQL it becomes one text, which is less work than row by row.
    """
    if connection.dialect.name != "postgresql":
        rows = zip(*(frame[name].tolist() for name in frame.columns), strict=True)
        return _executemany(connection, table, list(frame.columns), rows)
    lines = map(
        "\t".join, zip(*(_copy_cells(frame[name].tolist()) for name in frame.columns), strict=True)
    )
    raw = connection.connection.cursor()
    with raw.copy(f"COPY {table.name} ({', '.join(frame.columns)}) FROM STDIN") as copy:
        copy.write("\n".join([*lines, ""]))
    raw.close()
    return len(frame)


def _copy_cells(cells: list[Cell]) -> list[str]:
    """A column as COPY's text format writes it."""
    texts = ["" if cell is None else cell if isinstance(cell, str) else str(cell) for cell in cells]
    joined = "".join(texts)
    if any(character in joined for character in "\\\t\n\r"):  # rare; searching all at once is cheap
        texts = [text.translate(_ESCAPES) for text in texts]
    return [r"\N" if cell is None else text for cell, text in zip(cells, texts, strict=True)]


def _copy(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Cell]]
) -> int:
    count = 0
    names = ", ".join(columns)
    raw = connection.connection.cursor()
    with raw.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
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
    raw.executemany(statement, rows)  # type: ignore[arg-type]  # sqlite3 streams any iterable
    count = raw.rowcount
    raw.close()
    return max(count, 0)
