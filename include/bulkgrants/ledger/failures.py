"""Says in one sentence which errors of the ledger's database pass by themselves.

Such an error becomes Unavailable, so the task is tried again later. If no connection can be made
because its settings are wrong, the error becomes Misconfigured. Any other error of the database is
a mistake in this code or in the ledger, and stays as it is.
"""

from __future__ import annotations

import socket
import sqlite3
from typing import TYPE_CHECKING

from sqlalchemy.exc import OperationalError

from bulkgrants.errors import Misconfigured, Unavailable

if TYPE_CHECKING:
    from sqlalchemy import ExceptionContext

_AGAIN = "Try again; every task is safe to repeat."
_HELD = (
    "another process holds a record that this one needs, and did not release it in time. If this "
    "happens again, look for a process or machine that hangs, and end it."
)
_ENDED = "the database was stopped, or an administrator ended the connection."
_SENTENCES = {
    "55P03": _HELD,
    "57014": "a statement that should be quick took too long, or an administrator cancelled it.",
    "25P03": (
        "the database ended the connection, because this process stood still for too long in the "
        "middle of a transaction. Its machine was frozen, suspended or very slow."
    ),
    "40P01": "two processes waited for each other, and the database ended this one's transaction.",
    "40001": "another process has changed the same records at the same time.",
    "53300": "it has no free connection.",
    "57P01": _ENDED,
    "57P02": _ENDED,
    "57P03": "the database is just starting or stopping.",
}
"""What happened, by PostgreSQL's SQLSTATE."""
_ENDS_SESSION = {"25P03", "57P01", "57P02"}
_LOST = "the connection to it was lost."
_CLOSED = (
    "it accepts no connection. If this goes on, start the database, or correct the host and port "
    "of its Airflow connection."
)
_WRONG = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "no such database",
    "is not permitted to log in",
    "permission denied for database",
    "not currently accepting connections",
    "pg_hba.conf",
    "does not support SSL",
    "certificate",
    "definition of service",
    "connection is bad: invalid",
    "received invalid response",
    "failed to resolve host",
)
"""Words for what a person has to correct before a connection can be made.

There is no SQLSTATE for that: libpq has it, and does not pass it on. PostgreSQL may also say this
in another language. Then the task is tried again in vain, and fails with `_CLOSED`.
"""
_RESOLVER_BUSY = f"[Errno {int(socket.EAI_AGAIN)}]"
_SQLITE_HELD = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def passing(error: BaseException, place: str, *, lost: bool) -> Unavailable | None:
    """The error to raise for one of the database's driver, or None if it does not pass by itself.

    `place` names the ledger; `lost` tells that the connection can no longer be used.
    """
    code = getattr(error, "sqlstate", None) or ""
    if _is_held_file(error):
        return _unavailable(place, _HELD)
    if code in _SENTENCES:
        return _unavailable(place, _SENTENCES[code])
    return _unavailable(place, _LOST) if lost else None


def ends_session(error: BaseException) -> bool:
    """Whether the server has closed the connection after this error."""
    return getattr(error, "sqlstate", None) in _ENDS_SESSION


def translate(context: ExceptionContext, place: str) -> Unavailable | Misconfigured | None:
    """What SQLAlchemy has to raise instead of the driver's error; None to raise its own."""
    if context.is_pre_ping or context.sqlalchemy_exception is None:
        return None  # the pool only asks whether the connection works; or it is not the driver's
    error = context.original_exception
    context.is_disconnect = context.is_disconnect or ends_session(error)
    known = passing(error, place, lost=context.is_disconnect)
    never_made = context.connection is None and isinstance(
        context.sqlalchemy_exception, OperationalError
    )
    if known is not None or not never_made:
        return known
    return cannot_be_opened(place, error) if _needs_person(error) else _unavailable(place, _CLOSED)


def cannot_be_opened(place: str, error: BaseException) -> Misconfigured:
    """The error to raise if a person has to correct the ledger's connection."""
    return Misconfigured(
        f"The ledger at {place} cannot be opened; check the host, login and database of its "
        f"Airflow connection ({type(error).__name__})."
    )


def _unavailable(place: str, what: str) -> Unavailable:
    return Unavailable(f"The ledger at {place} did not serve this process: {what} {_AGAIN}")


def _needs_person(error: BaseException) -> bool:
    """Whether no connection can be made until a person corrects something."""
    said = str(error)
    wrong = any(words in said for words in _WRONG) and _RESOLVER_BUSY not in said
    return wrong or isinstance(error, sqlite3.Error)


def _is_held_file(error: BaseException) -> bool:
    """Whether another process writes to the SQLite file and did not finish in time."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _SQLITE_HELD  # the rest of the code is a detail
