"""Permissions that an admin adds later reach the grants that exist already."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bulkgrants.model import Provider
from bulkgrants.nylas.calls import authenticate
from bulkgrants.nylas.sending import send_patiently
from support.batches import people
from support.microsoft import AZURE_APP, consent, join

CANARY = "canary@contoso.example.com"
FEW, MORE = ["User.Read.All", "Mail.ReadWrite"], ["User.Read.All", "Mail.ReadWrite", "Mail.Send"]


async def night(world, roster):
    world.now += timedelta(days=1)
    return (await world.reconcile(roster)).counts


async def allow(world, permissions: list[str]) -> None:
    """The admin consents to these permissions, and the canary is probed."""
    world.control.set_microsoft_apps({AZURE_APP: {"scopes": permissions}})
    consent(world, "contoso")
    world.control.advance_clock(10)
    call = authenticate(Provider.MICROSOFT, CANARY, world.microsoft_id, "")
    async with world.sender() as sender:
        await send_patiently(sender, call)


@pytest.fixture
def contoso(world):
    world.control.freeze_clock(1_700_000_000)
    world.control.set_microsoft_apps({AZURE_APP: {"scopes": FEW}})
    join(world, "contoso", "fabrikam")
    yield world
    world.control.reset()


async def test_grants_get_the_permissions_that_the_canary_has_got_since(contoso):
    canary = ("contoso", CANARY, None)
    roster = [canary, *people(4, "contoso"), *people(2, "fabrikam"), *people(2)]
    await night(contoso, roster)
    ids = {email: grant["id"] for email, grant in contoso.grants().items()}
    assert (await night(contoso, roster))["unchanged"] == 9
    await allow(contoso, MORE)
    counts = await night(contoso, roster)
    assert (counts["rescoped"], counts["unchanged"]) == (4, 5)
    changed = {email for email, grant in contoso.grants().items() if "Mail.Send" in grant["scope"]}
    assert changed == {CANARY, *(email for _, email, _ in people(4, "contoso"))}
    assert (await night(contoso, roster))["unchanged"] == 9
    assert {email: grant["id"] for email, grant in contoso.grants().items()} == ids


async def test_an_older_canary_changes_no_newer_grant(contoso):
    """Permissions came after its last probe: new grants have them, and stay as they are."""
    canary = ("contoso", CANARY, None)
    await night(contoso, [canary])
    contoso.control.set_microsoft_apps({AZURE_APP: {"scopes": MORE}})
    consent(contoso, "contoso")
    contoso.control.advance_clock(10)
    roster = [canary, *people(3, "contoso")]
    assert (await night(contoso, roster))["granted"] == 3
    assert (await night(contoso, roster))["unchanged"] == 4
