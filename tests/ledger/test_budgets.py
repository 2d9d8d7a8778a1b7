"""One budget for all processes: even slots, none of them twice, and a rate that adapts to 429s."""

import asyncio
import itertools
import time

import pytest
from sqlalchemy import update

from bulkgrants.errors import RateLimited, Throttle
from bulkgrants.ledger.budgets import Budget
from bulkgrants.ledger.tables import budgets
from bulkgrants.nylas.calls import list_connectors
from bulkgrants.nylas.sending import Pacer
from support.children import at_once, slots
from support.ledgers import APPLICATION, rows


def budget_of(engine, ceiling=10.0) -> Budget:
    return Budget(engine, APPLICATION, ceiling)


def remembered(engine) -> float:
    (row,) = rows(engine, "budgets")
    return row["per_second"]


def pass_time(engine, seconds: float) -> None:
    """Pretend that this much time has passed since the last change."""
    with engine.begin() as connection:
        connection.execute(update(budgets).values(changed_at=budgets.c.changed_at - seconds))


def test_slots_are_evenly_spaced_and_follow_those_handed_out_before(ledger):
    budget = budget_of(ledger, 0.5)
    first, second = budget.reserve(3), budget.reserve(2)
    assert first.spacing == second.spacing == 2.0
    assert first.first_in == 0
    assert first.waits() == [0.0, 2.0, 4.0]
    assert second.first_in == pytest.approx(6.0, abs=1.0)


def test_unused_slots_are_not_made_up_for(ledger):
    budget = budget_of(ledger, 1000.0)
    budget.reserve(1)
    time.sleep(0.05)
    assert budget.reserve(1).first_in == 0


def test_four_processes_share_the_slots_without_gap_or_overlap(ledger):
    budget = budget_of(ledger, 0.2)
    base = budget.reserve(1).first_in + time.time()
    taken = sorted(itertools.chain(*at_once(slots, 4, ledger.url, 0.2, 8)))
    numbers = [round((moment - base) / 5.0) for moment in taken]
    assert numbers == list(range(numbers[0], numbers[0] + 96))


def test_a_429_makes_every_process_wait_and_slow_down(ledger):
    one, other = budget_of(ledger), budget_of(ledger)
    other.reserve(1)
    one.refused(30.0)
    slot = other.reserve(1)
    assert slot.first_in == pytest.approx(30.0, abs=2.0)
    assert slot.spacing == pytest.approx(1 / 9.7)


def test_several_429s_within_a_second_lower_the_rate_once(ledger):
    budget = budget_of(ledger)
    for _ in range(20):
        budget.refused(0.0)
    assert remembered(ledger) == pytest.approx(9.7)
    pass_time(ledger, 1.0)
    budget.refused(0.0)
    assert remembered(ledger) == pytest.approx(9.7 * 0.97)


def test_a_shorter_wait_does_not_cut_a_longer_one_short(ledger):
    budget = budget_of(ledger)
    budget.refused(60.0)
    budget.refused(1.0)
    assert budget.reserve(1).first_in == pytest.approx(60.0, abs=2.0)


def test_time_without_429s_raises_the_rate_again_up_to_the_ceiling(ledger):
    budget = budget_of(ledger)
    budget.refused(0.0)
    pass_time(ledger, 29.0)
    budget.reserve(1)
    assert remembered(ledger) == pytest.approx(9.7)
    pass_time(ledger, 2.0)
    budget.reserve(1)
    assert remembered(ledger) == pytest.approx(9.7 * 1.01)
    pass_time(ledger, 86_400.0)
    budget.reserve(1)
    assert remembered(ledger) == 10.0


@pytest.mark.parametrize("ceiling", [0.5, 1.0, 50.0])
def test_the_rate_stays_between_the_floor_and_the_ceiling(ledger, ceiling):
    budget = budget_of(ledger, ceiling)
    for _ in range(140):
        budget.refused(0.0)
        assert min(1.0, ceiling) <= remembered(ledger) <= ceiling
        pass_time(ledger, 2.0)
    assert remembered(ledger) == min(1.0, ceiling)


def test_the_next_run_keeps_a_lowered_rate_and_another_ceiling_resets_it(ledger):
    budget_of(ledger).refused(0.0)
    assert budget_of(ledger).reserve(1).spacing == pytest.approx(1 / 9.7)
    assert budget_of(ledger, 20.0).reserve(1).spacing == pytest.approx(1 / 20)
    assert budget_of(ledger, 10.0).reserve(1).spacing == pytest.approx(1 / 10)


def set_back(engine, seconds: float) -> None:
    """Pretend that the database's clock was that much ahead until now."""
    moved = {
        column: budgets.c[column] + seconds for column in ("next_slot", "changed_at", "asked_at")
    }
    with engine.begin() as connection:
        connection.execute(update(budgets).values(**moved))


@pytest.mark.parametrize("hours", [1, 24, 24 * 365])
def test_a_clock_that_is_set_back_neither_stops_the_calls_nor_slows_them(ledger, hours):
    budget = budget_of(ledger)
    budget.refused(0.0)
    budget.reserve(1)
    set_back(ledger, hours * 3600.0)
    slots = budget.reserve(10)
    assert slots.first_in < 1
    assert slots.spacing == pytest.approx(1 / 9.7)
    assert budget.reserve(1).first_in == pytest.approx(10 / 9.7, abs=0.5)


def test_a_wait_that_nylas_asked_for_is_kept_when_the_clock_is_set_back(ledger):
    budget = budget_of(ledger)
    budget.refused(600.0)
    set_back(ledger, 3600.0)
    assert budget.reserve(1).first_in == pytest.approx(600, abs=2)


def test_a_429_after_the_clock_was_set_back_still_slows_down(ledger):
    budget = budget_of(ledger)
    budget.refused(0.0)
    set_back(ledger, 3600.0)
    pass_time(ledger, 2.0)
    budget.refused(0.0)
    assert remembered(ledger) == pytest.approx(9.7 * 0.97)


def test_a_row_with_senseless_numbers_recovers_by_itself(ledger):
    budget = budget_of(ledger)
    budget.reserve(1)
    with ledger.begin() as connection:
        connection.execute(update(budgets).values(per_second=1e-13, next_slot=1e14))
    slots = budget.reserve(1)
    assert slots.spacing == 1.0
    assert slots.first_in <= 7200


def test_each_application_has_its_own_budget(ledger):
    budget_of(ledger).refused(60.0)
    assert Budget(ledger, "another application", 10.0).reserve(1).first_in == 0


class Counting:
    """A sender that does not send, but notes when it was called."""

    def __init__(self, *errors: Exception) -> None:
        self.moments: list[float] = []
        self.errors = list(errors)

    async def send(self, call):
        self.moments.append(time.monotonic())
        if self.errors:
            raise self.errors.pop(0)


async def test_calls_are_sent_at_their_slots_however_many_wait(ledger):
    sender = Counting()
    pacer = Pacer(sender, budget_of(ledger, 100.0))
    await asyncio.gather(*(pacer.send(list_connectors(1)) for _ in range(60)))
    assert len(sender.moments) == 60
    assert sender.moments[-1] - sender.moments[0] >= 59 / 100 - 0.05


async def test_a_slot_that_was_missed_is_given_up(ledger):
    sender = Counting()
    pacer = Pacer(sender, budget_of(ledger, 40.0))
    await pacer.send(list_connectors(1))
    time.sleep(0.8)  # noqa: ASYNC251 - the process was stalled, event loop and all, past its slots
    await asyncio.gather(*(pacer.send(list_connectors(1)) for _ in range(11)))
    late = sender.moments[1:]
    assert late[-1] - late[0] >= 10 / 40 - 0.05, "what piled up left in one burst"


async def test_a_machine_that_is_always_late_sends_nevertheless(ledger):
    async def hog() -> None:
        while True:
            time.sleep(0.03)  # noqa: ASYNC251 - no slot is ever met within 10 ms
            await asyncio.sleep(0)

    sender, hogging = Counting(), asyncio.create_task(hog())
    pacer = Pacer(sender, budget_of(ledger, 100.0))
    async with asyncio.timeout(20):
        await asyncio.gather(*(pacer.send(list_connectors(1)) for _ in range(5)))
    hogging.cancel()
    assert len(sender.moments) == 5


async def test_a_429_from_nylas_drops_the_slots_taken_and_one_from_the_provider_does_not(ledger):
    nylas = RateLimited("too many", throttle=Throttle.NYLAS)
    provider = RateLimited("too many", throttle=Throttle.PROVIDER, after=600.0)
    sender = Counting(provider, nylas)
    pacer = Pacer(sender, budget_of(ledger, 100.0))
    for _ in range(2):
        with pytest.raises(RateLimited):
            await pacer.send(list_connectors(1))
    await pacer.send(list_connectors(1))
    assert sender.moments[1] - sender.moments[0] < 0.9
    assert sender.moments[2] - sender.moments[1] >= 0.95
    assert remembered(ledger) == pytest.approx(97.0)
