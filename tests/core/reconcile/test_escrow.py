"""When a refused mailbox is due again."""

from datetime import UTC, datetime, timedelta

import pytest

from bulkgrants.ledger.escrow import GIVEN_UP_AFTER, due_after

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("refusals", "hours"), [(1, 6), (2, 12), (3, 23), (4, 23), (9, 23), (10_000, 23)]
)
def test_the_wait_grows_to_what_a_nightly_run_takes_for_a_day(refusals, hours):
    assert due_after(refusals, NOW, NOW) == NOW + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("since", "given_up"),
    [
        (timedelta(), False),
        (GIVEN_UP_AFTER - timedelta(seconds=1), False),
        (GIVEN_UP_AFTER, True),
        (2 * GIVEN_UP_AFTER, True),
    ],
)
def test_a_mailbox_is_given_up_28_days_after_its_first_refusal(since, given_up):
    assert timedelta(days=28) == GIVEN_UP_AFTER
    assert (due_after(4, NOW - since, NOW) is None) == given_up
