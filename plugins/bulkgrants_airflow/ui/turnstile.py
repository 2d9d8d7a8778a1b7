"""Lets so many requests through that a flood of them starves nobody else in the API server."""

from __future__ import annotations

import time
from collections.abc import Callable


class Turnstile:
    """A token bucket, and a ceiling on how many are inside; for use on one event loop."""

    def __init__(
        self, *, rate: float, inside: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`rate` a second, and as many at once after a quiet second; `inside` at any moment."""
        self._rate = rate
        self._most_inside = inside
        self._clock = clock
        self._tokens = rate
        self._filled_at = clock()
        self._inside = 0

    def enter(self) -> bool:
        """Whether there is room; who was let in has to `leave`."""
        now = self._clock()
        self._tokens = min(self._rate, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1 or self._inside >= self._most_inside:
            return False
        self._tokens -= 1
        self._inside += 1
        return True

    def leave(self) -> None:
        """Make room."""
        self._inside -= 1
