"""Grants whose credential was made anew, or about whose credential Nylas contradicts itself."""

from datetime import timedelta

import pytest

from bulkgrants.ledger.tenants import record_credential
from bulkgrants.model import CredentialType, Provider, RegisteredCredential
from nylas_standin.keys import google_key_file
from reconcile.conftest import APPLICATION, api_of
from support.batches import people


def registered(world, name: str = "sa") -> None:
    """Record the credential as `register_credentials` does."""
    record_credential(
        world.engine,
        RegisteredCredential(world.credential_id, "f", world.now, None),
        application=APPLICATION,
        provider=Provider.GOOGLE,
        name=name,
        credential_type=CredentialType.SERVICE_ACCOUNT,
    )


def make_anew(world, name: str = "sa", *, delete: bool = True) -> None:
    """Delete the credential at Nylas, and register it again with another key."""
    with api_of(world.server) as api:
        if delete:
            path = f"/connectors/google/creds/{world.credential_id}"
            api.delete(path).raise_for_status()
        body = {
            "name": name,
            "credential_type": "serviceaccount",
            "credential_data": google_key_file("another@p.iam.gserviceaccount.com"),
        }
        answer = api.post("/connectors/google/creds", json=body).raise_for_status()
    world.credential_id = answer.json()["data"]["id"]
    registered(world, name)


async def test_grants_of_a_deleted_credential_come_back_once_it_is_there_again(world):
    registered(world)
    await world.reconcile(people(4))
    ids = {one["id"] for one in world.grants().values()}
    make_anew(world)
    world.now += timedelta(days=1)
    report = await world.reconcile(people(4))
    assert report.counts["renewed"] == report.counts["verified"] == 4
    there = world.grants().values()
    assert {one["id"] for one in there} == ids
    assert {(one["grant_status"], one["credential_id"]) for one in there} == {
        ("valid", world.credential_id)
    }
    world.now += timedelta(days=1)
    assert (await world.reconcile(people(4))).counts["unchanged"] == 4


async def test_grants_that_still_work_are_not_moved_to_another_credential(world):
    registered(world)
    await world.reconcile(people(4))
    make_anew(world, "sb", delete=False)
    registered(world)
    report = await world.reconcile(people(4))
    assert report.counts["skip:credential_differs"] == 4


async def test_a_credential_of_another_name_is_not_a_way_back(world):
    registered(world)
    await world.reconcile(people(4))
    make_anew(world, "sb")
    report = await world.reconcile(people(4))
    assert report.counts["skip:credential_differs"] == 4


@pytest.mark.parametrize("ours", ["at the top", "in the settings"])
async def test_two_credentials_in_a_grant_are_said_once_and_are_not_drift(world, ours):
    await world.reconcile(people(4))
    there = [
        {name: one[name] for name in ("id", "email", "created_at", "updated_at")}
        | {"credential_id": world.credential_id, "scopes": one["settings"]["scopes"]}
        for one in world.control.grants()
    ]
    settings = world.control.grants()[0]["settings"]
    other = {"credential_id": "another"}
    shown = other if ours == "in the settings" else {"settings": settings | other}
    world.control.seed([one | {"shown": shown} for one in there])
    world.control.change_grant(there[0]["id"], grant_status="invalid")
    report = await world.reconcile(people(4))
    assert report.counts["unchanged"] == 3
    assert report.counts["renewed"] == report.counts["verified"] == 1
    assert "4 grants name one credential at the top level and another" in report.markdown
