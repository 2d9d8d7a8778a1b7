"""Makes databases for tests: empty ones, and ledgers that are copies of one upgraded once."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from bulkgrants.ledger.database import open_ledger
from bulkgrants.ledger.upgrade import upgrade

FORGETFUL = ("fsync = off", "full_page_writes = off", "synchronous_commit = off")
"""Settings of a PostgreSQL server whose data need not outlive it."""


def forget(server_url: str) -> None:
    """Let a server of this test process write without waiting for the disk."""
    statements = [f"ALTER SYSTEM SET {setting}" for setting in FORGETFUL]
    _as_admin(server_url, *statements, "SELECT pg_reload_conf()")


def new_database(server_url: str, template: str = "template1") -> str:
    """The URL of a new database that is a copy of another one."""
    name = f"t{uuid.uuid4().hex[:12]}"
    _as_admin(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return server_url.replace("/postgres?", f"/{name}?")


class NewLedger:
    """Makes ledgers at the current revision: `new_ledger("sqlite", folder)`."""

    def __init__(self, folder: Path, server_url: str) -> None:
        self._file = folder / "upgraded.db"
        self._server_url = server_url
        _upgraded(f"sqlite:///{self._file}")
        self._database = _upgraded(new_database(server_url))

    def __call__(self, kind: str, folder: Path) -> Engine:
        """An engine for a new ledger on `sqlite`, as a file in the folder, or on `postgresql`."""
        if kind == "sqlite":
            path = folder / f"ledger-{uuid.uuid4().hex[:12]}.db"
            return open_ledger(f"sqlite:///{shutil.copy(self._file, path)}")
        return open_ledger(new_database(self._server_url, self._database))


def _upgraded(url: str) -> str:
    """Upgrade an empty database, close it, and return its name."""
    engine = open_ledger(url)
    upgrade(engine)
    engine.dispose()
    return str(engine.url.database)


def _as_admin(server_url: str, *statements: str) -> None:
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    admin.dispose()
