"""A ledger with a history: nights of every kind, made by the real steps against the stand-in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import httpx

from bulkgrants.credentials.register import Wanted
from bulkgrants.credentials.register import register as register_credential
from bulkgrants.credentials.secrets import fingerprint, fingerprint_key
from bulkgrants.ledger.runs import Scope
from bulkgrants.model import CredentialType, Mode, Provider
from bulkgrants.nylas.exchange import understand
from bulkgrants.nylas.wire import Reply
from bulkgrants.ports import utc_now
from bulkgrants.reconcile import queue
from bulkgrants.reconcile.gate import Admission
from bulkgrants.reconcile.opening import admit_run, take_lease
from bulkgrants.reconcile.verify import verify
from support.microsoft import onboard

APPLICATION = "app-1"
OLD = datetime(2025, 12, 1, 2, 0, tzinfo=UTC)
LATELY = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


async def make_history(world, pem: str) -> None:
    """Old nights, one with a task that died; a run turned away, drift, tenants on their way."""
    known = [f"{name}@acme.example.com" for name in ("ada", "ben", "carl", "former", "eve")]
    world.control.set_directory({"acme.example.com": known})
    register(world, pem)
    await old_nights(world)
    await late_nights(world)
    turn_away(world)
    onboard(world, SyncSender(world.server), OLD, LATELY)


def people(*names: str) -> list[tuple[str, str, None]]:
    return [("acme", f"{name}@acme.example.com", None) for name in names]


async def old_nights(world) -> None:
    world.now = OLD
    run, plan = await planned(world, [*people("ada", "ben", "carl", "former", "nobody", "no one")])
    lost = queue.claim(world.engine, run, 1, world.now)
    queue.intend(world.engine, lost, [(1, 1)], world.now)
    await applied(world, run, plan)
    await closed(world, run)
    await world.reconcile(people("ada", "ben", "carl", "nobody"))


async def late_nights(world) -> None:
    world.now = LATELY
    foreign = {"email": "foreign@acme.example.com", "credential_id": world.credential_id}
    world.control.seed([foreign])
    run, plan = await planned(world, people("ada", "ben", "carl", "eve", "nobody"))
    await applied(world, run, plan)
    eve = world.grants()["eve@acme.example.com"]["id"]
    world.control.change_grant(eve, grant_status="invalid")
    await closed(world, run)
    world.now += timedelta(days=8)
    await world.reconcile(people("ada", "eve"), mode=Mode.DRY_RUN)
    world.now += timedelta(hours=1)
    contradiction = [*people("ben"), ("umbrella", "ben@acme.example.com", None)]
    await world.reconcile([*people("ada", "eve", "nobody", "no one"), *contradiction])


def turn_away(world) -> None:
    """A run whose roster is not the newest."""
    world.now += timedelta(hours=1)
    key = f"backfill/{next(world.numbers)}"
    run = take_lease(
        world.engine, application=APPLICATION, key=key, kind="reconcile", now=world.now
    )
    reason = "This run is for 2026-02-01, but the newest roster is 2026-03-09."
    admission = Admission(date(2026, 2, 1), Mode.AUDIT, reason)
    world.close(admit_run(world.engine, run, admission, Scope()))


async def planned(world, roster):
    run = await world.observe(world.read(world.open(), roster))
    return run, world.plan(run)


async def applied(world, run, plan) -> None:
    for batch in plan.batches:
        await world.apply(run, batch)


async def closed(world, run) -> None:
    async with world.sender() as sender:
        await verify(world.engine, sender, run, clock=world.clock)
    world.close(run)


def register(world, pem: str) -> None:
    """Registers the credential `sa` with the key that the stand-in has already."""
    data = {
        "type": "service_account",
        "project_id": "acme",
        "private_key_id": "key-1",
        "private_key": pem,
        "client_email": "robot@acme.iam.gserviceaccount.com",
    }
    key = fingerprint_key(world.server.api_key)
    wanted = Wanted(
        Provider.GOOGLE, "sa", CredentialType.SERVICE_ACCOUNT, data, fingerprint(data, key)
    )
    register_credential(
        SyncSender(world.server),
        world.engine,
        application=APPLICATION,
        wanted=wanted,
        clock=world.clock,
    )


class SyncSender:
    """A Sender on httpx."""

    def __init__(self, server) -> None:
        self._server = server

    def send(self, call):
        answer = httpx.request(
            call.method,
            self._server.base_url + call.path,
            params=call.query,
            json=call.body,
            headers={"Authorization": f"Bearer {self._server.api_key}"},
        )
        reply = Reply(answer.status_code, answer.headers, answer.content)
        return understand(call, reply, clock=utc_now, connection="test")
