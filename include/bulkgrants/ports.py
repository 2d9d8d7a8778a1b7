"""What the work asks of the world: the time, chance, and somebody who sends calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from bulkgrants.nylas.calls import Call

T = TypeVar("T")

Clock = Callable[[], datetime]
"""The present moment, aware, in UTC."""

Chance = Callable[[], float]
"""A number evenly drawn from [0, 1), for jitter."""

Pause = Callable[[float], Awaitable[None]]
"""Wait so many seconds without blocking the event loop."""


def utc_now() -> datetime:
    """The clock on the wall."""
    return datetime.now(UTC)


class Sender(Protocol):
    """Sends one call once, and gives back what its parser made of the answer.

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
