"""Changes that were applied are read back, at a cost that depends only on their number."""

import asyncio
import copy

import pytest

from bulkgrants.errors import Superseded, Unavailable
from bulkgrants.ledger.rights import LEASE_TERM
from bulkgrants.ledger.runs import read_run
from bulkgrants.model import Selection
from bulkgrants.reconcile.apply import apply_batch
from bulkgrants.reconcile.report import close_run
from bulkgrants.reconcile.verify import verify
from support.batches import fake_plan, people, planned
from support.fakes import FakeNylas
from support.ledgers import NOW, lease_run, rows


async def at_once(seconds) -> None:
    """For a pause."""


async def test_a_grant_that_another_client_changed_or_deleted_is_drift(world):
    run, made = await planned(world, people(8))
    await world.apply(run, *made.batches)
    there = world.grants()
    ids = [there[email]["id"] for _, email, _ in people(8)]
    world.delete(ids[0])
    world.control.change_grant(ids[1], grant_status="invalid")
    world.change(ids[2], {"credential_id": world.credential_id, "scopes": ["https://other"]})
    world.change(ids[3], there[people(4)[3][1]]["settings"] | {"credential_id": "another"})
    assert await world.verify(run) == {"verified": 4, "drift": 4}
    drifted = {row["email"] for row in world.rows("changes") if row["verified"] == "drift"}
    assert drifted == {email for _, email, _ in people(4)}
    report = world.close(run)
    assert (report.counts["verified"], report.counts["drift"]) == (4, 4)
    assert "Drift: applied, but not found so afterwards" in report.markdown


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
async def test_a_listing_that_lags_is_not_drift(world):
    run, made = await planned(world, people(30))
    world.control.set_switches(listing_lag_seconds=80)
    await world.apply(run, *made.batches)
    assert await world.verify(run) == {"verified": 30}
    assert world.pauses == []


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
async def test_a_run_for_one_mailbox_is_not_drift_either_while_listings_lag(world):
    world.control.set_switches(listing_lag_seconds=80)
    [(_, mailbox, _), *_] = roster = people(5)
    report = await world.reconcile(roster, selection=Selection(mailbox=mailbox))
    assert (report.counts["granted"], report.counts["verified"]) == (1, 1)


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
async def test_more_changes_than_are_asked_for_one_by_one_wait_for_the_listing(world, monkeypatch):
    monkeypatch.setattr("bulkgrants.reconcile.verify.ASK_AT_MOST", 10)
    run, made = await planned(world, people(60))
    world.control.set_switches(listing_lag_seconds=25)
    await world.apply(run, *made.batches)
    world.control.clear_stats()
    assert await world.verify(run) == {"verified": 60}
    assert world.pauses == [30.0]
    assert world.control.requests_by_route()["GET /v3/grants/{grant_id}"] <= 20


async def test_what_is_never_asked_for_is_not_called_drift(make_ledger, monkeypatch):
    monkeypatch.setattr("bulkgrants.reconcile.verify.ASK_AT_MOST", 10)
    engine, run, made = fake_plan(make_ledger, people(60))
    nylas = FakeNylas()
    await apply_batch(engine, nylas, run, *made.batches, clock=lambda: NOW)
    nylas.hidden.update(nylas.grants)
    for email in list(nylas.grants)[:12]:
        del nylas.grants[email]
    found = await verify(engine, nylas, run, clock=lambda: NOW, pause=at_once)
    assert found["drift"] == 12, "each was asked for"
    assert found["unchecked"] == 60 - 12 - found["verified"] > 0
    assert found["verified"] >= 18, "drift takes nobody's place"
    report = close_run(engine, read_run(engine, run.run_id), NOW)
    assert report.counts["unchecked"] == found["unchecked"]
    assert "Applied, but not read back" in report.markdown


@pytest.mark.parametrize("shown", [0, 3])
async def test_a_page_that_is_short_by_mistake_is_not_the_end(make_ledger, shown):
    engine, run, made = fake_plan(make_ledger, people(40))
    nylas = FakeNylas(limit_max=10)
    await apply_batch(engine, nylas, run, *made.batches, clock=lambda: NOW)
    mistakes = {10: shown}
    nylas.cut = lambda offset: mistakes.pop(offset, None)
    nylas.calls.clear()
    assert await verify(engine, nylas, run, clock=lambda: NOW, pause=at_once) == {"verified": 40}
    assert not [label for label in nylas.calls if label.startswith("GET /v3/grants/")]


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
async def test_a_grant_that_one_answer_showed_otherwise_is_asked_for_again(world):
    run, made = await planned(world, people(3))
    await world.apply(run, *made.batches)
    [late, *_] = world.grants().values()
    world.control.change_grant(late["id"], grant_status="invalid")

    async def mended(seconds) -> None:
        await asyncio.to_thread(world.control.change_grant, late["id"], grant_status="valid")

    async with world.sender() as sender:
        found = await verify(world.engine, sender, run, clock=world.clock, pause=mended)
    assert found == {"verified": 3}


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
async def test_drift_is_called_so_after_more_than_a_minute(world):
    run, made = await planned(world, people(3))
    await world.apply(run, *made.batches)
    world.delete(next(iter(world.grants().values()))["id"])
    assert await world.verify(run) == {"verified": 2, "drift": 1}
    assert sum(world.pauses) > 70
    assert await world.verify(run) == {"verified": 2, "drift": 1}


async def test_a_grant_deleted_between_two_pages_makes_no_other_look_like_drift(make_ledger):
    engine, run, made = fake_plan(make_ledger, people(30))
    nylas = FakeNylas(limit_max=10)
    await apply_batch(engine, nylas, run, *made.batches, clock=lambda: NOW)
    nylas.has("new@example.com")
    newest = max(nylas.grants, key=lambda email: nylas.grants[email]["updated_at"])

    def delete(call) -> None:
        if call.query.get("offset") == "10":
            nylas.grants.pop(newest, None)

    nylas.before = delete
    assert await verify(engine, nylas, run, clock=lambda: NOW, pause=at_once) == {"verified": 30}


async def test_times_that_nylas_leaves_out_cost_no_verification(make_ledger):
    engine, run, made = fake_plan(make_ledger, people(30))
    nylas = FakeNylas(limit_max=10)
    await apply_batch(engine, nylas, run, *made.batches, clock=lambda: NOW)
    untimed = copy.deepcopy(nylas.grants)
    for grant in untimed.values():
        grant["shown"] = {"updated_at": None, "created_at": None}
    nylas.grants = untimed
    assert await verify(engine, nylas, run, clock=lambda: NOW, pause=at_once) == {"verified": 30}


async def test_the_cost_depends_on_the_changes_and_not_on_the_number_of_grants(world):
    world.control.seed(3000, domain="foreign.example.com", created_at=1_600_000_000)
    run, made = await planned(world, people(250))
    await world.apply(run, *made.batches)
    world.control.clear_stats()
    assert await world.verify(run) == {"verified": 250}
    assert world.control.requests_by_route()["GET /v3/grants"] == 2


async def test_a_run_that_made_nothing_reads_nothing(world):
    run, _ = await planned(world, [])
    world.control.clear_stats()
    assert await world.verify(run) == {}
    assert world.control.stats()["requests"] == 0


@pytest.mark.parametrize("limit_max", [200, 7, 1])
async def test_pages_may_be_of_any_size(make_ledger, limit_max):
    engine, run, made = fake_plan(make_ledger, people(30))
    nylas = FakeNylas(limit_max=limit_max)
    for number in range(20):
        nylas.has(f"foreign{number}@example.com")
    await apply_batch(engine, nylas, run, *made.batches, clock=lambda: NOW)
    assert await verify(engine, nylas, run, clock=lambda: NOW, pause=at_once) == {"verified": 30}


async def test_a_page_that_repeats_is_an_error_and_not_an_endless_loop(make_ledger):
    engine, run, made = fake_plan(make_ledger, people(30))
    nylas = FakeNylas(limit_max=10)
    await apply_batch(engine, nylas, run, *made.batches, clock=lambda: NOW)

    def deaf(call) -> None:
        assert nylas.calls["GET /v3/grants"] < 50, "it goes on forever"
        call.query["offset"] = "0"

    nylas.before = deaf
    with pytest.raises(Unavailable, match="same page"):
        await verify(engine, nylas, run, clock=lambda: NOW, pause=at_once)


async def test_a_run_that_lost_its_lease_records_no_verdict(make_ledger):
    engine, run, made = fake_plan(make_ledger, people(3))
    nylas = FakeNylas()
    await apply_batch(engine, nylas, run, *made.batches, clock=lambda: NOW)
    lease_run(engine, "heir", NOW + LEASE_TERM)
    with pytest.raises(Superseded):
        await verify(engine, nylas, run, clock=lambda: NOW, pause=at_once)
    assert {row["verified"] for row in rows(engine, "changes")} == {None}
