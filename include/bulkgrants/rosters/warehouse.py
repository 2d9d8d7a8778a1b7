"""Connects to the warehouse to read, finds a source's columns, and words what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from bulkgrants.errors import Misconfigured, Unavailable
from bulkgrants.rosters.sources import OPTIONAL, REQUIRED, Source
from bulkgrants.text import bounded

_SHOWN_COLUMNS = 40


def read_only(engine: Engine) -> Engine:
    """The same warehouse for transactions that only read.

    PostgreSQL enforces it; a SQLite file that is also the ledger takes no write lock. Databases
    that know neither option ignore it, and nothing here ever sends anything but SELECT.
    """
    return engine.execution_options(postgresql_readonly=True, reads_only=True)


@contextmanager
def reading(engine: Engine, source: Source) -> Iterator[Connection]:
    """A connection to read the source; what goes wrong meanwhile becomes our error.

    Raises Misconfigured, or Unavailable where the connection was lost after it was made.
    """
    try:
        connection = read_only(engine).connect()
    except SQLAlchemyError as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        raise Misconfigured(
            f"The {source.shown} cannot be read, as {place(engine)} cannot be reached "
            f"({type(cause).__name__}); check the host, login and database of the warehouse's "
            "connection."
        ) from None
    with connection:
        try:
            yield connection
        except SQLAlchemyError as error:
            raise our_error(error, engine, source, under_way=False) from None


def our_error(
    error: SQLAlchemyError, engine: Engine, source: Source, *, under_way: bool
) -> Misconfigured | Unavailable:
    """One sentence for a failed statement, without its SQL; `under_way` once rows have come."""
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if lost or (under_way and isinstance(error, OperationalError | InterfaceError)):
        return Unavailable(
            f"The connection to {place(engine)} was lost while the {source.shown} was read; "
            "the task can be run again."
        )
    return Misconfigured(
        f"The {source.shown} at {place(engine)} cannot be read{_said(error)}; correct the setting "
        f"`{source.kind}`, or let the connection's user select from it."
    )


def _said(error: SQLAlchemyError) -> str:
    """The first line of what the database said of the statement; never of the data in it."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        cause = type(error.orig).__name__
        if isinstance(error, OperationalError | sa.exc.ProgrammingError):
            first = (str(error.orig).strip().splitlines() or [""])[0]
            return f" ({cause}: {bounded(first, 160)})"
        return f" ({cause})"
    return f" ({type(error).__name__})"


def place(engine: Engine) -> str:
    """The warehouse without login and parameters, either of which may be a secret."""
    url = engine.url
    shown = URL.create(
        url.get_backend_name(), host=url.host, port=url.port, database=url.database
    ).render_as_string()
    return bounded(shown, 150)


def resolve_columns(connection: Connection, source: Source) -> dict[str, str]:
    """Our column names to the warehouse's, for every column of the source that we know.

    An optional column that the source lacks is left out, unless the mapping names it. Raises
    Misconfigured for a column that is missing. (Asked of the database first, as SQLite takes a
    quoted name that it does not know for a text.)
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
    """The column of that name, else the only one that differs by case alone."""
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
