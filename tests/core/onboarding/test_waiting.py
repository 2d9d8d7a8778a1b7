"""What comes next for a consent that was asked for, at every moment of its wait."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkgrants.model import Consent, ConsentStatus, OAuthError
from bulkgrants.onboarding.waiting import (
    AwaitAnswer,
    Declined,
    Expired,
    Given,
    MakeLink,
    Terms,
    next_step,
    without_stale,
)

BEGUN = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TERMS = Terms(link=14 * DAY, reminders=(3 * DAY, 7 * DAY), give_up=30 * DAY)


def asked(at=BEGUN, status=ConsentStatus.PENDING, terms=TERMS, error=""):
    return Consent(
        consent_id=1,
        application="app-1",
        tenant="acme",
        credential_id="cred-1",
        microsoft_tenant="common",
        redirect_uri="https://airflow.example.com/bulkgrants/consent",
        state_hash="",
        status=status,
        requested_at=at,
        expires_at=at + terms.link,
        answered_at=None,
        error=OAuthError(error),
    )


REMINDED = [asked(), asked(BEGUN + 3 * DAY)]
TWICE = [*REMINDED, asked(BEGUN + 7 * DAY)]


@pytest.mark.parametrize(
    ("before", "after", "step"),
    [
        ([], 0 * DAY, MakeLink(is_reminder=False)),
        ([asked()], 0 * DAY, AwaitAnswer(BEGUN + 3 * DAY)),
        ([asked()], 3 * DAY - timedelta(microseconds=1), AwaitAnswer(BEGUN + 3 * DAY)),
        ([asked()], 3 * DAY, MakeLink(is_reminder=True)),
        (REMINDED, 3 * DAY, AwaitAnswer(BEGUN + 7 * DAY)),
        (REMINDED, 7 * DAY, MakeLink(is_reminder=True)),
        (TWICE, 7 * DAY, AwaitAnswer(BEGUN + 21 * DAY)),
        (TWICE, 21 * DAY, MakeLink(is_reminder=True)),
        ([*TWICE, asked(BEGUN + 21 * DAY)], 21 * DAY, AwaitAnswer(BEGUN + 30 * DAY)),
        ([asked()], 8 * DAY, MakeLink(is_reminder=True)),
        ([asked(), asked(BEGUN + 8 * DAY)], 8 * DAY, AwaitAnswer(BEGUN + 22 * DAY)),
        (TWICE, 30 * DAY, Expired(30 * DAY)),
        ([asked()], 300 * DAY, Expired(30 * DAY)),
    ],
)
def test_each_moment_has_its_next_step(before, after, step):
    assert next_step(before, TERMS, BEGUN + after) == step


def test_a_link_that_expires_before_the_next_reminder_is_replaced():
    terms = replace(TERMS, link=DAY)
    assert next_step([asked(terms=terms)], terms, BEGUN) == AwaitAnswer(BEGUN + DAY)
    assert next_step([asked(terms=terms)], terms, BEGUN + DAY) == MakeLink(is_reminder=True)


def test_reminders_that_were_missed_are_skipped():
    """A triggerer was down for six days, and two reminders were due."""
    terms = replace(TERMS, reminders=tuple(one * DAY for one in range(1, 9)))
    now = BEGUN + 6.5 * DAY
    assert next_step([asked()], terms, now) == MakeLink(is_reminder=True)
    assert next_step([asked(), asked(now)], terms, now) == AwaitAnswer(BEGUN + 7 * DAY)


STALE = [
    ({"credential_id": "cred-0"}, "cred-1", "key-1", True),
    ({"key_id": "key-0"}, "cred-1", "key-1", True),
    ({"key_id": "key-1"}, "cred-1", "key-1", False),
    ({}, "cred-1", "key-1", False),
    ({"credential_id": "cred-0", "key_id": "key-0"}, None, None, False),
]


@pytest.mark.parametrize(("changed", "credential_id", "key_id", "stale"), STALE)
def test_a_link_that_would_not_be_accepted_any_more_is_replaced(
    changed, credential_id, key_id, stale
):
    links = [replace(asked(), **changed)]
    known = without_stale(links, credential_id, key_id)
    expected = MakeLink(is_reminder=True) if stale else AwaitAnswer(BEGUN + 3 * DAY)
    assert next_step(known, TERMS, BEGUN + DAY) == expected
    usable = replace(asked(BEGUN + DAY), key_id="key-1")
    both = without_stale([*links, usable], credential_id, key_id)
    assert next_step(both, TERMS, BEGUN + DAY) == AwaitAnswer(BEGUN + 3 * DAY)


@pytest.mark.parametrize("status", [ConsentStatus.GIVEN, ConsentStatus.REFUSED])
def test_an_answer_does_not_become_stale(status):
    answered = [replace(asked(status=status), credential_id="cred-0", key_id="key-0")]
    assert without_stale(answered, "cred-1", "key-1") == answered


def test_a_stale_link_does_not_lengthen_the_wait():
    stale = without_stale([replace(asked(), credential_id="cred-0")], "cred-1", None)
    assert next_step(stale, TERMS, BEGUN + 30 * DAY) == Expired(30 * DAY)


def test_a_refusal_decides_and_the_last_one_is_reported():
    refused = [
        asked(status=ConsentStatus.REFUSED, error="first"),
        asked(status=ConsentStatus.REFUSED, error="second"),
        asked(),
    ]
    assert next_step(refused, TERMS, BEGUN + 99 * DAY) == Declined(OAuthError("second"))


statuses = st.lists(
    st.sampled_from([one for one in ConsentStatus if one is not ConsentStatus.GIVEN]), max_size=5
)
days = st.floats(0, 60).map(lambda number: timedelta(days=number))


@given(statuses, statuses, days)
def test_one_yes_decides_whatever_the_other_answers_are_and_however_late_it_comes(
    before, behind, after
):
    every = [*before, ConsentStatus.GIVEN, *behind]
    consents = [asked(BEGUN + place * DAY, status) for place, status in enumerate(every)]
    assert next_step(consents, TERMS, BEGUN + after) == Given()


@given(
    st.lists(st.integers(1, 40), max_size=4, unique=True).map(sorted),
    st.integers(1, 20),
    st.integers(1, 40),
    st.lists(st.integers(0, 200), min_size=1, max_size=40).map(sorted),
)
def test_however_rarely_it_is_checked_no_reminder_is_sent_twice_or_forgotten(
    reminders, link, give_up, looks
):
    """Checks are six hours apart or more; what falls due between two of them is one reminder."""
    terms = Terms(link * DAY, tuple(one * DAY for one in reminders), give_up * DAY)
    consents: list[Consent] = []
    for now in (BEGUN + look * DAY / 4 for look in looks):
        step = next_step(consents, terms, now)
        if isinstance(step, MakeLink):
            last = consents[-1] if consents else None
            due = [first_and(consents, one) for one in terms.reminders] if last else []
            assert (
                last is None
                or last.expires_at <= now
                or any(last.requested_at < one <= now for one in due)
            )
            consents.append(asked(now, terms=terms))
            step = next_step(consents, terms, now)
        assert isinstance(step, AwaitAnswer | Expired)
        if isinstance(step, AwaitAnswer):
            due = [first_and(consents, one) for one in terms.reminders]
            assert now < step.until <= consents[0].requested_at + terms.give_up
            assert not any(consents[-1].requested_at < one <= now for one in due)
            assert consents[-1].expires_at > now
        else:
            assert now >= consents[0].requested_at + terms.give_up


def first_and(consents, after):
    return consents[0].requested_at + after
