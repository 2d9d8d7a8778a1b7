"""Whatever happens to the calls, each mailbox ends with one grant and each call has a record."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bulkgrants.errors import ApiKeyRefused, LeaseHeld, Refused, Superseded, Unavailable
from bulkgrants.ledger.budgets import Budget
from bulkgrants.ledger.rights import claim_batch
from bulkgrants.nylas.sending import Pacer
from bulkgrants.reconcile.apply import apply_batch
from bulkgrants.refusals import UNKNOWN_REFUSAL, Concerns, Refusal
from support.batches import (
    MAKING,
    Watching,
    done,
    fake_plan,
    fault,
    people,
    planned,
    require_settled,
    throttled,
)
from support.fakes import FakeNylas
from support.ledgers import APPLICATION, lease_run, let_lapse, rows

on_sqlite = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
"""Runs a test once, as what it shows does not depend on the database."""


@on_sqlite
@pytest.mark.parametrize(
    ("kind", "more", "status"),
    [
        ("latency", {"seconds": 0.2, "jitter": 0.1}, 201),
        ("nylas_429", {"retry_after": 0}, 429),
        ("nylas_429", {}, 429),
        ("provider_429", {"retry_after": 0}, 429),
        ("provider_429", {"retry_after": 1, "retry_after_form": "date"}, 429),
        ("provider_429", {}, 429),
        ("server_error", {}, 500),
        ("server_error", {"status": 503, "after_commit": True}, 503),
        ("empty_502", {}, 502),
        ("empty_502", {"after_commit": True}, 502),
        ("reset_before_commit", {}, 0),
        ("reset_after_commit", {}, 0),
        ("malformed_json", {}, 200),
        ("malformed_json", {"after_commit": True}, 200),
        ("cut_body", {}, 0),
        ("mailbox_error", {"error": "internal_failure"}, 504),
    ],
)
async def test_after_every_passing_fault_each_mailbox_has_one_grant(world, kind, more, status):
    fault(world, kind, times=5, every=2, **more)
    run, made = await planned(world, people(12))
    applied = await world.apply(run, *made.batches)
    assert applied.outcomes == {"granted": 12}
    require_settled(world, 12)
    statuses = [row["http_status"] for row in world.rows("attempts")]
    assert statuses.count(status) == (12 if status == 201 else 5)
    world.close(run)
    assert (await world.reconcile(people(12))).counts["unchanged"] == 12


@on_sqlite
@pytest.mark.parametrize(("form", "at_least"), [("seconds", 3.0), ("date", 2.0)])
async def test_a_throttled_tenant_waits_while_the_others_are_served(world, form, at_least):
    match = {**MAKING, "email": "*@acme.*"}
    more = {"match": match, "times": 3, "retry_after": 3, "retry_after_form": form}
    fault(world, "provider_429", **more)
    run, made = await planned(world, people(100) + people(40, "umbrella"))
    async with world.sender() as sender:
        watching = Watching(sender)
        await apply_batch(world.engine, watching, run, *made.batches, clock=world.clock)
    require_settled(world, 140)
    refused_at = max(moment for _, moment, error in watching.answered if error)
    later = [(email, at) for email, at in watching.left if at > refused_at + 0.2]
    resumed_at = min(at for email, at in later if "@acme" in email)
    assert resumed_at - refused_at >= at_least - 0.1
    assert max(at for email, at, _ in watching.answered if "@umbrella" in email) < resumed_at


@on_sqlite
async def test_the_longest_wait_that_was_asked_for_a_tenant_counts(world):
    match = {**MAKING, "email": "user0000@*"}
    fault(world, "provider_429", match=match, times=1, retry_after=2)
    match = {**MAKING, "email": "user0001@*"}
    fault(world, "latency", match=match, times=1, seconds=0.3)
    fault(world, "provider_429", match=match, times=1, retry_after=0)
    run, made = await planned(world, people(2))
    async with world.sender() as sender:
        watching = Watching(sender)
        await apply_batch(world.engine, watching, run, *made.batches, clock=world.clock)
    (first_refusal, *_) = [at for _, at, error in watching.answered if error]
    assert min(at for _, at in watching.left[2:]) - first_refusal >= 1.9


async def test_a_refused_key_stops_the_batch_soon_and_what_is_done_stays_done(world):
    fault(world, "unauthorized", after=100)
    fault(world, "unauthorized", match={"path": "/v3/connectors"})
    run, made = await planned(world, people(400))
    with pytest.raises(ApiKeyRefused):
        await world.apply(run, *made.batches)
    calls = sum(world.calls().values())
    assert 100 < calls <= 100 + 64
    before = world.grants()
    assert 100 - 64 <= done(world.engine) <= len(before) == 100
    stopped = [row for row in world.rows("attempts") if row["outcome"] == "stopped"]
    assert stopped
    world.control.clear_faults()
    await world.apply(run, *made.batches)
    require_settled_after_stop(world, 400, before)


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", ["authentication_error", "token.unauthorized_access", "odd"])
async def test_a_401_for_one_mailbox_does_not_stop_the_others(world, kind):
    error = {"status": 401, "type": kind, "message": "Unauthorized"}
    fault(world, "error", error=error, match={**MAKING, "email": "user0001@*"})
    run, made = await planned(world, people(8))
    applied = await world.apply(run, *made.batches)
    assert applied.outcomes == {"granted": 7, "refused": 1}
    [refused] = [row for row in world.rows("attempts") if row["outcome"] == "refused"]
    assert refused["http_status"] == 401
    assert world.control.requests_by_route()["GET /v3/connectors"] == 1


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
async def test_mailboxes_that_are_doubted_together_ask_about_the_key_together(world):
    fault(world, "latency", match={"path": "/v3/connectors"}, seconds=0.3)
    fault(world, "error", error={"status": 401, "type": "odd", "message": "No."}, times=20)
    run, made = await planned(world, people(20))
    await world.apply(run, *made.batches)
    assert world.control.requests_by_route()["GET /v3/connectors"] <= 5


def require_settled_after_stop(world, count: int, before) -> None:
    after = world.grants()
    assert len(after) == count
    assert {email: after[email]["id"] for email in before} == {
        email: grant["id"] for email, grant in before.items()
    }
    made = world.rows("changes")
    assert {(row["state"], row["outcome"]) for row in made} == {("done", "granted")}
    assert sum(world.calls().values()) <= len(world.rows("attempts"))


async def test_an_outage_stops_the_batch_early_and_the_next_task_does_the_rest(world):
    run, made = await planned(world, people(300))
    fault(world, "server_error", after=50, retry_after=0)
    with pytest.raises(Unavailable) as outage:
        await world.apply(run, *made.batches)
    left = 300 - done(world.engine)
    assert f"{left} changes are still open" in str(outage.value)
    assert left == 250
    assert sum(world.calls().values()) < 50 + (64 + 11) * 6 + 64
    assert [row["closed_at"] for row in world.rows("batches")] == [None]
    world.control.clear_faults()
    assert (await world.apply(run, *made.batches)).outcomes == {"granted": 250}
    require_settled(world, 300, killed=len(world.rows("attempts")) > sum(world.calls().values()))
    assert [row["closed_at"] for row in world.rows("batches")] == [world.now]


async def test_in_an_outage_changes_that_were_set_aside_are_not_tried(make_ledger):
    """Otherwise a batch of thousands would take hours to find out what it already knows."""
    nylas = FakeNylas()
    engine, run, made = fake_plan(make_ledger, people(600) + people(2000, "umbrella"))

    def answer(call) -> None:
        email = call.body["settings"]["email_address"]
        if "@acme" in email and nylas.calls[f"seen {email}"] == 0:
            nylas.calls[f"seen {email}"] += 1
            raise throttled(after=0.2)
        nylas.calls["unserved"] += 1
        raise Unavailable("down", after=0.0)

    nylas.before = answer
    with pytest.raises(Unavailable, match="2600 changes are still open"):
        await apply_batch(engine, nylas, run, *made.batches, clock=lambda: run.opened_at)
    assert nylas.calls["unserved"] <= (64 + 64) * 6


async def test_a_tenant_with_a_long_wait_does_not_delay_one_with_a_short_wait(make_ledger):
    nylas = FakeNylas()
    engine, run, made = fake_plan(make_ledger, people(150) + people(10, "umbrella"))
    answered: list[str] = []

    def answer(call) -> None:
        email = call.body["settings"]["email_address"]
        if nylas.calls[f"seen {email.split('@')[1]}"] == 0:
            nylas.calls[f"seen {email.split('@')[1]}"] += 1
            raise throttled(after=2.0 if "@acme" in email else 0.5)
        answered.append(email)

    nylas.before = answer
    await apply_batch(engine, nylas, run, *made.batches, clock=lambda: run.opened_at)
    last_umbrella = max(n for n, email in enumerate(answered) if "@umbrella" in email)
    assert last_umbrella < 64 + 10
    assert len(answered) == 160


async def test_missing_mailboxes_are_refused_one_by_one_and_never_quarantine_their_tenant(world):
    world.control.set_directory({"acme.example.com": ["user0019@acme.example.com"]})
    run, made = await planned(world, people(20))
    applied = await world.apply(run, *made.batches)
    assert applied.outcomes == {"refused": 19, "granted": 1}
    assert {row["reason"] for row in world.rows("escrow")} == {Refusal.MAILBOX_UNKNOWN}
    assert len(world.rows("escrow")) == 19
    assert {row["quarantined_until"] for row in world.rows("tenants")} == {None}


async def test_a_tenant_without_delegation_is_quarantined_for_all_batches_at_once(world):
    fault(
        world,
        "mailbox_error",
        error="unauthorized_client",
        match={**MAKING, "email": "*@umbrella.*"},
    )
    fault(world, "latency", seconds=0.05)
    run, made = await planned(world, people(100) + people(700, "umbrella"), batch_size=400)
    applied = await asyncio.gather(*(world.apply(run, batch) for batch in made.batches))
    total = sum((one.outcomes for one in applied), start=type(applied[0].outcomes)())
    assert total["granted"] == 100
    assert total["refused"] + total["skipped"] == 700
    assert total["refused"] <= 2 * (64 + 5)
    stood = {row["tenant"]: row["quarantined_until"] for row in world.rows("tenants")}
    assert stood["umbrella"] == world.now + timedelta(hours=6)
    assert stood["acme"] is None
    refused = {row["email"] for row in world.rows("escrow")}
    assert len(refused) == total["refused"], "they come last from now on"


async def test_a_batch_learns_from_the_ledger_that_another_has_quarantined_a_tenant(world):
    fault(
        world,
        "mailbox_error",
        error="unauthorized_client",
        match={**MAKING, "email": "*@umbrella.*"},
    )
    run, made = await planned(world, people(100) + people(400, "umbrella"), batch_size=250)
    first = await world.apply(run, made.batches[0])
    assert first.outcomes["granted"] == 100
    assert first.outcomes["refused"] + first.outcomes["skipped"] == 150
    calls = sum(world.calls().values())
    assert (await world.apply(run, made.batches[1])).outcomes == {"skipped": 250}
    assert sum(world.calls().values()) == calls


async def test_of_two_processes_with_the_same_batch_the_later_one_does_it(world):
    fault(world, "latency", seconds=0.1)
    run, made = await planned(world, people(300))
    first = asyncio.create_task(world.apply(run, *made.batches))
    while not (done(world.engine) or first.done()):  # noqa: ASYNC110 - the ledger has to be polled
        await asyncio.sleep(0.02)
    late = await asyncio.gather(first, world.apply(run, *made.batches), return_exceptions=True)
    assert isinstance(late[0], Superseded)
    assert late[1].outcomes["granted"] + done_under_claim(world, 1) == 300
    require_settled(world, 300, killed=True)


def done_under_claim(world, number: int) -> int:
    return sum(
        row["outcome"] == "granted" and row["claim"] == number for row in world.rows("attempts")
    )


async def test_the_lease_is_kept_while_a_batch_only_waits(make_ledger, monkeypatch):
    """A provider may ask for twenty minutes and more; a lease lasts fifteen."""
    monkeypatch.setattr("bulkgrants.reconcile.recorder.KEEP_EVERY", timedelta(seconds=0.3))
    nylas = FakeNylas()
    engine, run, made = fake_plan(make_ledger, people(2))

    def answer(call) -> None:
        nylas.calls["seen"] += 1
        if nylas.calls["seen"] == 1:
            raise throttled(after=2.0)

    nylas.before = answer
    clock = lambda: run.opened_at  # noqa: E731 - it stands still, as a clock that was set back does
    task = asyncio.create_task(apply_batch(engine, nylas, run, *made.batches, clock=clock))
    await asyncio.sleep(0.5)
    let_lapse(engine)
    await asyncio.sleep(1.0)
    with pytest.raises(LeaseHeld):
        lease_run(engine, "other")
    assert (await task).outcomes == {"granted": 2}


def paced(engine, sender, per_second: float) -> Pacer:
    return Pacer(sender, Budget(engine, APPLICATION, per_second))


async def test_after_the_fifth_refusal_no_call_that_waits_for_its_slot_leaves(make_ledger):
    nylas = FakeNylas()
    engine, run, made = fake_plan(make_ledger, [*people(30), *people(2, "umbrella")])
    missing = replace(UNKNOWN_REFUSAL, refusal=Refusal.DELEGATION_MISSING, concerns=Concerns.TENANT)

    def answer(call) -> None:
        if "acme" in call.body["settings"]["email_address"]:
            raise Refused("no delegation", known=missing)

    nylas.before = answer
    clock = lambda: run.opened_at  # noqa: E731 - time does not matter here
    sender = paced(engine, nylas, 40.0)
    applied = await apply_batch(engine, sender, run, *made.batches, clock=clock)
    assert applied.outcomes == {"refused": 5, "skipped": 25, "granted": 2}
    assert nylas.calls["POST /v3/connect/custom"] == 7
    unsent = [row for row in rows(engine, "attempts") if row["outcome"] == "skipped"]
    assert {row["message"] for row in unsent} == {"not sent"}


@pytest.mark.parametrize("loss", ["lease", "claim"])
async def test_once_the_lease_or_the_claim_is_lost_no_second_call_leaves(make_ledger, loss):
    nylas = FakeNylas()
    engine, run, made = fake_plan(make_ledger, people(30))
    left = []

    def overtaken(call) -> None:
        left.append(call)
        if len(left) == 1 and loss == "lease":
            let_lapse(engine)
            lease_run(engine, "heir")
        elif len(left) == 1:
            claim_batch(engine, run, *made.batches, run.opened_at)

    nylas.before = overtaken
    clock = lambda: run.opened_at  # noqa: E731 - time does not matter here
    with pytest.raises(Superseded):
        await apply_batch(engine, paced(engine, nylas, 5.0), run, *made.batches, clock=clock)
    assert len(left) == 1


async def test_what_the_other_side_says_is_bounded_and_printable_in_the_ledger(world):
    hostile = "<b>&|`" + "\x00\x1b[31m\n\r\u202e" * 50 + "x" * 5000
    error = {"status": 400, "type": hostile, "message": hostile, "provider_error": {"e": hostile}}
    fault(world, "error", error=error)
    report = await world.reconcile(people(90))
    assert report.counts["refused"] >= 5
    await world.reconcile(people(90))
    kept = [
        *(row["message"] for row in world.rows("attempts")),
        *(row["message"] for row in world.rows("changes")),
        *(row["detail"] for row in world.rows("skips")),
        *(row["quarantine_reason"] for row in world.rows("tenants")),
    ]
    assert any("<b>" in text for text in kept)
    for text in kept:
        assert len(text) <= 500
        assert all(character.isprintable() for character in text), ascii(text)


async def test_what_a_quarantine_skips_says_the_same_in_this_batch_and_in_later_ones(world):
    said = {"error": "unauthorized_client", "error_description": "Client is unauthorized."}
    fault(
        world, "error", error={"status": 401, "type": "t", "message": "m", "provider_error": said}
    )
    await world.reconcile(people(90))
    (reason,) = {row["quarantine_reason"] for row in world.rows("tenants")} - {""}
    skipped = {row["message"] for row in world.rows("changes") if row["outcome"] == "skipped"}
    assert "Client is unauthorized." in reason
    assert skipped == {reason}


async def test_a_batch_that_is_done_is_applied_again_without_a_call(world):
    run, made = await planned(world, people(3))
    await world.apply(run, *made.batches)
    calls = world.calls()
    assert (await world.apply(run, *made.batches)).outcomes == {}
    assert world.calls() == calls
