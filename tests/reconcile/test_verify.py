"""Changes that were applied are read back, at a cost that depends only on their number."""

import pytest

from bulkgrants.errors import Superseded, Unavailable
from bulkgrants.ledger.rights import LEASE_TERM
from bulkgrants.reconcile.apply import apply_batch
from bulkgrants.reconcile.verify import verify
from support.batches import fake_plan, people, planned
from support.fakes import FakeNylas
from support.ledgers import NOW, lease_run, rows


async def verified(world, run) -> dict[str, int]:
    async with world.sender() as sender:
        return dict(await verify(world.engine, sender, run, clock=world.clock))


async def test_a_grant_that_another_client_changed_or_deleted_is_drift(world):
    run, made = await planned(world, people(8))
    await world.apply(run, *made.batches)
    there = world.grants()
    ids = [there[email]["id"] for _, email, _ in people(8)]
    world.delete(ids[0])
    world.control.change_grant(ids[1], grant_status="invalid")
    world.change(ids[2], {"credential_id": world.credential_id, "scopes": ["https://other"]})
    world.change(ids[3], there[people(4)[3][1]]["settings"] | {"credential_id": "another"})
    assert await verified(world, run) == {"verified": 4, "drift": 4}
    drifted = {row["email"] for row in world.rows("changes") if row["verified"] == "drift"}
    assert drifted == {email for _, email, _ in people(4)}
    report = world.close(run)
    assert (report.counts["verified"], report.counts["drift"]) == (4, 4)
    assert "Drift: applied, but not found so afterwards" in report.markdown


async def test_the_cost_depends_on_the_changes_and_not_on_the_number_of_grants(world):
    world.control.seed(3000, domain="foreign.example.com", created_at=1_600_000_000)
    run, made = await planned(world, people(250))
    await world.apply(run, *made.batches)
    world.control.clear_stats()
    assert await verified(world, run) == {"verified": 250}
    assert world.control.requests_by_route()["GET /v3/grants"] == 2


async def test_a_run_that_made_nothing_reads_nothing(world):
    run, _ = await planned(world, [])
    world.control.clear_stats()
    assert await verified(world, run) == {}
    assert world.control.stats()["requests"] == 0


@pytest.mark.parametrize("limit_max", [200, 7, 1])
async def test_pages_may_be_of_any_size(make_ledger, limit_max):
    engine, run, made = fake_plan(make_ledger, people(30))
    nylas = FakeNylas(limit_max=limit_max)
    for number in range(20):
        nylas.has(f"foreign{number}@example.com")
    await apply_batch(engine, nylas, run, *made.batches, clock=lambda: NOW)
    assert await verify(engine, nylas, run, clock=lambda: NOW) == {"verified": 30}


async def test_a_page_that_repeats_is_an_error_and_not_an_endless_loop(make_ledger):
    engine, run, made = fake_plan(make_ledger, people(30))
    nylas = FakeNylas(limit_max=10)
    await apply_batch(engine, nylas, run, *made.batches, clock=lambda: NOW)

    def deaf(call) -> None:
        assert nylas.calls["GET /v3/grants"] < 50, "it goes on forever"
        call.query["offset"] = "0"

    nylas.before = deaf
    with pytest.raises(Unavailable, match="same page"):
        await verify(engine, nylas, run, clock=lambda: NOW)


async def test_a_run_that_lost_its_lease_records_no_verdict(make_ledger):
    engine, run, made = fake_plan(make_ledger, people(3))
    nylas = FakeNylas()
    await apply_batch(engine, nylas, run, *made.batches, clock=lambda: NOW)
    lease_run(engine, "heir", NOW + LEASE_TERM)
    with pytest.raises(Superseded):
        await verify(engine, nylas, run, clock=lambda: NOW)
    assert {row["verified"] for row in rows(engine, "changes")} == {None}
