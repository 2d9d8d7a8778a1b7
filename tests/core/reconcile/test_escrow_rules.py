"""How long a mailbox that was refused, or not served, is left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bulkgrants.model import NotGranted, NotServed, OpenChange, Outcome
from bulkgrants.reconcile.escrow import (
    GIVEN_UP_AFTER,
    UNSERVED_FOR,
    after_refusal,
    after_silence,
    escrow_until,
    silent_for_too_long,
)

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
CHANGE = OpenChange(1, "create", "google", "a@acme.example.com", "acme", "mail", "cred-1", 1)


def refusal(at=NOW, change=CHANGE, *, concerns_mailbox=True) -> NotGranted:
    return NotGranted(change, Outcome.REFUSED, "mailbox_unknown", "404", "no", at, concerns_mailbox)


def silence(at=NOW, change=CHANGE) -> NotServed:
    return NotServed(change, "not_served", "not_served", "HTTP 504", at)


@pytest.mark.parametrize(
    ("refusals", "hours"), [(1, 6), (2, 12), (3, 23), (4, 23), (9, 23), (10_000, 23)]
)
def test_the_wait_grows_until_a_nightly_run_retries_every_night(refusals, hours):
    assert escrow_until(refusals, NOW, NOW) == NOW + timedelta(hours=hours)


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
    assert (escrow_until(4, NOW - since, NOW) is None) == given_up


def test_a_reason_that_is_not_the_mailboxs_own_is_never_given_up():
    since = NOW - 10 * GIVEN_UP_AFTER
    due = escrow_until(300, since, NOW, concerns_mailbox=False)
    assert due == NOW + timedelta(hours=23)
    record = after_refusal(refusal(since), None)
    assert after_refusal(refusal(NOW), record).due_at is None
    assert after_refusal(refusal(NOW, concerns_mailbox=False), record).due_at is not None


def test_refusals_of_the_same_row_add_up():
    first = after_refusal(refusal(), None)
    assert (first.refusals, first.first_refused_at) == (1, NOW)
    later = after_refusal(refusal(NOW + timedelta(hours=8)), first)
    assert (later.refusals, later.first_refused_at) == (2, NOW)
    assert later.due_at == NOW + timedelta(hours=8 + 12)


@pytest.mark.parametrize(
    "changed", [{"scopes": "mail calendar"}, {"credential_id": "cred-2"}, {"tenant": "umbrella"}]
)
def test_a_changed_row_or_credential_starts_anew(changed):
    old = after_refusal(refusal(NOW - 2 * GIVEN_UP_AFTER), None)
    anew = after_refusal(refusal(change=replace(CHANGE, **changed)), old)
    assert (anew.refusals, anew.first_refused_at) == (1, NOW)
    silent = after_silence(silence(NOW - UNSERVED_FOR), None)
    assert silent_for_too_long(silence(change=replace(CHANGE, **changed)), silent) is None


def test_a_mailbox_that_is_not_served_stays_due_for_some_nights_and_is_then_refused():
    record = None
    for hours in (0, 1, 24, 39):
        at = NOW + timedelta(hours=hours)
        assert silent_for_too_long(silence(at), record) is None
        record = after_silence(silence(at), record)
        assert (record.due_at, record.refusals, record.first_refused_at) == (at, 0, NOW)
    ending = silent_for_too_long(silence(NOW + UNSERVED_FOR), record)
    assert (ending.outcome, ending.reason) == (Outcome.REFUSED, "not_served")
    assert "HTTP 504" in ending.message
    refused = after_refusal(ending, record)
    assert refused.due_at == NOW + UNSERVED_FOR + timedelta(hours=6)
    again = silence(refused.due_at)
    assert after_refusal(silent_for_too_long(again, refused), refused).refusals == 2


def test_a_refusal_of_another_kind_is_no_silence():
    refused = after_refusal(refusal(NOW - timedelta(days=20)), None)
    assert silent_for_too_long(silence(), refused) is None
    assert after_silence(silence(), refused).first_refused_at == NOW
