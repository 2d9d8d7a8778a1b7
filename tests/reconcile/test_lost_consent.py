"""A Microsoft tenant whose consent is no longer honoured is onboarded again; its grants stay."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from bulkgrants.errors import Superseded, Unavailable
from bulkgrants.ledger import changes
from bulkgrants.ledger.onboarding import lose_consent
from bulkgrants.ledger.rights import claim_batch, writing
from bulkgrants.model import Awaiting, SkipReason
from bulkgrants.reconcile.recorder import Lost, Recorder
from support.batches import fault, people, planned
from support.microsoft import (
    become_ready,
    consent,
    join,
    send_back,
    standing,
    withdraw,
)


def outcomes(world, run) -> dict[str, list[str]]:
    """The outcomes of each tenant's changes in a run, in plan order."""
    found: dict[str, list[str]] = {}
    for row in sorted(world.rows("changes"), key=lambda one: one["seq"]):
        if row["run_id"] == run.run_id:
            found.setdefault(row["tenant"], []).append(row["outcome"])
    return found


def reasons(world, outcome: str) -> set[str]:
    return {row["reason"] for row in world.rows("changes") if row["outcome"] == outcome}


def statuses(world, tenant: str) -> list[str]:
    return [row["status"] for row in world.rows("consents") if row["tenant"] == tenant]


def require_lost(world, name: str) -> None:
    row = standing(world, name)
    assert row["awaiting"] == Awaiting.CONSENT
    assert (row["ready_at"], row["awaiting_since"], row["stopped"]) == (None, None, "")
    assert (row["quarantined_until"], row["quarantine_reason"]) == (None, "")
    assert statuses(world, name)[-1] == "lost"


def require_ready(world, name: str) -> None:
    assert standing(world, name)["awaiting"] is None
    assert statuses(world, name)[-1] == "given"


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


async def test_a_large_tenant_is_lost_in_the_middle_of_a_batch_and_the_rest_is_not_sent(
    world, caplog
):
    join(world, "contoso")
    withdraw(world, "contoso")
    run, made = await planned(world, people(300, "contoso") + people(40))
    with caplog.at_level(logging.WARNING):
        await world.apply(run, *made.batches)
    found = outcomes(world, run)
    assert found["acme"] == ["granted"] * 40
    assert 5 <= found["contoso"].count("refused") <= 64 + 5
    assert found["contoso"].count("refused") + found["contoso"].count("skipped") == 300
    assert reasons(world, "refused") == {"consent_missing"}
    assert reasons(world, "skipped") == {SkipReason.AWAITING_CONSENT}
    require_lost(world, "contoso")
    assert {row["tenant"] for row in world.rows("escrow")} == {"contoso"}
    [warning] = warnings(caplog)
    assert "Tenant contoso has lost its admin's consent" in warning
    assert "onboard_tenants will ask the admin again" in warning


async def test_a_small_tenant_is_lost_at_the_end_of_its_batch(world, caplog):
    join(world, "contoso", "fabrikam")
    withdraw(world, "contoso")
    with caplog.at_level(logging.WARNING):
        report = await world.reconcile(people(2, "contoso") + people(2, "fabrikam"))
    require_lost(world, "contoso")
    require_ready(world, "fabrikam")
    assert report.counts["granted"] == report.counts["refused"] == 2
    assert len(warnings(caplog)) == 1
    listed = report.markdown.split("## Consent lost: onboard_tenants asks the admin again")[1]
    assert listed.split("##")[0].split() == [
        "|",
        "tenant",
        "|",
        "|",
        "---",
        "|",
        "|",
        "contoso",
        "|",
    ]


async def test_one_refused_mailbox_among_granted_ones_does_not_lose_the_consent(world, caplog):
    join(world, "contoso")
    one = {"path": "/v3/connect/custom", "email": "user0001@contoso.example.com"}
    fault(world, "mailbox_error", error="consent_missing", match=one)
    with caplog.at_level(logging.WARNING):
        report = await world.reconcile(people(3, "contoso"))
    assert (report.counts["granted"], report.counts["refused"]) == (2, 1)
    require_ready(world, "contoso")
    assert warnings(caplog) == []
    assert "Consent lost" not in report.markdown


async def test_a_missing_mailbox_does_not_lose_its_tenants_consent(world):
    join(world, "contoso")
    world.control.set_directory({"contoso.example.com": []})
    report = await world.reconcile(people(2, "contoso"))
    assert report.counts["refused"] == 2
    assert reasons(world, "refused") == {"mailbox_unknown"}
    require_ready(world, "contoso")


async def test_other_refusals_of_a_microsoft_tenant_quarantine_it_as_usual(world):
    join(world, "contoso")
    fault(world, "mailbox_error", error="client_secret_expired")
    report = await world.reconcile(people(10, "contoso"))
    assert reasons(world, "refused") == {"secret_invalid"}
    assert report.counts["refused"] >= 5
    assert report.counts["refused"] + report.counts.get("skipped", 0) == 10
    assert standing(world, "contoso")["quarantined_until"] == world.now + timedelta(hours=6)
    require_ready(world, "contoso")


async def test_a_google_tenant_has_no_consent_to_lose(world):
    fault(world, "mailbox_error", error="consent_missing")
    report = await world.reconcile(people(10))
    assert reasons(world, "refused") == {"consent_missing"}
    assert standing(world, "acme")["awaiting"] is None
    assert standing(world, "acme")["quarantined_until"] == world.now + timedelta(hours=6)
    assert "Consent lost" not in report.markdown


@pytest.mark.parametrize("count", [2, 30])
async def test_a_tenant_that_has_consented_again_meanwhile_is_not_set_back(world, count):
    """Its consent is new but not in force yet, so changes already under way are still refused."""
    join(world, "contoso")
    withdraw(world, "contoso")
    fault(world, "latency", seconds=1.0)
    run, made = await planned(world, people(count, "contoso"))
    applying = asyncio.create_task(world.apply(run, *made.batches))
    while len(world.calls()) < count:  # noqa: ASYNC110 - the stand-in has to be polled
        await asyncio.sleep(0.02)
    send_back(world, "contoso", Awaiting.PROPAGATION)
    await applying
    assert outcomes(world, run) == {"contoso": ["refused"] * count}
    assert standing(world, "contoso")["awaiting"] == Awaiting.PROPAGATION
    assert statuses(world, "contoso") == ["given"]


@pytest.mark.parametrize("awaiting", Awaiting)
async def test_a_batch_learns_from_the_ledger_that_a_tenant_waits(world, awaiting):
    join(world, "contoso")
    run, made = await planned(world, people(200, "contoso"), batch_size=100)
    send_back(world, "contoso", awaiting)
    assert (await world.apply(run, made.batches[0])).outcomes == {"skipped": 100}
    assert reasons(world, "skipped") == {f"awaiting_{awaiting}"}
    assert world.calls() == {}


async def test_two_batches_at_once_lose_their_tenant_once_and_say_so_once(world, caplog):
    join(world, "contoso")
    withdraw(world, "contoso")
    fault(world, "latency", seconds=0.05)
    run, made = await planned(world, people(400, "contoso"), batch_size=200)
    with caplog.at_level(logging.WARNING):
        await asyncio.gather(*(world.apply(run, batch) for batch in made.batches))
    refused = outcomes(world, run)["contoso"].count("refused")
    assert 10 <= refused <= 2 * (64 + 5)
    require_lost(world, "contoso")
    assert len(warnings(caplog)) == 1


async def test_a_batch_that_was_killed_loses_the_consent_when_it_is_applied_again(
    world, monkeypatch
):
    join(world, "contoso")
    withdraw(world, "contoso")
    run, made = await planned(world, people(2, "contoso"))
    real = changes.close_batch

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(changes, "close_batch", die)
    with pytest.raises(KeyboardInterrupt):
        await world.apply(run, *made.batches)
    monkeypatch.setattr(changes, "close_batch", real)
    assert outcomes(world, run) == {"contoso": ["refused"] * 2}
    require_ready(world, "contoso")
    calls = world.calls()
    for _ in range(2):
        assert (await world.apply(run, *made.batches)).outcomes == {}
        require_lost(world, "contoso")
    assert world.calls() == calls | {"canary@contoso.example.com": 1}


async def test_a_batch_applied_again_after_a_new_consent_does_not_lose_it(world):
    join(world, "contoso")
    withdraw(world, "contoso")
    run, made = await planned(world, people(2, "contoso"))
    await world.apply(run, *made.batches)
    require_lost(world, "contoso")
    world.now += timedelta(minutes=10)
    consent(world, "contoso")
    become_ready(world, "contoso")
    await world.apply(run, *made.batches)
    require_ready(world, "contoso")
    assert statuses(world, "contoso") == ["lost", "given"]


async def test_a_batch_with_open_changes_neither_ends_nor_loses_a_consent(world):
    """Only one refusal is known; the next task may find that the other mailboxes are granted."""
    join(world, "contoso")
    first = {"path": "/v3/connect/custom", "email": "user0000@contoso.example.com"}
    others = {"path": "/v3/connect/custom", "email": "user0001@contoso.example.com"}
    fault(world, "mailbox_error", error="consent_missing", match=first)
    fault(world, "server_error", retry_after=0, match=others)
    run, made = await planned(world, people(2, "contoso"))
    with pytest.raises(Unavailable, match="1 changes are still open"):
        await world.apply(run, *made.batches)
    require_ready(world, "contoso")
    world.control.clear_faults()
    assert (await world.apply(run, *made.batches)).outcomes == {"granted": 1}
    require_ready(world, "contoso")


async def test_a_task_that_lost_its_batch_does_not_lose_a_consent(world):
    join(world, "contoso")
    withdraw(world, "contoso")
    run, made = await planned(world, people(2, "contoso"))
    late = claim_batch(world.engine, run, *made.batches, world.now)
    claim_batch(world.engine, run, *made.batches, world.now)
    recorder = Recorder(world.engine, late, world.clock)
    recorder.add(Lost("contoso"))
    with pytest.raises(Superseded):
        await recorder.flush()
    with pytest.raises(Superseded), writing(world.engine, late, world.now) as write:
        lose_consent(write, changes.unconsented_tenants(write))
    require_ready(world, "contoso")


async def test_from_loss_to_a_new_consent_the_grants_stay_and_are_renewed_with_their_ids(world):
    join(world, "contoso")
    roster = people(4, "contoso")
    await world.reconcile(roster)
    ids = {row["email"]: row["grant_id"] for row in world.rows("grants")}
    assert len(ids) == 4
    withdraw(world, "contoso")
    assert {grant["grant_status"] for grant in world.grants().values()} == {"invalid"}

    world.now += timedelta(days=1)
    run = await world.observe(world.read(world.open(), roster))
    before = world.rows("grants")
    made = world.plan(run)
    assert made.counts["renew"] == 4
    await world.apply(run, *made.batches)
    world.close(run)
    require_lost(world, "contoso")
    assert world.rows("grants") == before
    assert {one: grant["id"] for one, grant in world.grants().items()} == ids

    world.now += timedelta(days=1)
    calls = world.calls()
    waiting = await world.reconcile(roster)
    assert waiting.counts["skip:awaiting_consent"] == 4
    assert world.calls() == calls

    consent(world, "contoso")
    waiting = await world.reconcile(roster)
    assert waiting.counts["skip:awaiting_propagation"] == 4
    assert world.calls() == calls

    become_ready(world, "contoso")
    assert world.rows("escrow") == []
    mended = await world.reconcile(roster)
    assert (mended.counts["renewed"], mended.counts["verified"]) == (4, 4)
    assert {row["email"]: row["grant_id"] for row in world.rows("grants")} == ids
    assert {one: grant["id"] for one, grant in world.grants().items()} == ids
    assert all(row["owned"] and row["status"] == "valid" for row in world.rows("grants"))
