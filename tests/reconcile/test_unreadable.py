"""An item of a listing that cannot be read costs its own mailbox, and nothing else."""

import pytest

from bulkgrants.model import Selection
from reconcile.conftest import MAIL
from support.batches import people

ODD = {
    "no status": {"grant_status": None},
    "an unknown status": {"grant_status": "pending"},
    "no id": {"id": None},
    "a long id": {"id": "x" * 300},
    "NUL in its id": {"id": "g\x00"},
    "no provider": {"provider": None},
    "a long provider": {"provider": "p" * 300},
    "NUL in its provider": {"provider": "google\x00"},
}
READABLE = {
    "no time": {"created_at": None, "updated_at": None},
    "an unreadable time": {"created_at": "2026-01-01T00:00:00Z", "updated_at": 10**30},
    "a provider we do not know": {"provider": "fastmail"},
    "a long credential": {"credential_id": "c" * 300, "settings": {}},
    "NUL in its address": {"email": "odd\x00@acme.example.com"},
    "an address that is too long": {"email": "x" * 5000 + "@acme.example.com"},
    "no address": {"email": None},
}


@pytest.mark.parametrize("shown", (ODD | READABLE).values(), ids=(ODD | READABLE).keys())
async def test_an_odd_grant_does_not_stop_the_others(world, shown):
    world.control.seed([{"email": "odd@elsewhere.example.com", "shown": shown}])
    report = await world.reconcile(people(3))
    assert report.complete
    assert report.counts["granted"] == report.counts["verified"] == 3


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@pytest.mark.parametrize("shown", ODD.values(), ids=ODD.keys())
async def test_a_mailbox_whose_grant_cannot_be_read_is_not_taken_over(world, shown):
    [(_, wanted, _), *others] = people(3)
    world.control.seed([{"email": wanted.title(), "credential_id": "theirs", "shown": shown}])
    report = await world.reconcile(people(3))
    assert wanted not in world.calls()
    assert report.counts["granted"] == len(others)
    assert report.counts["unreadable"] == report.counts["skip:grant_unreadable"] == 1
    assert "Items of the listing that could not be read" in report.markdown
    [item] = world.rows("unreadable_grants")
    assert item["email"] == wanted
    assert item["fault"].startswith(f"`{next(iter(shown))}`")


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@pytest.mark.parametrize("shown", ODD.values(), ids=ODD.keys())
async def test_a_grant_that_we_own_is_not_gone_while_it_cannot_be_read(world, shown):
    await world.reconcile(people(2))
    [ours, other] = world.rows("grants")
    world.control.seed(
        [{"email": ours["email"], "id": ours["grant_id"], "shown": shown, "scopes": [MAIL]}]
    )
    report = await world.reconcile(people(2))
    assert report.counts["unreadable"] == 1
    assert world.calls() == {ours["email"]: 1, other["email"]: 1}
    assert {row["gone_at"] for row in world.rows("grants")} == {None}
    assert {row["owned"] for row in world.rows("grants")} == {True}


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
async def test_once_it_can_be_read_again_nothing_is_left_of_it(world):
    [(_, wanted, _)] = people(1)
    world.control.seed([{"email": wanted, "shown": {"grant_status": "unknown"}}])
    await world.reconcile(people(1), selection=Selection(mailbox=wanted))
    world.control.seed([{"email": wanted, "credential_id": world.credential_id, "scopes": [MAIL]}])
    report = await world.reconcile(people(1))
    assert "unreadable" not in report.counts
    assert report.counts["unchanged"] == 1
    assert world.rows("unreadable_grants") == []


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
async def test_what_cannot_be_read_is_not_adopted_as_it_was_known(world):
    """The ledger knows it as the roster now asks, but nothing says that it still is so."""
    [(_, wanted, _)] = people(1)
    exact = {"email": wanted, "credential_id": world.credential_id, "scopes": [MAIL], "id": "g"}
    world.control.seed([exact])
    await world.reconcile([])
    world.control.seed([exact | {"shown": {"grant_status": None}}])
    await world.reconcile(people(1))
    [row] = world.rows("grants")
    assert (row["owned"], row["gone_at"]) == (False, None)
