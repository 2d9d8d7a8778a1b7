"""Sends calls at the slots of the shared rate budget, and repeats them if that may help.

A sender sends one call once. Code that makes a few calls one after the other uses `PatientSender`
around `PacedSender`; code on an event loop uses `Pacer` with `send_patiently`. Tenacity runs the
loop over attempts (docs/decisions/0012-tenacity-runs-the-loop-of-retries.md).
"""

from __future__ import annotations

import asyncio
import gc
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
)

from bulkgrants.errors import (
    KeyDoubted,
    RateLimited,
    RequestRefused,
    Retriable,
    Throttle,
    Unavailable,
)
from bulkgrants.ledger.budgets import Budget
from bulkgrants.nylas.calls import Call, list_connectors
from bulkgrants.ports import Chance, Pause

T = TypeVar("T")

BASE_DELAY = 1.0
"""Seconds; the upper bound of the first wait."""
LONGEST_DELAY = 30.0
"""Seconds; the longest wait unless the other side asks for a longer one."""
MAX_ATTEMPTS = 6

_AHEAD = 0.1
"""Seconds of slots that a process takes at a time. That takes few trips to the ledger, and when the
process ends, only a few slots are lost to the others."""
_TOO_LATE = 0.02
"""Seconds after which a slot is given up. If calls that were held up were all sent at once, or in
the slots of other processes, Nylas would get more of them in one second than it accepts."""
_REMEMBERED = 16
"""How many of the last trips to the ledger are used to compare the two clocks."""
_CONFIRM_AHEAD = 0.05
"""Seconds before its slot at which a call's right to leave is confirmed, so that it is not late."""
_CONFIRMED_FOR = 0.1
"""Seconds for which one trip to the ledger confirms the right of all calls of a sender."""
_AFTER_REFUSAL = 1.0
"""Seconds that every process waits after a 429 from Nylas without `Retry-After`: Nylas counts calls
per second."""

BlockingPause = Callable[[float], None]
"""Waits the given number of seconds, like `time.sleep`."""


class Sender(Protocol):
    """Sends one call once, and returns the value that its parser reads from the answer.

    Raises the errors of `bulkgrants.errors`; never retries.
    """

    def send(self, call: Call[T]) -> T:
        """Send the request and read its answer."""
        ...


class AsyncSender(Protocol):
    """`Sender` for an event loop."""

    async def send(self, call: Call[T]) -> T:
        """Send the request and read its answer."""
        ...


def next_delay(error: BaseException | None, attempt: int, chance: Chance) -> float | None:
    """The seconds to wait before the next attempt, or None if there should be no other.

    `attempt` is the number of attempts already made. If the other side asked for a wait, it is kept
    exactly. Otherwise the wait is a random time up to a bound that doubles with each attempt, so
    that callers that failed together do not all come back together.
    """
    if not isinstance(error, Retriable) or attempt >= MAX_ATTEMPTS:
        return None
    if error.after is not None:
        return error.after
    return chance() * min(LONGEST_DELAY, BASE_DELAY * 2.0 ** (attempt - 1))


def may_repeat(call: Call[T], error: BaseException) -> bool:
    """Whether the call may be sent again; not if it may have taken effect and is not replayable."""
    if not isinstance(error, Retriable):
        return False
    return call.replayable or not isinstance(error, Unavailable)


def _attempts(call: Call[T], chance: Chance) -> dict[str, Any]:
    """Tells tenacity when to repeat a call, and after how long."""

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
    """A sender that retries, for code that makes a few calls one after the other."""

    sender: Sender
    pause: BlockingPause = field(default=time.sleep)
    chance: Chance = field(default=random.random)

    def send(self, call: Call[T]) -> T:
        """Send the call until it succeeds, or raise the error that ended the attempts."""
        retrying = Retrying(sleep=self.pause, **_attempts(call, self.chance))
        answer: T = retrying(self.sender.send, call)
        return answer


class PacedSender(Sender):
    """A sender for code that makes a few calls one after the other; it keeps to the rate budget.

    If an answer may be about the mailbox or about the API key, it asks Nylas whether it accepts the
    key.
    """

    def __init__(
        self, sender: Sender, budget: Budget, *, longest_wait: float = float("inf")
    ) -> None:
        self._sender = sender
        self._budget = budget
        self._longest_wait = longest_wait

    def send(self, call: Call[T]) -> T:
        """Wait for a slot, then send once. Raises what the inner sender raises.

        Raises RateLimited, and sends nothing, if the slot is more than `longest_wait` seconds away.
        """
        wait = self._budget.reserve(1).first_in
        if wait > self._longest_wait:
            raise RateLimited(
                f"The application's rate budget has no slot for {wait:.0f} seconds, because Nylas "
                "asked for a pause; nothing was sent.",
                throttle=Throttle.NYLAS,
                after=wait,
            )
        time.sleep(wait)
        try:
            return self._sender.send(call)
        except RateLimited as error:
            if error.throttle is Throttle.NYLAS:
                self._budget.refused(_pause(error))
            raise
        except KeyDoubted as error:
            with suppress(RequestRefused):  # that, too, is an answer to an accepted key
                self.send(list_connectors(1))
            raise error.refusal from None


@contextmanager
def undisturbed() -> Iterator[None]:
    """Limit the garbage collector to the objects that the block itself makes.

    In a task's process Airflow holds half a million objects. The collector goes through them again
    and again, for 0.1 to 0.3 seconds each time, and meanwhile slots pass unused.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@dataclass(frozen=True, slots=True)
class Condition:
    """What has to hold when a call leaves. Its slot may be an hour away when it begins to wait."""

    confirm: Callable[[], None]
    """Asks the ledger for the right to send; called in a thread, shortly before the slot."""
    check: Callable[[], None] | None = None
    """Called in the slot, just before the call leaves; must be quick. None checks nothing."""


_condition: ContextVar[Condition | None] = ContextVar("condition", default=None)


@contextmanager
def only_while(condition: Condition) -> Iterator[None]:
    """Let the calls that are sent in the block leave only while the condition holds.

    What `confirm` or `check` raises is raised instead of sending. The condition reaches the `Pacer`
    through any sender around it; a sender without slots ignores it.
    """
    token = _condition.set(condition)
    try:
        yield
    finally:
        _condition.reset(token)


class Pacer(AsyncSender):
    """A sender for one event loop that keeps to the application's rate budget.

    If an answer may be about the mailbox or about the API key, it asks Nylas whether it accepts the
    key; answers that come while it asks share the question.
    """

    def __init__(self, sender: AsyncSender, budget: Budget) -> None:
        self._sender = sender
        self._budget = budget
        self._slots: deque[float] = deque()
        self._leads: deque[float] = deque(maxlen=_REMEMBERED)
        self._turn = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._key_accepted = -math.inf
        """When the last call with an accepted key was sent, on this process's monotonic clock."""
        self._confirmed_at = -_CONFIRMED_FOR

    async def send(self, call: Call[T]) -> T:
        """Wait for a slot, then send once. Raises what the inner sender and `only_while` raise."""
        await self._wait()
        condition = _condition.get()
        if condition is not None and condition.check is not None:
            condition.check()
        try:
            return await self._sender.send(call)
        except RateLimited as error:
            if error.throttle is Throttle.NYLAS:
                self._slots.clear()
                await asyncio.to_thread(self._budget.refused, _pause(error))
            raise
        except KeyDoubted as error:
            await self._require_key(time.monotonic())
            raise error.refusal from None

    async def _require_key(self, doubted: float) -> None:
        """Make sure that Nylas accepts the key now. Raises ApiKeyRefused, or a Retriable error."""
        async with self._asking:
            if self._key_accepted >= doubted:
                return
            asked = time.monotonic()
            with suppress(RequestRefused):  # that, too, is an answer to an accepted key
                await self.send(list_connectors(1))
            self._key_accepted = asked

    async def _wait(self) -> None:
        """Wait for a slot and wake up in time for it; a busy event loop may wake up too late.

        Each missed slot doubles the delay that is accepted, or a slow machine would never send.
        """
        too_late = _TOO_LATE
        while True:
            slot = await self._next()
            await asyncio.sleep(max(0.0, slot - time.monotonic() - _CONFIRM_AHEAD))
            await self._confirm()
            await asyncio.sleep(max(0.0, slot - time.monotonic()))
            if time.monotonic() - slot <= too_late:
                return
            too_late *= 2

    async def _confirm(self) -> None:
        now, condition = time.monotonic(), _condition.get()
        if condition is not None and now - self._confirmed_at >= _CONFIRMED_FOR:
            await asyncio.to_thread(condition.confirm)
            self._confirmed_at = now

    async def _next(self) -> float:
        """The next slot, on this process's monotonic clock; one caller at a time."""
        async with self._turn:
            if not self._leads:  # the first trip opens a connection, so it is slower than others
                await self._take(0)
                await self._take(0)
            if not self._slots:
                await self._take(max(1, round(self._budget.ceiling * _AHEAD)))
            return self._slots.popleft()

    async def _take(self, count: int) -> None:
        """Take slots from the ledger; with a count of 0, only compare the two clocks.

        Every trip shows how far this process's clock is ahead of the database's, plus the time that
        the answer took. The fastest of the last trips is the most exact one; it is used so that a
        slow trip does not shift slots into those of other processes.
        """
        taken = await asyncio.to_thread(self._budget.reserve, count)
        self._leads.append(time.monotonic() - taken.asked_at)
        begin = taken.asked_at + min(self._leads)
        self._slots.extend(begin + wait for wait in taken.waits())


def _pause(error: RateLimited) -> float:
    return _AFTER_REFUSAL if error.after is None else error.after
