"""Microsoft tenants for reconciling: an Azure app, their consents, and how they become ready."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import httpx
from sqlalchemy import update

from bulkgrants.ledger import consents, onboarding
from bulkgrants.ledger.consents import ConsentStatus
from bulkgrants.ledger.tables import tenants
from bulkgrants.ledger.tenants import record_tenants
from bulkgrants.model import Awaiting, Provider, Tenant

APPLICATION = "app-1"
AZURE_APP = "azure-app"


def join(world, *names: str) -> None:
    """Add Microsoft tenants that have consented and are ready; their domains are their names."""
    if not world.microsoft_id:
        world.microsoft_id = make_credential(world)
    for name in names:
        world.tenants[name] = microsoft_tenant(name)
    with world.engine.begin() as connection:
        record_tenants(connection, APPLICATION, world.tenants.values())
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
    with world.engine.begin() as connection:
        consent_id = ask(world, connection, name)
        consents.answer(connection, consent_id, ConsentStatus.GIVEN, world.now)
        onboarding.consented(connection, APPLICATION, name, world.now)


def ask(world, connection, name: str) -> int:
    return consents.request(
        connection,
        application=APPLICATION,
        tenant=name,
        credential_id=world.microsoft_id,
        microsoft_tenant="common",
        redirect_uri="https://airflow.example.com/bulkgrants/consent/callback",
        state_hash=f"{next(world.numbers):064x}",
        requested_at=world.now,
        expires_at=world.now + timedelta(days=7),
    )


def withdraw(world, name: str) -> None:
    """The admin takes the consent back at Microsoft; the tenant's grants break."""
    world.control.withdraw_consent(f"{name}.example.com", AZURE_APP)


def become_ready(world, name: str) -> None:
    with world.engine.begin() as connection:
        onboarding.ready(connection, APPLICATION, name, world.now)


def send_back(world, name: str, awaiting: Awaiting) -> None:
    """Let the tenant wait, as if another process had seen to it."""
    with world.engine.begin() as connection:
        connection.execute(
            update(tenants).where(tenants.c.tenant == name).values(awaiting=awaiting)
        )


def standing(world, name: str) -> dict:
    """The tenant's row in the ledger."""
    [row] = [row for row in world.rows("tenants") if row["tenant"] == name]
    return row
