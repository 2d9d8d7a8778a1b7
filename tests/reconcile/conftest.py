"""A small world for reconciling: the stand-in over HTTP, a real ledger, and a roster in memory."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, select

from bulkgrants.ledger import runs
from bulkgrants.ledger.budgets import Budget
from bulkgrants.ledger.database import metadata
from bulkgrants.ledger.rights import writing
from bulkgrants.ledger.tenants import record_tenants
from bulkgrants.model import Mode, Plan, Provider, Run, Selection, Tenant
from bulkgrants.nylas.sending import Pacer
from bulkgrants.reconcile.apply import Applied, apply_batch
from bulkgrants.reconcile.observe import observe
from bulkgrants.reconcile.plan import plan
from bulkgrants.reconcile.report import Report, close_run
from bulkgrants.reconcile.verify import verify
from nylas_standin.client import Control
from nylas_standin.config import Config
from nylas_standin.keys import google_key_file, private_key
from nylas_standin.server import Running, serve_in_thread
from support.ledgers import opened
from support.senders import open_sender

MAIL = "https://www.googleapis.com/auth/gmail.readonly"
APPLICATION = "app-1"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serve_in_thread(Config(api_key="test-key")) as running:
        yield running


@pytest.fixture(scope="module")
def pem() -> str:
    """The private key of the credential `sa`."""
    return private_key()


@dataclass
class World:
    """Everything around one application, and the steps of a run as its tasks take them."""

    engine: Engine
    server: Running
    control: Control
    credential_id: str
    now: datetime = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    tenants: dict[str, Tenant] = field(
        default_factory=lambda: {name: tenant(name) for name in ("acme", "umbrella", "initech")}
    )
    pauses: list[float] = field(default_factory=list)
    """The seconds of each pause that was asked for."""
    microsoft_id: str = ""
    """The id of the credential `ms`, if a test has made one."""

    def clock(self) -> datetime:
        return self.now

    def open(
        self, mode: Mode = Mode.APPLY, selection: Selection | None = None, key: str = ""
    ) -> Run:
        key = key or f"test/{next(self.numbers)}"
        return opened(self.engine, key, now=self.now, mode=mode, selection=selection)

    def read(self, run: Run, roster: list[tuple[str, str, str | None]]) -> Run:
        """Stage a roster of (tenant, email, scopes)."""
        import pandas as pd

        from bulkgrants.rosters.read import stage_roster

        frame = pd.DataFrame(roster, columns=["tenant", "email", "scopes"], dtype=object)
        frame.insert(0, "row_number", range(1, len(frame) + 1))
        with writing(self.engine, run, self.now) as write:
            record_tenants(write, self.tenants.values())
            staged = stage_roster(
                write,
                chunks=[frame],
                tenants=self.tenants,
                credential_ids={
                    ("google", "sa"): self.credential_id,
                    ("microsoft", "ms"): self.microsoft_id,
                },
            )
            runs.note(write, entries=staged.entries, rejected=staged.rejected)
        return runs.read_run(self.engine, run.run_id)

    async def observe(self, run: Run, may_vanish: int = 0) -> Run:
        async with self.sender() as sender:
            await observe(self.engine, sender, run, clock=self.clock, may_vanish=may_vanish)
        return runs.read_run(self.engine, run.run_id)

    def plan(self, run: Run, batch_size: int = 2000) -> Plan:
        return plan(self.engine, run, batch_size=batch_size, now=self.now)

    async def apply(self, run: Run, batch: int) -> Applied:
        async with self.sender() as sender:
            return await apply_batch(self.engine, sender, run, batch, clock=self.clock)

    def sender(self, ceiling: float = 1000.0):
        return paced(self, ceiling)

    async def reconcile(
        self, roster, *, mode=Mode.APPLY, selection=None, batch_size=2000
    ) -> Report:
        """Make a whole run."""
        run = self.read(self.open(mode, selection), roster)
        run = await self.observe(run)
        planned = self.plan(run, batch_size)
        for batch in planned.batches:
            await self.apply(run, batch)
        await self.verify(run)
        return self.close(run)

    async def verify(self, run: Run) -> dict[str, int]:
        """Read back; whoever waits moves the stand-in's clock on instead."""
        async with self.sender() as sender:
            return dict(await verify(self.engine, sender, run, clock=self.clock, pause=self.pause))

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.to_thread(self.control.advance_clock, seconds)

    def close(self, run: Run) -> Report:
        return close_run(self.engine, runs.read_run(self.engine, run.run_id), self.now)

    def rows(self, table: str) -> list[dict]:
        with self.engine.connect() as connection:
            found = connection.execute(select(metadata.tables[table])).mappings()
            return [dict(row) for row in found]

    def delete(self, grant_id: str) -> None:
        """Delete a grant, as another client of the application may."""
        with api_of(self.server) as api:
            api.delete(f"/grants/{grant_id}").raise_for_status()

    def change(self, grant_id: str, settings: dict[str, object]) -> None:
        """Give a grant other settings, as another client of the application may."""
        with api_of(self.server) as api:
            api.patch(f"/grants/{grant_id}", json={"settings": settings}).raise_for_status()

    def grants(self) -> dict[str, dict]:
        """What exists at the stand-in, by mailbox."""
        return self.control.grants_by_mailbox()

    def calls(self) -> dict[str, int]:
        """The number of custom authentications of each mailbox."""
        return self.control.authentications()


def api_of(server: Running) -> httpx.Client:
    headers = {"Authorization": f"Bearer {server.api_key}"}
    return httpx.Client(base_url=f"{server.base_url}/v3", headers=headers)


def paced(world: World, ceiling: float):
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def opened():
        async with open_sender(world.server.base_url, world.server.api_key) as sender:
            yield Pacer(sender, Budget(world.engine, APPLICATION, ceiling))

    return opened()


def tenant(name: str) -> Tenant:
    return Tenant(name, Provider.GOOGLE, "sa", "google_sa", MAIL, timedelta(days=7), enabled=True)


@pytest.fixture
def make_ledger(new_ledger, tmp_path: Path) -> Iterator[Callable[[], Engine]]:
    """Makes new ledgers on SQLite, for tests that need many and do not depend on the database."""
    opened: list[Engine] = []

    def make() -> Engine:
        opened.append(new_ledger("sqlite", tmp_path))
        return opened[-1]

    yield make
    for engine in opened:
        engine.dispose()


@pytest.fixture
def make_world(server: Running) -> Iterator[Callable[[Engine], World]]:
    with Control(server.base_url) as control:

        def make(engine: Engine) -> World:
            control.reset()
            control.set_switches(unknown_query="refuse")  # we send none
            control.set_limiter(policy="none")
            return World(engine, server, control, _credential(server))

        yield make


@pytest.fixture
def world(make_world, ledger: Engine) -> World:
    """A world with a new ledger, once on SQLite and once on PostgreSQL."""
    return make_world(ledger)


def _credential(server: Running) -> str:
    """A Google connector and its credential `sa`; returns the credential's id."""
    with api_of(server) as api:
        settings = {"client_id": "id", "client_secret": "very-secret"}
        connector = {"provider": "google", "settings": settings}
        api.post("/connectors", json=connector).raise_for_status()
        body = {
            "name": "sa",
            "credential_type": "serviceaccount",
            "credential_data": google_key_file(),
        }
        answer = api.post("/connectors/google/creds", json=body).raise_for_status()
        return answer.json()["data"]["id"]
