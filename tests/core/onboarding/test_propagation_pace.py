"""When a canary is probed; it depends only on three moments and on chance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkgrants.onboarding.propagation import FIRST_WAIT, LONGEST_WAIT, Pace

SINCE = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
MICROSOFT = Pace(floor=timedelta(minutes=5), deadline=timedelta(hours=2))
GOOGLE = Pace(floor=timedelta(), deadline=timedelta(hours=24))
SHORTEST, LONGEST = timedelta(seconds=7.5), timedelta(minutes=18, seconds=45)
INSTANT = timedelta(microseconds=1)

chances = st.floats(0, 1, exclude_max=True)
spans = st.timedeltas(timedelta(), timedelta(hours=48))
paces = st.builds(
    Pace,
    floor=st.timedeltas(timedelta(), timedelta(hours=1)),
    deadline=st.timedeltas(timedelta(seconds=1), timedelta(hours=30)),
)


def middle() -> float:
    return 0.5


def probes(pace, since, chance, resumed=()):
    """The times of all probes until the wait is over; `resumed` are the times of extra ones."""
    due, extra = pace.first_probe(since), sorted(resumed)
    moments = []
    while not moments or not pace.is_over(since, moments[-1]):
        now = extra.pop(0) if extra and extra[0] < due else due
        moments.append(now)
        due = pace.next_probe(since, now, chance)
    return moments


@pytest.mark.parametrize(
    ("pace", "first"),
    [
        (MICROSOFT, SINCE + timedelta(minutes=5)),
        (GOOGLE, SINCE),
        (Pace(timedelta(seconds=3), timedelta(seconds=60)), SINCE + timedelta(seconds=3)),
    ],
)
def test_no_probe_is_due_before_the_floor(pace, first):
    assert pace.first_probe(SINCE) == first


@pytest.mark.parametrize(
    ("passed", "wait"),
    [
        (timedelta(), FIRST_WAIT),
        (timedelta(seconds=30), timedelta(seconds=10)),
        (timedelta(minutes=1), timedelta(seconds=20)),
        (timedelta(minutes=6), timedelta(minutes=2)),
        (timedelta(minutes=30), timedelta(minutes=10)),
        (timedelta(minutes=45), LONGEST_WAIT),
        (timedelta(hours=23), LONGEST_WAIT),
        (timedelta(seconds=-90), FIRST_WAIT),  # the other clock is ahead of ours
    ],
)
def test_the_wait_is_a_third_of_the_time_that_has_passed_within_bounds(passed, wait):
    now = SINCE + passed
    assert GOOGLE.next_probe(SINCE, now, middle) == now + wait
    assert GOOGLE.next_probe(SINCE, now, lambda: 0.0) == now + wait * 0.75


@pytest.mark.parametrize(("pace", "fewest", "most"), [(MICROSOFT, 9, 20), (GOOGLE, 80, 140)])
def test_a_whole_wait_takes_few_probes(pace, fewest, most):
    random = Random(7)
    for _ in range(50):
        assert fewest <= len(probes(pace, SINCE, random.random)) <= most


@given(pace=paces, passed=spans, chance=chances)
def test_a_wait_has_its_bounds_and_only_the_deadline_cuts_it_short(pace, passed, chance):
    now, end = SINCE + passed, SINCE + pace.deadline
    due = pace.next_probe(SINCE, now, lambda: chance)
    assert now < due <= now + LONGEST
    assert due - now >= SHORTEST or due == end


@given(pace=paces, passed=spans, chance=chances)
def test_before_the_deadline_no_probe_is_put_off_beyond_it(pace, passed, chance):
    now, end = SINCE + passed, SINCE + pace.deadline
    due = pace.next_probe(SINCE, now, lambda: chance, rest=timedelta(hours=1))
    assert (due <= end) if now < end else (due > end)
    assert due == end or due - now >= timedelta(hours=1)


@given(pace=paces, seed=st.integers())
def test_exactly_one_probe_is_at_or_after_the_deadline(pace, seed):
    moments = probes(pace, SINCE, Random(seed).random)
    end = SINCE + pace.deadline
    assert moments[0] == SINCE + pace.floor
    assert [at for at in moments if at >= end] == [max(end, SINCE + pace.floor)]
    assert all(one < other for one, other in pairwise(moments))


@given(passed=st.lists(spans, min_size=2, max_size=6), chance=chances)
def test_waits_grow_with_the_time_that_has_passed(passed, chance):
    moments = sorted(SINCE + one for one in passed)
    endless = Pace(timedelta(), timedelta(days=30))
    waits = [endless.next_probe(SINCE, now, lambda: chance) - now for now in moments]
    assert waits == sorted(waits)


@given(
    pace=paces,
    resumed=st.lists(spans, max_size=8),
    seed=st.integers(),
)
def test_a_resumed_wait_ends_when_an_uninterrupted_one_ends(pace, resumed, seed):
    """However often it is resumed, the first and the last probe are at the same times."""
    first, end = pace.first_probe(SINCE), SINCE + pace.deadline
    again = [max(SINCE + passed, first) for passed in resumed]
    moments = probes(pace, SINCE, Random(seed).random, again)
    assert moments[0] == first
    assert moments[-1] == max(end, first)


@given(pace=paces, passed=spans, later=spans, chance=chances)
def test_coming_back_later_never_brings_the_next_probe_forward(pace, passed, later, chance):
    now = SINCE + passed
    stayed = pace.next_probe(SINCE, now, lambda: chance)
    assert pace.next_probe(SINCE, now + later, lambda: chance) >= stayed


@given(pace=paces, passed=spans, moved=spans, chance=chances)
def test_only_the_time_that_has_passed_counts_not_the_time_of_day(pace, passed, moved, chance):
    here = pace.next_probe(SINCE, SINCE + passed, lambda: chance)
    there = pace.next_probe(SINCE + moved, SINCE + moved + passed, lambda: chance)
    assert there - here == moved


@pytest.mark.parametrize(
    ("passed", "over"),
    [(timedelta(), False), (timedelta(hours=2) - INSTANT, False), (timedelta(hours=2), True)],
)
def test_the_wait_is_over_at_the_deadline_and_not_before(passed, over):
    assert MICROSOFT.is_over(SINCE, SINCE + passed) is over


def test_tenants_that_began_together_are_not_probed_together():
    random = Random(1)
    now = SINCE + timedelta(minutes=30)
    dues = [GOOGLE.next_probe(SINCE, now, random.random) - now for _ in range(1000)]
    assert len(set(dues)) == 1000
    assert timedelta(minutes=7.5) <= min(dues) < timedelta(minutes=7.6)
    assert timedelta(minutes=12.4) < max(dues) < timedelta(minutes=12.5)
    for minute in (8, 9, 10, 11):
        meanwhile = [
            due
            for due in dues
            if timedelta(0) <= due - timedelta(minutes=minute) < timedelta(minutes=1)
        ]
        assert 130 < len(meanwhile) < 270


@pytest.mark.parametrize(
    ("rest", "wait"),
    [
        (timedelta(seconds=1), timedelta(minutes=2)),
        (timedelta(minutes=20), timedelta(minutes=20)),
        (timedelta(hours=3), timedelta(hours=2) - timedelta(minutes=6)),
    ],
)
def test_what_the_other_side_asks_for_is_kept_up_to_the_deadline(rest, wait):
    now = SINCE + timedelta(minutes=6)
    assert MICROSOFT.next_probe(SINCE, now, middle, rest) == now + wait
