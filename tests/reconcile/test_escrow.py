"""Refused mailboxes stay in escrow, run after run, until they are given up."""

from datetime import timedelta

from bulkgrants.errors import Refused
from bulkgrants.reconcile.apply import apply_batch
from bulkgrants.reconcile.plan import plan
from bulkgrants.reconcile.report import close_run
from support.fakes import MAILBOX_UNKNOWN, FakeNylas
from support.ledgers import NOW, opened, ready, with_tenants


async def test_a_refusal_keeps_a_mailbox_in_escrow_longer_each_time_until_it_is_given_up(
    make_ledger,
):
    engine, nylas = make_ledger(), FakeNylas()
    with_tenants(engine, "acme")

    def refuse(call) -> None:
        raise Refused("no such mailbox", known=MAILBOX_UNKNOWN, status=400)

    nylas.before = refuse
    tried = [
        hour
        for hour in (*range(48), *range(48, 32 * 24, 24))
        if (await applied_at(engine, nylas, NOW + timedelta(hours=hour))).get("refused")
    ]
    assert tried == [0, 6, 18, 41, *range(72, 28 * 24 + 1, 24)]


async def test_a_mailbox_refused_by_a_nightly_run_is_tried_again_every_night(make_ledger):
    """The refusal comes some minutes after the run began, but the next run begins on time."""
    engine, nylas = make_ledger(), FakeNylas()
    with_tenants(engine, "acme")
    start = NOW

    def refuse(call) -> None:
        raise Refused("no such mailbox", known=MAILBOX_UNKNOWN, status=400)

    nylas.before = refuse
    for night in range(10):
        begun = start + timedelta(days=night)
        ended = begun + timedelta(minutes=30)
        assert (await applied_at(engine, nylas, begun, ended)).get("refused") == 1, night
    nylas.before = lambda call: None
    assert (await applied_at(engine, nylas, start + timedelta(days=10))).get("granted") == 1
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM escrow").scalar() == 0


async def applied_at(engine, nylas, begun, ended=None) -> dict[str, int]:
    """A run for one mailbox, from its plan to its end."""
    run = ready(engine, opened(engine, f"{begun}", now=begun), [("acme", "a@acme.example.com")])
    made = plan(engine, run, batch_size=10, now=begun)
    outcomes: dict[str, int] = {}
    for batch in made.batches:
        applied = await apply_batch(engine, nylas, run, batch, clock=lambda: ended or begun)
        outcomes = dict(applied.outcomes)
    close_run(engine, run, ended or begun)
    return outcomes
