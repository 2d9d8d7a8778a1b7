"""A ledger with a history: nights of every kind, made by the real steps against the stand-in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from bulkgrants.credentials.register import Wanted
from bulkgrants.credentials.register import register as register_credential
from bulkgrants.credentials.secrets import fingerprint, fingerprint_key
from bulkgrants.ledger.changes import intend
from bulkgrants.ledger.rights import claim_batch, writing
from bulkgrants.model import CredentialType, Mode, Provider, RunKind, Selection
from bulkgrants.reconcile.opening import RosterState, open_run
from support.microsoft import onboard
from support.senders import HttpxSender

APPLICATION = "app-1"
OLD = datetime(2025, 12, 1, 2, 0, tzinfo=UTC)
LATELY = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


async def make_history(world, pem: str) -> None:
    """Old nights, one with a killed task; a run that did nothing, drift, tenants in onboarding."""
    known = [f"{name}@acme.example.com" for name in ("ada", "ben", "carl", "former", "eve")]
    world.control.set_directory({"acme.example.com": known})
    sender = HttpxSender(world.server.base_url, world.server.api_key)
    register(world, sender, pem)
    await old_nights(world)
    await late_nights(world)
    turn_away(world)
    onboard(world, sender, OLD, LATELY)
    sender.close()


def people(*names: str) -> list[tuple[str, str, None]]:
    return [("acme", f"{name}@acme.example.com", None) for name in names]


async def old_nights(world) -> None:
    world.now = OLD
    run, plan = await planned(world, [*people("ada", "ben", "carl", "former", "nobody", "no one")])
    lost = claim_batch(world.engine, run, 1, world.now)
    with writing(world.engine, lost, world.now) as write:
        intend(write, [(1, 1)])
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
    run = open_run(
        world.engine,
        application=APPLICATION,
        key=f"backfill/{next(world.numbers)}",
        kind=RunKind.RECONCILE,
        mode=Mode.APPLY,
        selection=Selection(),
        roster=RosterState(
            date(2026, 2, 1), world.now.date(), exact=True, dated=True, newest=date(2026, 3, 9)
        ),
        now=world.now,
    )
    world.close(run)


async def planned(world, roster):
    run = await world.observe(world.read(world.open(), roster))
    return run, world.plan(run)


async def applied(world, run, plan) -> None:
    for batch in plan.batches:
        await world.apply(run, batch)


async def closed(world, run) -> None:
    await world.verify(run)
    world.close(run)


def register(world, sender, pem: str) -> None:
    """Register the credential `sa` with the key that the stand-in already has."""
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
        sender,
        world.engine,
        application=APPLICATION,
        wanted=wanted,
        clock=world.clock,
    )
