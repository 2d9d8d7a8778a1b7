"""What the work asks of the world: the time, and chance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""The present moment, aware, in UTC."""

Chance = Callable[[], float]
"""A number evenly drawn from [0, 1), for jitter."""

Pause = Callable[[float], Awaitable[None]]
"""Wait so many seconds without blocking the event loop."""


def utc_now() -> datetime:
    """The present moment by this machine's clock."""
    return datetime.now(UTC)
