"""Only one run of an application is active, and a run that has lost its lease cannot write."""

import time
from datetime import timedelta

import pytest
from sqlalchemy import update

from bulkgrants.errors import LeaseHeld, Superseded
from bulkgrants.ledger import runs
from bulkgrants.ledger.rights import LEASE_TERM, keeping, release_lease, take_lease, writing
from bulkgrants.ledger.tables import leases
from bulkgrants.model import Run, RunKind
from bulkgrants.ports import utc_now
from support.children import at_once, leased
from support.ledgers import APPLICATION, NOW, asked, lease_run, let_lapse, rows


def renewed(engine, run: Run) -> None:
    with writing(engine, run, NOW):
        pass


def released(engine, run: Run) -> None:
    with engine.begin() as connection:
        release_lease(connection, run)


def left(engine) -> timedelta:
    """How long the lease still lasts, by the clock of this machine, which is the database's too."""
    (lease,) = rows(engine, "leases")
    return lease["expires_at"] - utc_now()


SOON = timedelta(seconds=10)


def test_a_run_keeps_its_lease_with_the_same_token_however_often_it_asks(ledger):
    first = lease_run(ledger)
    let_lapse(ledger, timedelta(minutes=5))
    again = lease_run(ledger)
    assert (first.run_id, first.token) == (again.run_id, again.token)
    assert LEASE_TERM - SOON < left(ledger) <= LEASE_TERM


def test_another_run_is_refused_while_the_lease_lasts_and_told_which_run_has_it(ledger):
    lease_run(ledger, "nightly")
    let_lapse(ledger, timedelta(minutes=5))
    end = rows(ledger, "leases")[0]["expires_at"]
    said = rf"Run nightly .* ends at {end:%Y-%m-%d %H:%M:%S}"
    with pytest.raises(LeaseHeld, match=said) as refusal:
        lease_run(ledger, "manual")
    assert refusal.value.after == pytest.approx(600, abs=SOON.total_seconds())


def test_a_run_is_refused_at_once_while_another_is_in_the_middle_of_a_write(ledger):
    """A plan may take minutes, and nobody should look for a process that hangs meanwhile."""
    run, kind = lease_run(ledger, "nightly"), RunKind.RECONCILE
    manual = runs.open_record(ledger, application=APPLICATION, key="manual", kind=kind, now=NOW)
    began = time.monotonic()
    with (
        writing(ledger, run, NOW),
        pytest.raises(LeaseHeld, match="Run nightly of the same application is active"),
    ):
        take_lease(ledger, application=APPLICATION, run_id=manual)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("wrong", [timedelta(minutes=20), timedelta(days=400), -timedelta(days=1)])
def test_a_machine_whose_clock_is_wrong_neither_steals_a_lease_nor_keeps_one(ledger, wrong):
    run = lease_run(ledger, "nightly")
    with pytest.raises(LeaseHeld):
        asked(ledger, "wrong", now=NOW + wrong)
    with writing(ledger, run, NOW + wrong):
        pass
    assert LEASE_TERM - SOON < left(ledger) <= LEASE_TERM
    let_lapse(ledger)
    assert asked(ledger, "wrong", now=NOW + wrong).token > run.token


def test_renewing_postpones_the_end(ledger):
    run = lease_run(ledger, "nightly")
    let_lapse(ledger, timedelta(minutes=14))
    renewed(ledger, run)
    let_lapse(ledger, timedelta(minutes=14))
    with pytest.raises(LeaseHeld):
        lease_run(ledger, "manual")


def test_a_long_transaction_renews_the_lease_at_its_end_too(ledger, monkeypatch):
    run = lease_run(ledger, "nightly")
    with writing(ledger, run, NOW) as write:
        write.connection.execute(update(leases).values(expires_at=NOW))
        hours = time.monotonic() + 3600
        monkeypatch.setattr(time, "monotonic", lambda: hours)
    assert left(ledger) > LEASE_TERM - SOON


def test_a_run_keeps_its_lease_while_it_waits_for_something_else(ledger, monkeypatch):
    monkeypatch.setattr("bulkgrants.ledger.rights.KEEP_EVERY", timedelta(milliseconds=20))
    run = lease_run(ledger, "nightly")
    with keeping(ledger, run):
        let_lapse(ledger, 2 * LEASE_TERM)
        end = time.monotonic() + 20
        while left(ledger) < timedelta():
            assert time.monotonic() < end
            time.sleep(0.01)
        with pytest.raises(LeaseHeld):
            lease_run(ledger, "manual")
    let_lapse(ledger, 2 * LEASE_TERM)
    lease_run(ledger, "manual")
    with keeping(ledger, run):
        time.sleep(0.1)
    assert rows(ledger, "leases")[0]["run_id"] != run.run_id


def test_an_expired_lease_goes_to_the_next_run_that_asks_with_a_higher_token(ledger):
    late = lease_run(ledger, "nightly")
    let_lapse(ledger)
    heir = lease_run(ledger, "manual")
    assert heir.token > late.token
    with pytest.raises(Superseded):
        renewed(ledger, late)
    renewed(ledger, heir)


def test_a_silent_run_continues_if_no_other_run_took_over(ledger):
    run = lease_run(ledger)
    let_lapse(ledger, 3 * LEASE_TERM)
    renewed(ledger, run)
    with pytest.raises(LeaseHeld):
        lease_run(ledger, "other")


def test_after_a_run_takes_its_lost_lease_again_its_old_writers_cannot_write(ledger):
    before = lease_run(ledger, "nightly")
    let_lapse(ledger)
    released(ledger, lease_run(ledger, "manual"))
    after = lease_run(ledger, "nightly")
    assert after.run_id == before.run_id
    with pytest.raises(Superseded):
        renewed(ledger, before)
    renewed(ledger, after)


def test_a_released_lease_is_free_at_once(ledger):
    released(ledger, lease_run(ledger, "nightly"))
    assert lease_run(ledger, "manual").token > 0


def test_a_former_holder_does_not_release_the_lease(ledger):
    late = lease_run(ledger, "nightly")
    let_lapse(ledger)
    heir = lease_run(ledger, "manual")
    released(ledger, late)
    renewed(ledger, heir)


def test_applications_do_not_wait_for_each_other(ledger):
    run_id = lease_run(ledger).run_id
    take_lease(ledger, application="another application", run_id=run_id)
    assert {row["application"] for row in rows(ledger, "leases")} == {
        APPLICATION,
        "another application",
    }


def test_if_four_processes_ask_at_once_one_gets_the_lease(ledger):
    answers = at_once(leased, 4, ledger.url)
    winners = [answer for answer in answers if answer.startswith("run ")]
    assert len(winners) == 1, answers
    refusal = f"LeaseHeld: Run {winners[0]} of the same application is active"
    assert sum(answer.startswith(refusal) for answer in answers) == 3, answers
