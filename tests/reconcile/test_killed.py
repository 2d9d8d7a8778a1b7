"""A process that applies a batch may die at any moment; the next one does what is still open."""

import asyncio
import signal
import subprocess
import sys
import time

import pytest

from bulkgrants.reconcile.apply import apply_batch
from support.batches import done, fake_plan, fault, people, planned, require_settled
from support.fakes import FakeNylas

CHILD = [sys.executable, "-m", "support.children"]


def apply_in_a_process(world, run, batch: int) -> subprocess.Popen:
    url = world.engine.url.render_as_string(hide_password=False)
    server = world.server
    arguments = [url, server.base_url, server.api_key, str(run.run_id), str(batch)]
    return subprocess.Popen([*CHILD, *arguments], cwd="tests")


async def test_after_a_kill_each_mailbox_is_granted_once_and_lost_attempts_are_visible(world):
    fault(world, "latency", seconds=0.2)
    run, made = await planned(world, people(400))
    child = apply_in_a_process(world, run, *made.batches)
    end = time.monotonic() + 60
    while done(world.engine) < 100:
        assert child.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)  # noqa: ASYNC251 - nothing else runs on this loop
    child.send_signal(signal.SIGKILL)
    assert child.wait(timeout=30) == -signal.SIGKILL
    before = world.grants()
    assert 100 <= done(world.engine) <= len(before) < 400
    lost = [row for row in world.rows("attempts") if row["ended_at"] is None]
    assert lost
    world.control.clear_faults()
    assert apply_in_a_process(world, run, *made.batches).wait(timeout=60) == 0
    require_settled(world, 400, killed=True)
    after = world.grants()
    assert {email: grant["id"] for email, grant in before.items()} == {
        email: after[email]["id"] for email in before
    }
    assert [row for row in world.rows("attempts") if row["ended_at"] is None] == lost


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Let the child process find `support`."""
    monkeypatch.setenv("PYTHONPATH", "tests")


async def test_a_cancelled_batch_records_what_was_answered(make_ledger):
    nylas = FakeNylas()
    engine, run, made = fake_plan(make_ledger, people(500))
    answered = 0

    async def slow(call):
        nonlocal answered
        await asyncio.sleep(0.01)
        grant = await nylas.send(call)
        answered += 1
        return grant

    sender = type("Slow", (), {"send": staticmethod(slow)})()
    task = asyncio.create_task(
        apply_batch(engine, sender, run, *made.batches, clock=lambda: run.opened_at)
    )
    while answered < 100:  # noqa: ASYNC110 - an event would not stop the others at once
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done(engine) == answered < 500
