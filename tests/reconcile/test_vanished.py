"""A grant that a listing lacks is gone only if it really is."""

import pytest

from bulkgrants.errors import RequestRefused, Unavailable
from bulkgrants.ledger.rights import LEASE_TERM
from bulkgrants.model import Selection
from bulkgrants.reconcile.observe import observe
from reconcile.conftest import MAIL
from support.batches import people
from support.fakes import FakeNylas
from support.ledgers import NOW, entry, grant, granted, opened, put

BY_ID = "GET /v3/grants/{grant_id}"
LATER = 2 * LEASE_TERM


def gone(world) -> set[str]:
    return {row["email"] for row in world.rows("grants") if row["gone_at"] is not None}


async def test_a_grant_that_a_listing_missed_is_neither_made_again_nor_gone(world):
    await world.reconcile(people(5))
    hide(world)
    report = await world.reconcile(people(5))
    assert report.counts["unchanged"] == 5
    assert gone(world) == set()
    assert set(world.calls().values()) == {1}


def hide(world) -> None:
    """From now on listings show none of the grants, although all exist."""
    there = world.control.grants()
    for one in there:
        world.delete(one["id"])
    world.control.set_switches(listing_lag_seconds=3600)
    again = ("id", "email", "created_at", "updated_at")
    known = {"credential_id": world.credential_id, "scopes": [MAIL]}
    world.control.seed([{name: one[name] for name in again} | known for one in there])


async def test_a_grant_that_was_deleted_is_made_again(world):
    await world.reconcile(people(5))
    [lost, *_] = world.grants().values()
    world.delete(lost["id"])
    world.control.clear_stats()
    report = await world.reconcile(people(5))
    assert (report.counts["granted"], report.counts["unchanged"]) == (1, 4)
    assert world.control.requests_by_route()[BY_ID] == 1


async def test_what_it_is_like_now_counts_if_it_was_only_missed(world):
    await world.reconcile(people(5))
    hide(world)
    [broken, *_] = world.grants().values()
    world.control.change_grant(broken["id"], grant_status="invalid")
    report = await world.reconcile(people(5))
    assert (report.counts["renewed"], report.counts["unchanged"]) == (1, 4)


async def test_a_foreign_grant_that_a_listing_missed_is_not_taken_over(world):
    [(_, mailbox, _)] = people(1)
    world.control.seed([{"email": mailbox, "credential_id": "theirs", "id": "g-1"}])
    first = await world.reconcile(people(1))
    world.delete("g-1")
    world.control.set_switches(listing_lag_seconds=3600)
    world.control.seed([{"email": mailbox, "credential_id": "theirs", "id": "g-1"}])
    second = await world.reconcile(people(1))
    assert first.counts["skip:credential_differs"] == 1
    assert second.counts["skip:credential_differs"] == 1
    assert world.calls() == {}


async def test_a_run_for_one_mailbox_asks_too(world):
    [(_, mailbox, _), *_] = roster = people(3)
    await world.reconcile(roster)
    hide(world)
    report = await world.reconcile(roster, selection=Selection(mailbox=mailbox))
    assert report.counts["unchanged"] == 1
    assert gone(world) == set()


async def test_foreign_grants_that_nobody_wants_are_gone_without_a_question(world):
    world.control.seed(8, domain="foreign.example.com")
    await world.reconcile([])
    for one in world.control.grants():
        world.delete(one["id"])
    world.control.clear_stats()
    await world.reconcile([])
    assert len(gone(world)) == 8
    assert BY_ID not in world.control.requests_by_route()


async def test_a_listing_that_shrank_suddenly_changes_nothing_until_a_person_says_so(world):
    await world.reconcile(people(40))
    there = list(world.grants().values())
    for one in there[:11]:
        world.delete(one["id"])
    with pytest.raises(Unavailable, match="lacks 11 of the 40 grants") as raised:
        await world.reconcile(people(40))
    assert "`vanished_grants` at 11 or more" in str(raised.value)
    assert gone(world) == set()
    assert set(world.calls().values()) == {1}
    # the run that failed is closed by its teardown, and a person triggers another
    world.now += LATER
    run = await world.observe(world.read(world.open(), people(40)), may_vanish=11)
    assert len(gone(world)) == 11
    assert world.plan(run).counts["create"] == 11


async def test_as_many_as_usual_may_be_gone(world):
    world.control.seed(200, domain="foreign.example.com")
    await world.reconcile([])
    for one in world.control.grants()[:20]:
        world.delete(one["id"])
    await world.reconcile([])
    assert len(gone(world)) == 20


async def test_a_few_grants_may_all_be_gone(world):
    await world.reconcile(people(10))
    for one in world.control.grants():
        world.delete(one["id"])
    report = await world.reconcile(people(10))
    assert report.counts["granted"] == 10


async def test_more_than_can_be_asked_for_are_an_error_and_not_gone(ledger, monkeypatch):
    monkeypatch.setattr("bulkgrants.reconcile.observe.ASK_AT_MOST", 3)
    run, nylas = opened(ledger), FakeNylas()
    emails = [f"user{number}@example.com" for number in range(4)]
    put(ledger, "grants", *(grant(email) for email in emails))
    put(ledger, "entries", *(entry("acme", email) for email in emails))
    with pytest.raises(Unavailable, match="lacks 4 of the grants that we own or want"):
        await observe(ledger, nylas, run, clock=lambda: NOW)
    assert {row["gone_at"] for row in granted(ledger).values()} == {None}
    await observe(ledger, nylas, run, clock=lambda: NOW, may_vanish=4)
    assert {row["gone_at"] for row in granted(ledger).values()} == {NOW}


@pytest.mark.parametrize("status", [400, 403])
async def test_a_grant_about_which_nothing_is_said_is_left_as_it_was(ledger, status):
    run, nylas = opened(ledger), FakeNylas()
    put(ledger, "grants", grant("a@example.com", owned=True))

    def refuse(call) -> None:
        if call.path.startswith("/v3/grants/"):
            raise RequestRefused("no", status=status)

    nylas.before = refuse
    await observe(ledger, nylas, run, clock=lambda: NOW)
    [row] = granted(ledger).values()
    assert (row["gone_at"], row["owned"]) == (None, True)
