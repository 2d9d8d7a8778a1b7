"""What the work needs from outside: the time, random numbers, and a way to wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the current time in UTC, with its time zone."""

Chance = Callable[[], float]
"""Returns a random number from [0, 1), evenly distributed; used for jitter."""

Pause = Callable[[float], Awaitable[None]]
"""Waits the given number of seconds without blocking the event loop."""


def utc_now() -> datetime:
    """The current time by this machine's clock."""
    return datetime.now(UTC)
