from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkgrants.errors import (
    ApiKeyRefused,
    RateLimited,
    Refused,
    RequestRefused,
    Throttle,
    Unavailable,
)
from bulkgrants.model import Provider
from bulkgrants.nylas.calls import create_connector, list_grants
from bulkgrants.nylas.sending import MAX_ATTEMPTS, PatientSender, next_delay, send_patiently
from bulkgrants.refusals import UNKNOWN_REFUSAL

CALL = list_grants()
LOST = Unavailable("lost")


def throttled(after=None):
    return RateLimited("slow", throttle=Throttle.NYLAS, after=after)


class Answers:
    """A sender that returns or raises the given results, one after the other."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.sent = []

    def send(self, call):
        self.sent.append(call)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class AsyncAnswers(Answers):
    async def send(self, call):
        return super().send(call)


@pytest.mark.parametrize(
    ("attempt", "longest"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 16.0)]
)
def test_the_longest_wait_doubles(attempt, longest):
    assert next_delay(LOST, attempt, lambda: 1.0) == longest
    assert next_delay(LOST, attempt, lambda: 0.0) == 0.0
    assert next_delay(LOST, attempt, lambda: 0.5) == longest / 2


def test_our_own_waits_are_never_longer_than_half_a_minute():
    assert max(next_delay(LOST, n, lambda: 1.0) for n in range(1, MAX_ATTEMPTS)) <= 30.0


@given(st.floats(0, 3600), st.integers(1, MAX_ATTEMPTS - 1), st.floats(0, 1, exclude_max=True))
def test_a_wait_that_the_other_side_asks_for_is_kept_exactly(after, attempt, chance):
    assert next_delay(throttled(after), attempt, lambda: chance) == after


@pytest.mark.parametrize(
    "error",
    [
        ApiKeyRefused("no"),
        RequestRefused("no"),
        Refused("no", known=UNKNOWN_REFUSAL),
    ],
)
def test_a_call_that_cannot_succeed_is_not_retried(error):
    assert next_delay(error, 1, lambda: 0.5) is None
    sender = Answers(error)
    with pytest.raises(type(error)):
        PatientSender(sender, lambda _: None).send(CALL)
    assert len(sender.sent) == 1


def test_attempts_end_with_the_last_error():
    sender, pauses = Answers(*[LOST] * 9), []
    with pytest.raises(Unavailable):
        PatientSender(sender, pauses.append, lambda: 1.0).send(CALL)
    assert len(sender.sent) == MAX_ATTEMPTS
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_the_answer_ends_the_attempts():
    pauses = []
    sender = PatientSender(Answers(throttled(7.0), LOST, "grant"), pauses.append, lambda: 0.5)
    assert sender.send(CALL) == "grant"
    assert pauses == [7.0, 1.0]


def test_a_call_that_may_have_taken_effect_is_not_repeated_blindly():
    call = create_connector(Provider.GOOGLE, "id", "hush")
    sender = Answers(LOST, "connector")
    with pytest.raises(Unavailable):
        PatientSender(sender, lambda _: None).send(call)
    assert PatientSender(Answers(throttled(), "connector"), lambda _: None).send(call)


async def test_retries_on_an_event_loop_wait_in_the_same_way():
    sender, pauses = AsyncAnswers(throttled(3.0), LOST, "grant"), []

    async def pause(seconds):
        pauses.append(seconds)

    assert await send_patiently(sender, CALL, pause=pause, chance=lambda: 1.0) == "grant"
    assert pauses == [3.0, 2.0]


async def test_retries_on_an_event_loop_end_in_the_same_way():
    sender = AsyncAnswers(*[LOST] * 9)

    async def pause(seconds):
        pass

    with pytest.raises(Unavailable):
        await send_patiently(sender, CALL, pause=pause, chance=lambda: 0.0)
    assert len(sender.sent) == MAX_ATTEMPTS
