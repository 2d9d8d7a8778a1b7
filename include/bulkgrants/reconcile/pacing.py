"""Sends each call at a slot of the shared budget, and tells the budget what Nylas refuses."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TypeVar

from bulkgrants.errors import RateLimited, Throttle
from bulkgrants.ledger.budgets import Budget
from bulkgrants.nylas.calls import Call
from bulkgrants.ports import AsyncSender, Sender

T = TypeVar("T")

_AHEAD = 0.25
"""Seconds of slots that a process takes at a time: few trips to the ledger, little hoarded."""
_TOO_LATE = 0.25
"""Seconds after which a slot is let go: what piled up in a stall must not leave in one burst."""
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


class Pacer(AsyncSender):
    """An AsyncSender for one event loop that keeps to the application's budget."""

    def __init__(self, sender: AsyncSender, budget: Budget) -> None:
        self._sender = sender
        self._budget = budget
        self._slots: deque[float] = deque()
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
        while True:
            slot = await self._next()
            delay = slot - time.monotonic()
            if delay > -_TOO_LATE:
                await asyncio.sleep(max(0.0, delay))
                return

    async def _next(self) -> float:
        """The next slot, on this process's monotonic clock; asked for in turn."""
        async with self._turn:
            if not self._slots:
                count = max(1, round(self._budget.ceiling * _AHEAD))
                taken = await asyncio.to_thread(self._budget.reserve, count)
                now = time.monotonic()
                self._slots.extend(now + wait for wait in taken.waits())
            return self._slots.popleft()


def _pause(error: RateLimited) -> float:
    return _AFTER_REFUSAL if error.after is None else error.after
