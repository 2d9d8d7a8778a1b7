"""Nylas answers an alias with the grant of its primary address: two mailboxes, one grant."""

from datetime import timedelta

import pytest

from bulkgrants.model import Selection
from bulkgrants.text import canonical_scopes
from reconcile.conftest import MAIL

ALIAS, PRIMARY, OTHER_ALIAS = (
    f"{name}@acme.example.com" for name in ("sales", "ann", "a.second.alias")
)
CALENDAR = "https://www.googleapis.com/auth/calendar"
WIDER = canonical_scopes(f"{MAIL} {CALENDAR}")


@pytest.fixture
def world(world):
    world.control.set_aliases({ALIAS: PRIMARY, OTHER_ALIAS: PRIMARY})
    return world


async def nights(world, roster, number=2, *, days=1, **selection):
    """Reconcile every so many days; returns the last report."""
    for _ in range(number):
        world.now += timedelta(days=days)
        report = await world.reconcile(roster, selection=Selection(**selection))
    return report


async def rests_with(world, roster, decider: str) -> None:
    """Check that nothing is sent any more, since the row of one of two mailboxes decides."""
    await nights(world, roster)
    before = world.calls()
    report = await nights(world, roster)
    assert report.counts["skip:grant_shared"] == report.counts["unchanged"] == 1
    assert f"it has the grant of {decider}, whose row counts" in report.markdown
    assert world.calls() == before


def rename(world, grant, email: str) -> None:
    """Give the grant another address, as it has once its mailbox was renamed."""
    world.delete(grant["id"])
    kept = {"id": grant["id"], "created_at": grant["created_at"], "scopes": [MAIL]}
    world.control.seed([kept | {"email": email, "credential_id": world.credential_id}])


def owners(world) -> dict[str, str | None]:
    """The ledger's living grants: the mailbox that each is listed under, if it is another one."""
    return {row["email"]: row["alias_of"] for row in world.rows("grants") if not row["gone_at"]}


@pytest.mark.parametrize("mailbox", [None, ALIAS])
async def test_an_alias_has_the_grant_of_its_primary_address(world, mailbox):
    roster = [("acme", ALIAS, None)]
    first = await world.reconcile(roster)
    assert (first.counts["granted"], first.counts["another_address"]) == (1, 1)
    assert "the roster may name an alias of it" in first.markdown
    for _ in range(2):
        report = await nights(world, roster, 1, mailbox=mailbox)
        assert report.counts["unchanged"] == 1
        assert report.counts["foreign"] == 0
        assert "another_address" not in report.counts
    assert world.calls() == {ALIAS: 1}
    [row] = world.rows("grants")
    assert (row["email"], row["address"], row["owned"]) == (ALIAS, PRIMARY, True)


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
async def test_an_alias_is_renewed_by_the_address_that_its_grant_has(world):
    await world.reconcile([("acme", ALIAS, None)])
    [grant] = world.control.grants()
    world.control.change_grant(grant["id"], grant_status="invalid")
    report = await nights(world, [("acme", ALIAS, None)], 1)
    assert report.counts["renewed"] == report.counts["verified"] == 1
    assert "another_address" not in report.counts
    assert world.calls() == {ALIAS: 1, PRIMARY: 1}


async def test_an_alias_and_its_primary_address_may_both_be_in_the_roster(world):
    roster = [("acme", ALIAS, None), ("acme", PRIMARY, None)]
    first = await world.reconcile(roster)
    assert (first.counts["granted"], first.counts["verified"]) == (2, 2)
    for _ in range(2):
        assert (await nights(world, roster, 1)).counts["unchanged"] == 2
    assert world.calls() == {ALIAS: 1, PRIMARY: 1}
    assert len({row["grant_id"] for row in world.rows("grants")}) == 1


@pytest.mark.parametrize("first", [ALIAS, PRIMARY])
async def test_the_row_of_the_primary_address_decides_about_the_one_grant(world, first):
    rows = {ALIAS: ("acme", ALIAS, WIDER), PRIMARY: ("acme", PRIMARY, None)}
    await world.reconcile([rows.pop(first)])
    roster = [("acme", ALIAS, WIDER), ("acme", PRIMARY, None)]
    await rests_with(world, roster, PRIMARY)
    assert {row["scopes"] for row in world.rows("grants")} == {MAIL}
    assert owners(world) == {PRIMARY: None, ALIAS: PRIMARY}


async def test_of_two_aliases_one_decides(world):
    roster = [("acme", ALIAS, WIDER), ("acme", OTHER_ALIAS, None)]
    await rests_with(world, roster, OTHER_ALIAS)


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
async def test_a_broken_grant_of_two_mailboxes_is_renewed_once(world):
    roster = [("acme", ALIAS, None), ("acme", PRIMARY, None)]
    await nights(world, roster)
    [grant] = world.control.grants()
    world.control.change_grant(grant["id"], grant_status="invalid")
    before = sum(world.calls().values())
    assert (await nights(world, roster, 1)).counts["renewed"] == 1
    assert sum(world.calls().values()) == before + 1
    assert (await nights(world, roster, 1)).counts["unchanged"] == 2


@pytest.mark.parametrize("leaver", [ALIAS, PRIMARY])
@pytest.mark.parametrize("only", [False, True])
async def test_a_grant_is_no_orphan_while_another_row_needs_it(world, leaver, only):
    both = [("acme", ALIAS, None), ("acme", PRIMARY, None)]
    await nights(world, both)
    left = [row for row in both if row[1] != leaver]
    for _ in range(2):
        world.now += timedelta(days=8)  # more than the grace
        report = await nights(world, left, 1, mailbox=leaver if only else None)
        assert "revoke" not in report.counts
        assert "skip:in_grace" not in report.counts
    assert not [row for row in world.rows("grants") if row["orphan_since"]]
    if not only:
        assert report.counts["unchanged"] == 1
        assert len(owners(world)) == 1


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
async def test_the_grace_of_a_shared_grant_begins_when_its_last_row_leaves(world):
    both = [("acme", ALIAS, None), ("acme", PRIMARY, None)]
    await nights(world, both)
    await nights(world, both[:1], 2, days=9)
    report = await nights(world, [], 1)
    assert report.counts["skip:in_grace"] == 1
    assert (await nights(world, [], 1, days=8)).counts["held"] == 1


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
async def test_a_mailbox_that_was_renamed_at_nylas_keeps_its_grant(world):
    """Its old address is an alias now; the roster may have the one or the other."""
    await world.reconcile([("acme", PRIMARY, None)])
    [grant] = world.control.grants()
    renamed = "ann.married@acme.example.com"
    rename(world, grant, renamed)
    assert (await nights(world, [("acme", PRIMARY, None)])).counts["unchanged"] == 1
    assert owners(world) == {PRIMARY: renamed}
    assert (await nights(world, [("acme", renamed, None)])).counts["unchanged"] == 1
    assert owners(world) == {renamed: None}
    assert world.calls() == {PRIMARY: 1}


async def test_many_renamed_mailboxes_are_no_cut_listing(world):
    roster = [("acme", f"old-{n}@acme.example.com", None) for n in range(30)]
    await world.reconcile(roster)
    for one in world.control.grants():
        rename(world, one, one["email"].replace("old", "new"))
    world.control.clear_stats()
    assert (await nights(world, roster)).counts["unchanged"] == 30
    renamed = [("acme", f"new-{n}@acme.example.com", None) for n in range(30)]
    assert (await nights(world, renamed)).counts["unchanged"] == 30
    assert "GET /v3/grants/{grant_id}" not in world.control.requests_by_route()
