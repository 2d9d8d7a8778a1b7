"""Microsoft tenants of a world: ready for reconciling, or with a history of consents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from sqlalchemy import insert, update

from bulkgrants.ledger import consents, onboarding
from bulkgrants.ledger.rights import Writing, answering, release_hold, writing
from bulkgrants.ledger.tables import credentials, tenants
from bulkgrants.ledger.tenants import record_credential, write_settings
from bulkgrants.model import (
    Awaiting,
    ConsentStatus,
    CredentialType,
    Hold,
    Onboarding,
    ProbeOutcome,
    Provider,
    RegisteredCredential,
    Stop,
    Tenant,
)
from bulkgrants.onboarding.callback import receive
from bulkgrants.onboarding.links import Asker, state_key
from bulkgrants.onboarding.links import ask as send_link
from bulkgrants.onboarding.propagation import probe

APPLICATION = "app-1"
AZURE_APP = "azure-app"
NAMES = ("contoso", "fabrikam", "northwind", "tailspin")
REDIRECT_URI = "https://airflow.example.com/bulkgrants/consent/callback"
LINK_LASTS = timedelta(days=14)
NO = {
    "error": "access_denied",
    "error_description": "AADSTS65004: ada@fabrikam.example.com declined to consent.",
    "error_uri": "https://login.microsoftonline.com/error?code=65004",
}


def join(world, *names: str) -> None:
    """Add Microsoft tenants that have consented and are ready; their domains are their names."""
    if not world.microsoft_id:
        world.microsoft_id = make_credential(world)
        made = RegisteredCredential(world.microsoft_id, "", world.now, None)
        record_credential(
            world.engine,
            made,
            application=APPLICATION,
            provider=Provider.MICROSOFT,
            name="ms",
            credential_type=CredentialType.ADMIN_CONSENT,
        )
    for name in names:
        world.tenants[name] = microsoft_tenant(name)
    with world.engine.begin() as connection:
        write_settings(connection, APPLICATION, world.tenants.values())
    for name in names:
        consent(world, name)
        become_ready(world, name)


def microsoft_tenant(name: str) -> Tenant:
    made = Tenant(name, Provider.MICROSOFT, "ms", "azure", "", timedelta(days=7), enabled=True)
    canary = f"canary@{name}.example.com"
    return replace(
        made, microsoft_tenant="common", canary=canary, required="Mail.ReadWrite User.Read.All"
    )


def make_credential(world) -> str:
    headers = {"Authorization": f"Bearer {world.server.api_key}"}
    with httpx.Client(base_url=f"{world.server.base_url}/v3", headers=headers) as api:
        settings = {"client_id": AZURE_APP, "client_secret": "very-secret-too"}
        connector = {"provider": "microsoft", "settings": settings}
        api.post("/connectors", json=connector).raise_for_status()
        body = {"name": "ms", "credential_type": "adminconsent", "credential_data": {}}
        answer = api.post("/connectors/microsoft/creds", json=body).raise_for_status()
        return answer.json()["data"]["id"]


def consent(world, name: str) -> None:
    """The tenant's admin says yes, at Microsoft and in the ledger; it is in force at once."""
    world.control.give_consent(f"{name}.example.com", AZURE_APP)
    with held(world, name) as write:
        consent_id = ask(world, write)
    with answering(world.engine) as connection:
        consents.answer_consent(connection, consent_id, ConsentStatus.GIVEN, world.now)
        onboarding.consented(connection, APPLICATION, name, world.now)


@contextmanager
def held(world, name: str) -> Iterator[Writing[Hold]]:
    """A transaction of an onboarding run that then releases the tenant."""
    hold = Hold(APPLICATION, name, "onboard")
    with writing(world.engine, hold, world.now) as write:
        yield write
    release_hold(world.engine, hold)


def ask(world, write: Writing[Hold]) -> int:
    return consents.request_consent(
        write,
        credential_id=world.microsoft_id,
        microsoft_tenant="common",
        redirect_uri="https://airflow.example.com/bulkgrants/consent/callback",
        state_hash=f"{next(world.numbers):064x}",
        expires_at=world.now + timedelta(days=7),
    )


def withdraw(world, name: str) -> None:
    """The admin withdraws the consent at Microsoft, so the tenant's grants become invalid."""
    world.control.withdraw_consent(f"{name}.example.com", AZURE_APP)


def become_ready(world, name: str) -> None:
    with held(world, name) as write:
        onboarding.ready(write)


def send_back(world, name: str, awaiting: Awaiting) -> None:
    """Let the tenant wait, as if another process had recorded that."""
    with world.engine.begin() as connection:
        connection.execute(
            update(tenants).where(tenants.c.tenant == name).values(awaiting=awaiting)
        )


def standing(world, name: str) -> dict:
    """The tenant's row in the ledger."""
    [row] = [row for row in world.rows("tenants") if row["tenant"] == name]
    return row


def onboard(world, sender, early, late) -> None:
    """`contoso` became ready long ago; lately `fabrikam` declined, `northwind` lacks scopes, and
    `tailspin` has not answered."""
    now = world.now
    world.now = early
    list_tenants(world)
    (contoso,) = take_up(world, "contoso")
    receive_answer(world, link(world, contoso), {"admin_consent": "true"})
    stranger = f"{'A' * 43}.{'A' * 43}"  # in the form of an older link
    receive_answer(world, stranger, {"admin_consent": "true"})
    come_into_force(world, "contoso", "some")
    assert probed(world, sender, "contoso") is ProbeOutcome.PARTIAL
    world.control.set_propagation(stage="all")
    assert probed(world, sender, "contoso") is ProbeOutcome.GRANTED

    world.now = late
    fabrikam, northwind, tailspin = take_up(world, *NAMES[1:])
    receive_answer(world, link(world, fabrikam), NO)
    with writing(world.engine, fabrikam.held_by("onboard"), world.now) as write:
        onboarding.stop(write, Stop.REFUSED)
    receive_answer(world, link(world, northwind), {"admin_consent": "true"})
    link(world, tailspin)
    come_into_force(world, "northwind", "some")
    assert probed(world, sender, "northwind") is ProbeOutcome.PARTIAL
    world.now = now


def list_tenants(world) -> None:
    """List the tenants, and register the credential that they share."""
    world.microsoft_id = make_credential(world)
    for name in NAMES:
        world.tenants[name] = microsoft_tenant(name)
    with world.engine.begin() as connection:
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
    return onboarding.take_up(
        world.engine,
        APPLICATION,
        "onboard",
        world.now,
        listed=world.tenants.values(),
        names=names,
    )


def link(world, taken: Onboarding) -> str:
    """The state of a link for the tenant's admin."""
    key = state_key(world.server.api_key)
    asker = Asker(APPLICATION, world.server.base_url, REDIRECT_URI, key)
    asked = send_link(world.engine, asker, taken, LINK_LASTS, run_key="onboard", now=world.now)
    return parse_qs(urlsplit(asked.link).query)["state"][0]


def receive_answer(world, state: str, fields: dict[str, str]) -> None:
    query, key = urlencode({**fields, "state": state}), state_key(world.server.api_key)
    receive(world.engine, query, application=APPLICATION, key=key, now=world.now)


def come_into_force(world, name: str, stage: str) -> None:
    world.control.give_consent(f"{name}.example.com", AZURE_APP)
    world.control.set_propagation(stage=stage, some=["User.Read.All"])


def probed(world, sender, name: str) -> ProbeOutcome:
    taken = onboarding.read_onboarding(world.engine, APPLICATION, name)
    return probe(world.engine, sender, taken, run_key="onboard", clock=world.clock).outcome
