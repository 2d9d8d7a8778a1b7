"""Sends each call at a slot of the shared budget, and tells the budget what Nylas refuses."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from bulkgrants.errors import RateLimited, Throttle
from bulkgrants.ledger.budgets import Budget
from bulkgrants.nylas.calls import Call
from bulkgrants.ports import AsyncSender, Sender

T = TypeVar("T")

_AHEAD = 0.1
"""Seconds of slots that a process takes at a time: few trips to the ledger, and few slots lost to
everybody when the process ends."""
_TOO_LATE = 0.02
"""Seconds after which a slot is let go. What piled up in a stall, if sent in one burst or into the
slots of other processes, would be more than Nylas lets through in some second."""
_REMEMBERED = 16
"""Trips to the ledger by which the two clocks are compared."""
_AFTER_REFUSAL = 1.0
"""Seconds that everybody waits after a 429 of Nylas that names no time; its window is a second."""


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
    """The block's own objects alone are looked through for garbage while it lasts.

    In a task's process Airflow holds half a million more. To walk through them takes a tenth of a
    second or three, again and again, in which slots pass unused.
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
        """Until a slot that is met in time; a loop that was held up wakes all its sleepers late.

        Each slot that was missed doubles the patience, or a slow machine would never send.
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
        """Slots from the ledger; none are taken where only the clocks are to be compared.

        Every trip shows how far this process's clock is ahead of the database's, with the time
        added that the answer took. The quickest of the last ones is nearest, so that a slow trip
        moves no slot into those of other processes.
        """
        taken = await asyncio.to_thread(self._budget.reserve, count)
        self._leads.append(time.monotonic() - taken.asked_at)
        begin = taken.asked_at + min(self._leads)
        self._slots.extend(begin + wait for wait in taken.waits())


def _pause(error: RateLimited) -> float:
    return _AFTER_REFUSAL if error.after is None else error.after
