"""The Microsoft part of a ledger's history: tenants that consented, declined, or still wait."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

from sqlalchemy import insert

from bulkgrants.consent.asking import Asker, ask
from bulkgrants.consent.receiving import receive
from bulkgrants.consent.states import state_key
from bulkgrants.consent.waiting import Terms
from bulkgrants.ledger import onboarding as steps
from bulkgrants.ledger.onboarding import Onboarding, Stop
from bulkgrants.ledger.tables import credentials
from bulkgrants.ledger.tenants import record_tenants
from bulkgrants.propagation.probe import ProbeOutcome, probe
from support.microsoft import APPLICATION, AZURE_APP, make_credential, microsoft_tenant

NAMES = ("contoso", "fabrikam", "northwind", "tailspin")
REDIRECT_URI = "https://airflow.example.com/bulkgrants/consent/callback"
TERMS = Terms(timedelta(days=14), (timedelta(days=3),), timedelta(days=30))
NO = {
    "error": "access_denied",
    "error_description": "AADSTS65004: ada@fabrikam.example.com declined to consent.",
    "error_uri": "https://login.microsoftonline.com/error?code=65004",
}


def onboard(world, sender, early, late) -> None:
    """`contoso` became ready long ago; lately `fabrikam` declined, `northwind` lacks scopes, and
    `tailspin` has not answered."""
    now = world.now
    world.now = early
    join(world)
    (contoso,) = take_up(world, "contoso")
    answer(world, link(world, contoso), {"admin_consent": "true"})
    answer(world, "state-of-a-stranger", {"admin_consent": "true"})
    come_into_force(world, "contoso", "some")
    assert probed(world, sender, "contoso") is ProbeOutcome.PARTIAL
    world.control.set_propagation(stage="all")
    assert probed(world, sender, "contoso") is ProbeOutcome.GRANTED

    world.now = late
    fabrikam, northwind, tailspin = take_up(world, *NAMES[1:])
    answer(world, link(world, fabrikam), NO)
    with world.engine.begin() as connection:
        steps.stop(connection, APPLICATION, "fabrikam", Stop.REFUSED)
    answer(world, link(world, northwind), {"admin_consent": "true"})
    link(world, tailspin)
    come_into_force(world, "northwind", "some")
    assert probed(world, sender, "northwind") is ProbeOutcome.PARTIAL
    world.now = now


def join(world) -> None:
    """List the tenants, and register the credential that they share."""
    world.microsoft_id = make_credential(world)
    for name in NAMES:
        world.tenants[name] = microsoft_tenant(name)
    with world.engine.begin() as connection:
        record_tenants(connection, APPLICATION, world.tenants.values())
        connection.execute(
            insert(credentials).values(
                application=APPLICATION,
                provider="microsoft",
                name="ms",
                credential_type="adminconsent",
                credential_id=world.microsoft_id,
                fingerprint="f" * 64,
                registered_at=world.now,
            )
        )


def take_up(world, *names: str) -> list[Onboarding]:
    with world.engine.begin() as connection:
        return steps.take_up(connection, APPLICATION, "onboard", world.now, names=names)


def link(world, onboarding: Onboarding) -> str:
    """The state of a link for the tenant's admin."""
    key = state_key(world.server.api_key)
    asker = Asker(APPLICATION, world.server.base_url, REDIRECT_URI, key)
    asked = ask(world.engine, asker, onboarding, TERMS, run_key="onboard", now=world.now)
    return parse_qs(urlsplit(asked.link).query)["state"][0]


def answer(world, state: str, fields: dict[str, str]) -> None:
    query, key = urlencode({**fields, "state": state}), state_key(world.server.api_key)
    receive(world.engine, query, application=APPLICATION, key=key, now=world.now)


def come_into_force(world, name: str, stage: str) -> None:
    world.control.give_consent(f"{name}.example.com", AZURE_APP)
    world.control.set_propagation(stage=stage, some=["User.Read.All"])


def probed(world, sender, name: str) -> ProbeOutcome:
    onboarding = steps.read_onboarding(world.engine, APPLICATION, name)
    return probe(world.engine, sender, onboarding, run_key="onboard", clock=world.clock).outcome
