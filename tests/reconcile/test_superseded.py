"""A run or task that has lost the lease or the batch cannot write, whatever it was doing."""

import asyncio

import pytest

from bulkgrants.errors import Superseded, Unavailable
from bulkgrants.ledger import changes
from bulkgrants.ledger.rights import LEASE_TERM, claim_batch, writing
from bulkgrants.model import EndedAttempt, Granted, NotGranted, OpenChange, Outcome
from bulkgrants.nylas.calls import authenticate
from bulkgrants.reconcile.apply import apply_batch
from bulkgrants.reconcile.plan import plan
from bulkgrants.reconcile.recorder import Quarantined, Recorder
from support.fakes import FakeNylas
from support.ledgers import APPLICATION, NOW, lease_run, opened, ready, rows, with_tenants

TABLES = ("changes", "attempts", "batches", "grants", "escrow", "tenants", "runs", "leases")


@pytest.fixture
def claim(ledger):
    """The claim of a task that is in the middle of its batch."""
    with_tenants(ledger, "acme")
    roster = [("acme", f"user{number}@example.com") for number in range(4)]
    run = ready(ledger, opened(ledger, "late"), roster)
    plan(ledger, run, batch_size=10, now=NOW)
    claim = claim_batch(ledger, run, 1, NOW)
    with writing(ledger, claim, NOW) as write:
        changes.intend(write, [(1, 1), (2, 1), (3, 1)])
    return claim


def written(ledger, claim, event) -> None:
    async def run() -> None:
        recorder = Recorder(ledger, claim, lambda: NOW)
        recorder.add(event)
        await recorder.flush()

    asyncio.run(run())


def change(ledger, claim) -> OpenChange:
    return changes.open_changes(ledger, claim, after=0, limit=1)[0]


def ended(ledger, claim) -> EndedAttempt:
    return EndedAttempt(1, 1, NOW, Outcome.GRANTED, 201, "")


def granted(ledger, claim) -> Granted:
    one = change(ledger, claim)
    call = authenticate("google", one.email, one.credential_id, one.scopes)
    return Granted(one, Outcome.GRANTED, asyncio.run(FakeNylas().send(call)), NOW)


def refused(ledger, claim) -> NotGranted:
    one = change(ledger, claim)
    return NotGranted(one, Outcome.REFUSED, "mailbox_unknown", "", "no", NOW, lasting=True)


def quarantined(ledger, claim) -> Quarantined:
    return Quarantined("acme", "why")


def intend(ledger, claim) -> None:
    with writing(ledger, claim, NOW) as write:
        changes.intend(write, [(4, 1)])


def close(ledger, claim) -> None:
    with writing(ledger, claim, NOW) as write:
        changes.close_batch(write)


def take_up(ledger, claim) -> None:
    claim_batch(ledger, claim.run, claim.batch, NOW)


def apply(ledger, claim) -> None:
    asyncio.run(apply_batch(ledger, FakeNylas(), claim.run, claim.batch, clock=lambda: NOW))


LATE_WRITES = [intend, close, ended, granted, refused, quarantined]


def do(ledger, claim, write) -> None:
    if write in {ended, granted, refused, quarantined}:
        written(ledger, claim, write(ledger, claim))
    else:
        write(ledger, claim)


@pytest.mark.parametrize("write", [*LATE_WRITES, take_up, apply])
def test_a_run_that_lost_the_lease_writes_nothing(ledger, claim, write):
    lease_run(ledger, "heir", NOW + LEASE_TERM)
    before = {table: rows(ledger, table) for table in TABLES}
    with pytest.raises(Superseded, match="no longer holds"):
        do(ledger, claim, write)
    assert {table: rows(ledger, table) for table in TABLES} == before


def test_what_could_not_be_written_is_written_at_the_end(ledger, claim, monkeypatch):
    """A lock that is held fails one write; what it would have said is not lost."""
    recorder = Recorder(ledger, claim, lambda: NOW)
    recorder.add(refused(ledger, claim))
    fail_once = iter([Unavailable("a lock is held")])
    real = Recorder._write

    def write(self, events) -> None:
        for error in fail_once:
            raise error
        real(self, events)

    monkeypatch.setattr(Recorder, "_write", write)
    with pytest.raises(Unavailable):
        asyncio.run(recorder.flush())
    asyncio.run(recorder.flush())
    assert len(rows(ledger, "escrow")) == 1


@pytest.mark.parametrize("write", LATE_WRITES)
def test_a_task_that_lost_the_batch_to_another_writes_nothing(ledger, claim, write):
    claim_batch(ledger, claim.run, claim.batch, NOW)
    before = {table: rows(ledger, table) for table in TABLES}
    with pytest.raises(Superseded, match="Another task has claimed batch 1 of run late"):
        do(ledger, claim, write)
    assert {table: rows(ledger, table) for table in TABLES} == before


@pytest.mark.parametrize("write", LATE_WRITES)
def test_a_task_that_has_both_writes(ledger, claim, write):
    before = {table: rows(ledger, table) for table in TABLES}
    do(ledger, claim, write)
    after = {table: rows(ledger, table) for table in TABLES}
    assert after != before or write is close
    assert {row["application"] for row in after["leases"]} == {APPLICATION}


async def test_a_write_that_has_begun_is_awaited_even_if_its_task_is_cancelled(ledger, claim):
    """Otherwise it would go on in its thread, at the same time as the last write."""
    recorder = Recorder(ledger, claim, lambda: NOW)
    recorder.add(ended(ledger, claim))
    with writing(ledger, claim.run, NOW):
        task = asyncio.create_task(recorder.run())
        while recorder._events:  # noqa: ASYNC110 - they are taken out when the write begins
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task}, timeout=0.3)
        assert not task.done()
    with pytest.raises(asyncio.CancelledError):
        await task
    outcomes_ = [row["outcome"] for row in rows(ledger, "attempts") if row["seq"] == 1]
    assert outcomes_ == [Outcome.GRANTED]
