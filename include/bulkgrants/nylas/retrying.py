"""When a failed call is sent again, and after how long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from bulkgrants.errors import BulkgrantsError, Retriable, Unavailable
from bulkgrants.nylas.calls import Call
from bulkgrants.ports import AsyncSender, Chance, Pause, Sender

T = TypeVar("T")

BASE_DELAY = 1.0
"""Seconds; the longest first wait."""
LONGEST_DELAY = 30.0
"""Seconds; no wait of our own choosing is longer."""
MAX_ATTEMPTS = 6

BlockingPause = Callable[[float], None]
"""Wait so many seconds, as `time.sleep` does."""


def next_delay(
    error: BulkgrantsError, attempt: int, chance: Chance, *, max_attempts: int = MAX_ATTEMPTS
) -> float | None:
    """The seconds to wait before the next attempt, or None where there shall be none.

    `attempt` is the number of those already made. What the other side asked for is honoured as it
    stands. Else the wait is drawn evenly from zero to a bound that doubles each time, so that many
    callers who failed together do not come back together.
    """
    if not isinstance(error, Retriable) or attempt >= max_attempts:
        return None
    if error.after is not None:
        return error.after
    return chance() * min(LONGEST_DELAY, BASE_DELAY * 2.0 ** (attempt - 1))


def may_repeat(call: Call[T], error: BulkgrantsError) -> bool:
    """Whether the call may be sent again: not blindly, where it may have taken effect."""
    return call.replayable or not isinstance(error, Unavailable)


def _wait_before_repeating(
    call: Call[T], error: BulkgrantsError, attempt: int, chance: Chance
) -> float:
    """The seconds to wait; raises the error where the call is not repeated."""
    delay = next_delay(error, attempt, chance) if may_repeat(call, error) else None
    if delay is None:
        raise error
    return delay


def send_with_retries(
    sender: Sender,
    call: Call[T],
    *,
    pause: BlockingPause = time.sleep,
    chance: Chance = random.random,
) -> T:
    """Send the call until it succeeds, or raise the error that ended the attempts."""
    attempt = 0
    while True:
        attempt += 1
        try:
            return sender.send(call)
        except BulkgrantsError as error:
            delay = _wait_before_repeating(call, error, attempt, chance)
        pause(delay)


async def send_with_retries_async(
    sender: AsyncSender, call: Call[T], *, pause: Pause, chance: Chance = random.random
) -> T:
    """`send_with_retries` for an event loop."""
    attempt = 0
    while True:
        attempt += 1
        try:
            return await sender.send(call)
        except BulkgrantsError as error:
            delay = _wait_before_repeating(call, error, attempt, chance)
        await pause(delay)


@dataclass(frozen=True, slots=True)
class PatientSender:
    """A sender that retries, for work that makes a few calls one after the other."""

    sender: Sender
    pause: BlockingPause = field(default=time.sleep)
    chance: Chance = field(default=random.random)

    def send(self, call: Call[T]) -> T:
        """`send_with_retries`."""
        return send_with_retries(self.sender, call, pause=self.pause, chance=self.chance)
