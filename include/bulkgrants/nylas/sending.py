"""How calls are sent: each at a slot of the shared rate budget, and again where that may help.

A sender sends one call once. Work that makes a few calls one after the other uses `PatientSender`
over `PacedSender`; work on an event loop uses `Pacer` with `send_patiently`. The loop over attempts
is tenacity's (docs/decisions/0012-tenacity-runs-the-loop-of-retries.md).
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
)

from bulkgrants.errors import RateLimited, Retriable, Throttle, Unavailable
from bulkgrants.ledger.budgets import Budget
from bulkgrants.nylas.calls import Call
from bulkgrants.ports import Chance, Pause

T = TypeVar("T")

BASE_DELAY = 1.0
"""Seconds; the longest first wait."""
LONGEST_DELAY = 30.0
"""Seconds; the longest wait that the other side did not ask for."""
MAX_ATTEMPTS = 6

_AHEAD = 0.1
"""Seconds of slots that a process takes at a time: few trips to the ledger, and few slots lost to
the other processes when it ends."""
_TOO_LATE = 0.02
"""Seconds after which a slot is given up. Calls that piled up in a stall and were sent at once, or
in the slots of other processes, would be more than Nylas takes in one second."""
_REMEMBERED = 16
"""Trips to the ledger by which the two clocks are compared."""
_AFTER_REFUSAL = 1.0
"""Seconds that every process waits after a 429 of Nylas that names no time; its window is 1 s."""

BlockingPause = Callable[[float], None]
"""Wait so many seconds, as `time.sleep` does."""


class Sender(Protocol):
    """Sends one call once, and returns what its parser made of the answer.

    Raises the errors of `bulkgrants.errors`; never retries.
    """

    def send(self, call: Call[T]) -> T:
        """One exchange."""
        ...


class AsyncSender(Protocol):
    """`Sender` for an event loop."""

    async def send(self, call: Call[T]) -> T:
        """One exchange."""
        ...


def next_delay(error: BaseException | None, attempt: int, chance: Chance) -> float | None:
    """The seconds to wait before the next attempt, or None where there is to be none.

    `attempt` is the number of attempts already made. What the other side asked for is honoured
    exactly. Otherwise the wait is drawn evenly from zero to a bound that doubles each time, so that
    many callers who failed together do not come back together.
    """
    if not isinstance(error, Retriable) or attempt >= MAX_ATTEMPTS:
        return None
    if error.after is not None:
        return error.after
    return chance() * min(LONGEST_DELAY, BASE_DELAY * 2.0 ** (attempt - 1))


def may_repeat(call: Call[T], error: BaseException) -> bool:
    """Whether the call may be sent again: not blindly, where it may have taken effect."""
    if not isinstance(error, Retriable):
        return False
    return call.replayable or not isinstance(error, Unavailable)


def _attempts(call: Call[T], chance: Chance) -> dict[str, Any]:
    """When tenacity repeats a call, and after how long."""

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return next_delay(error, state.attempt_number, chance) or 0.0

    return {
        "retry": retry_if_exception(lambda error: may_repeat(call, error)),
        "stop": stop_after_attempt(MAX_ATTEMPTS),
        "wait": wait,
        "reraise": True,
    }


async def send_patiently(
    sender: AsyncSender,
    call: Call[T],
    *,
    pause: Pause = asyncio.sleep,
    chance: Chance = random.random,
) -> T:
    """Send the call until it succeeds, or raise the error that ended the attempts."""
    retrying = AsyncRetrying(sleep=pause, **_attempts(call, chance))
    answer: T = await retrying(sender.send, call)
    return answer


@dataclass(frozen=True, slots=True)
class PatientSender:
    """A sender that retries, for work that makes a few calls one after the other."""

    sender: Sender
    pause: BlockingPause = field(default=time.sleep)
    chance: Chance = field(default=random.random)

    def send(self, call: Call[T]) -> T:
        """Send the call until it succeeds, or raise the error that ended the attempts."""
        retrying = Retrying(sleep=self.pause, **_attempts(call, self.chance))
        answer: T = retrying(self.sender.send, call)
        return answer


class PacedSender(Sender):
    """A Sender for work that makes a few calls one after the other, within the same budget."""

    def __init__(self, sender: Sender, budget: Budget) -> None:
        self._sender = sender
        self._budget = budget

    def send(self, call: Call[T]) -> T:
        """Wait for a slot, then one exchange. Raises what the sender raises."""
        time.sleep(self._budget.reserve(1).first_in)
        try:
            return self._sender.send(call)
        except RateLimited as error:
            if error.throttle is Throttle.NYLAS:
                self._budget.refused(_pause(error))
            raise


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep the garbage collector to the objects that the block itself makes.

    In a task's process Airflow holds half a million objects. The collector walks through them again
    and again, for 0.1 to 0.3 seconds each time, in which slots pass unused.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class Pacer(AsyncSender):
    """An AsyncSender for one event loop that keeps to the application's budget."""

    def __init__(self, sender: AsyncSender, budget: Budget) -> None:
        self._sender = sender
        self._budget = budget
        self._slots: deque[float] = deque()
        self._leads: deque[float] = deque(maxlen=_REMEMBERED)
        self._turn = asyncio.Lock()

    async def send(self, call: Call[T]) -> T:
        """Wait for a slot, then one exchange. Raises what the sender raises."""
        await self._wait()
        try:
            return await self._sender.send(call)
        except RateLimited as error:
            if error.throttle is Throttle.NYLAS:
                self._slots.clear()
                await asyncio.to_thread(self._budget.refused, _pause(error))
            raise

    async def _wait(self) -> None:
        """Wait for a slot that is met in time; a loop that was held up wakes its sleepers late.

        Each missed slot doubles the delay that is accepted, or a slow machine would never send.
        """
        too_late = _TOO_LATE
        while True:
            slot = await self._next()
            await asyncio.sleep(max(0.0, slot - time.monotonic()))
            if time.monotonic() - slot <= too_late:
                return
            too_late *= 2

    async def _next(self) -> float:
        """The next slot, on this process's monotonic clock; asked for in turn."""
        async with self._turn:
            if not self._leads:  # the first trip opens a connection, and would tell of its delay
                await self._take(0)
                await self._take(0)
            if not self._slots:
                await self._take(max(1, round(self._budget.ceiling * _AHEAD)))
            return self._slots.popleft()

    async def _take(self, count: int) -> None:
        """Take slots from the ledger; with a count of 0, only compare the two clocks.

        Every trip shows how far this process's clock is ahead of the database's, plus the time that
        the answer took. The quickest of the last trips is the closest, so that a slow trip does not
        move slots into those of other processes.
        """
        taken = await asyncio.to_thread(self._budget.reserve, count)
        self._leads.append(time.monotonic() - taken.asked_at)
        begin = taken.asked_at + min(self._leads)
        self._slots.extend(begin + wait for wait in taken.waits())


def _pause(error: RateLimited) -> float:
    return _AFTER_REFUSAL if error.after is None else error.after
