"""How long a mailbox that was refused, or not served, is left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bulkgrants.model import NotGranted, NotServed, OpenChange, Outcome
from bulkgrants.reconcile.escrow import (
    FEWEST_REFUSALS,
    GIVEN_UP_AFTER,
    UNSERVED_ALONE,
    UNSERVED_FOR,
    after_refusal,
    after_silence,
    escrow_until,
    silent_for_too_long,
)

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
CHANGE = OpenChange(1, "create", "google", "a@acme.example.com", "acme", "mail", "cred-1", 1)


def refusal(at=NOW, change=CHANGE, *, lasting=True) -> NotGranted:
    return NotGranted(change, Outcome.REFUSED, "mailbox_unknown", "404", "no", at, lasting)


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
    assert (escrow_until(28, NOW - since, NOW) is None) == given_up


def test_a_mailbox_that_was_refused_only_now_and_then_is_not_given_up():
    long_ago = NOW - 3 * GIVEN_UP_AFTER
    assert escrow_until(FEWEST_REFUSALS - 1, long_ago, NOW) is not None
    assert escrow_until(FEWEST_REFUSALS, long_ago, NOW) is None


def silent_end(one: NotServed, before, *, served: bool = True) -> NotGranted | None:
    answered_at = NOW if served else None
    return silent_for_too_long(one, before, tenant_answered_at=answered_at)


def test_a_reason_that_is_not_the_mailboxs_own_is_never_given_up():
    since = NOW - 10 * GIVEN_UP_AFTER
    assert escrow_until(300, since, NOW, lasting=False) == NOW + timedelta(hours=23)
    record = replace(after_refusal(refusal(since), None), refusals=300)
    assert after_refusal(refusal(), record).due_at is None
    assert after_refusal(refusal(lasting=False), record).due_at is not None


def test_refusals_for_the_same_reason_add_up():
    first = after_refusal(refusal(), None)
    assert (first.refusals, first.first_refused_at) == (1, NOW)
    later = after_refusal(refusal(NOW + timedelta(hours=8)), first)
    assert (later.refusals, later.first_refused_at) == (2, NOW)
    assert later.due_at == NOW + timedelta(hours=8 + 12)
    other = replace(refusal(NOW + timedelta(days=1)), reason="consent_missing")
    assert after_refusal(other, later).refusals == 1


@pytest.mark.parametrize(
    "changed", [{"scopes": "mail calendar"}, {"credential_id": "cred-2"}, {"tenant": "umbrella"}]
)
def test_a_changed_row_or_credential_starts_anew(changed):
    old = after_refusal(refusal(NOW - 2 * GIVEN_UP_AFTER), None)
    anew = after_refusal(refusal(change=replace(CHANGE, **changed)), old)
    assert (anew.refusals, anew.first_refused_at) == (1, NOW)
    silent = after_silence(silence(NOW - UNSERVED_ALONE), None)
    assert silent_end(silence(change=replace(CHANGE, **changed)), silent) is None


@pytest.mark.parametrize(("served", "limit"), [(True, UNSERVED_FOR), (False, UNSERVED_ALONE)])
def test_a_mailbox_that_is_not_served_stays_due_for_a_while_and_is_then_refused(served, limit):
    record = None
    for at in (NOW, NOW + limit / 2, NOW + limit - timedelta(seconds=1)):
        assert silent_end(silence(at), record, served=served) is None
        record = after_silence(silence(at), record)
        assert (record.due_at, record.refusals, record.first_refused_at) == (NOW, 0, NOW)
    ending = silent_end(silence(NOW + limit), record, served=served)
    assert (ending.outcome, ending.reason) == (Outcome.REFUSED, "not_served")
    refused = after_refusal(ending, record)
    assert refused.due_at == NOW + limit + timedelta(hours=6)
    again = silent_end(silence(refused.due_at), refused)
    assert after_refusal(again, refused).refusals == 2


def test_an_answer_of_before_the_silence_does_not_show_that_the_tenant_is_served():
    record = after_silence(silence(), None)
    late = silence(NOW + UNSERVED_FOR)
    before, with_it = NOW - timedelta(days=1), NOW - timedelta(hours=1)
    assert silent_for_too_long(late, record, tenant_answered_at=before) is None
    assert silent_for_too_long(late, record, tenant_answered_at=with_it) is not None


def test_a_silence_that_followed_a_refusal_does_not_begin_anew_once_it_was_refused_too():
    refused = after_refusal(refusal(), None)
    at = refused.due_at + UNSERVED_FOR
    record = after_refusal(silent_end(silence(at), refused), refused)
    assert (record.reason, record.refusals, record.first_refused_at) == ("not_served", 1, at)
    assert silent_end(silence(at + timedelta(days=1)), record, served=False) is not None


def test_a_mailbox_that_is_not_served_is_never_given_up():
    record = after_silence(silence(NOW - 9 * GIVEN_UP_AFTER), None)
    for days in range(60):
        at = NOW + timedelta(days=days)
        record = after_refusal(silent_end(silence(at), record), record)
    assert record.due_at is not None


def test_one_silent_night_does_not_erase_why_a_mailbox_was_refused():
    refused = after_refusal(refusal(NOW - timedelta(days=1)), None)
    assert after_silence(silence(), refused) == refused
    assert silent_end(silence(), refused) is None
    assert silent_end(silence(refused.due_at + UNSERVED_FOR), refused) is not None
    assert after_refusal(refusal(NOW + timedelta(days=1)), refused).refusals == 2
