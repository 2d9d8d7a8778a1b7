"""The rate limit, in each of the forms it might have: the real one's algorithm is not published."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

# A microsecond: sums of fiftieths drift by less, and who is exactly on time has to be on time.
_SLACK = 1e-6

Policy = Literal["none", "fixed", "sliding", "token_bucket", "gcra"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How requests are limited."""

    policy: Policy = "fixed"
    per_second: int = 50
    burst: int | None = None
    """What may come at once: by default per_second for a token bucket, a tenth of it for GCRA."""
    scope: Literal["application", "group"] = "application"
    """One budget for everything, or one for each group of routes in the documented table."""

    def burst_or_default(self) -> int:
        """The burst in force."""
        if self.burst is not None:
            return self.burst
        return self.per_second if self.policy == "token_bucket" else max(1, self.per_second // 10)


class Meter(Protocol):
    """Counts the requests of one budget."""

    def admit(self, now: float) -> bool:
        """Whether a request at `now` is within the limit; a refused one costs nothing."""
        ...


class Fixed:
    """So many in each second of the server's own count."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.per_second
        self._second = -1
        self._count = 0

    def admit(self, now: float) -> bool:
        """Counts from nothing at every whole second."""
        if int(now) != self._second:
            self._second, self._count = int(now), 0
        if self._count >= self._most:
            return False
        self._count += 1
        return True


class Sliding:
    """So many in any stretch of one second."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.per_second
        self._admitted: deque[float] = deque(maxlen=limits.per_second)

    def admit(self, now: float) -> bool:
        """Looks at the request that was the limit's length ago."""
        if len(self._admitted) == self._most and now - self._admitted[0] < 1.0 - _SLACK:
            return False
        self._admitted.append(now)
        return True


class TokenBucket:
    """A bucket of `burst` tokens, filled evenly."""

    def __init__(self, limits: Limits) -> None:
        self._rate = limits.per_second
        self._size = float(limits.burst_or_default())
        self._tokens = self._size
        self._filled_at: float | None = None

    def admit(self, now: float) -> bool:
        """Takes a token if there is a whole one."""
        if self._filled_at is not None:
            self._tokens = min(self._size, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1.0 - _SLACK:
            return False
        self._tokens -= 1.0
        return True


class Gcra:
    """Evenly spaced, with `burst` requests allowed to come early."""

    def __init__(self, limits: Limits) -> None:
        self._spacing = 1.0 / limits.per_second
        self._tolerance = self._spacing * (limits.burst_or_default() - 1)
        self._due = float("-inf")

    def admit(self, now: float) -> bool:
        """Compares the request with the time at which it was due."""
        if now < self._due - self._tolerance - _SLACK:
            return False
        self._due = max(now, self._due) + self._spacing
        return True


_METERS: dict[Policy, Callable[[Limits], Meter]] = {
    "fixed": Fixed,
    "sliding": Sliding,
    "token_bucket": TokenBucket,
    "gcra": Gcra,
}


class Limiter:
    """One meter for each budget, on a clock that no test can move but its own."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._meters: dict[str, Meter] = {}

    def admit(self, group: str) -> bool:
        """Whether a request to a route of `group` is within the limit."""
        if self.limits.policy == "none":
            return True
        budget = group if self.limits.scope == "group" else ""
        meter = self._meters.get(budget)
        if meter is None:
            meter = self._meters[budget] = _METERS[self.limits.policy](self.limits)
        return meter.admit(self._clock())
