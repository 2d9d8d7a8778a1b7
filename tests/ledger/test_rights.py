"""Only one run of an application is active, and a run that has lost its lease cannot write."""

from datetime import timedelta

import pytest

from bulkgrants.errors import LeaseHeld, Superseded
from bulkgrants.ledger.rights import LEASE_TERM, release_lease, take_lease, writing
from bulkgrants.model import Run
from support.children import at_once, leased
from support.ledgers import APPLICATION, NOW, lease_run, rows


def renewed(engine, run: Run, now=NOW) -> None:
    with writing(engine, run, now):
        pass


def released(engine, run: Run, now=NOW) -> None:
    with engine.begin() as connection:
        release_lease(connection, run, now)


def test_a_run_keeps_its_lease_with_the_same_token_however_often_it_asks(ledger):
    first = lease_run(ledger)
    again = lease_run(ledger, now=NOW + timedelta(minutes=5))
    assert (first.run_id, first.token) == (again.run_id, again.token)
    assert [row["expires_at"] for row in rows(ledger, "leases")] == [
        NOW + timedelta(minutes=5) + LEASE_TERM
    ]


def test_another_run_is_refused_while_the_lease_lasts_and_told_which_run_has_it(ledger):
    lease_run(ledger, "nightly")
    with pytest.raises(LeaseHeld, match=r"Run nightly .* ends at 2026-03-01 02:15:00") as refusal:
        lease_run(ledger, "manual", NOW + timedelta(minutes=5))
    assert refusal.value.after == 600


def test_renewing_postpones_the_end(ledger):
    run = lease_run(ledger, "nightly")
    renewed(ledger, run, NOW + timedelta(minutes=14))
    with pytest.raises(LeaseHeld):
        lease_run(ledger, "manual", NOW + timedelta(minutes=28))


def test_an_expired_lease_goes_to_the_next_run_that_asks_with_a_higher_token(ledger):
    late = lease_run(ledger, "nightly")
    heir = lease_run(ledger, "manual", NOW + LEASE_TERM)
    assert heir.token > late.token
    with pytest.raises(Superseded):
        renewed(ledger, late, NOW + LEASE_TERM)
    renewed(ledger, heir, NOW + LEASE_TERM)


def test_a_silent_run_continues_if_no_other_run_took_over(ledger):
    run = lease_run(ledger)
    renewed(ledger, run, NOW + 3 * LEASE_TERM)
    with pytest.raises(LeaseHeld):
        lease_run(ledger, "other", NOW + 3 * LEASE_TERM)


def test_after_a_run_takes_its_lost_lease_again_its_old_writers_cannot_write(ledger):
    before = lease_run(ledger, "nightly")
    released(ledger, lease_run(ledger, "manual", NOW + LEASE_TERM))
    after = lease_run(ledger, "nightly", NOW + LEASE_TERM)
    assert after.run_id == before.run_id
    with pytest.raises(Superseded):
        renewed(ledger, before)
    renewed(ledger, after)


def test_a_released_lease_is_free_at_once(ledger):
    released(ledger, lease_run(ledger, "nightly"))
    assert lease_run(ledger, "manual").token > 0


def test_a_former_holder_does_not_release_the_lease(ledger):
    late = lease_run(ledger, "nightly")
    heir = lease_run(ledger, "manual", NOW + LEASE_TERM)
    released(ledger, late, NOW + LEASE_TERM)
    renewed(ledger, heir, NOW + LEASE_TERM)


def test_applications_do_not_wait_for_each_other(ledger):
    lease_run(ledger)
    run_id = lease_run(ledger).run_id
    take_lease(ledger, application="another application", run_id=run_id, now=NOW)
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
