"""Requests: limited in each form that the real limit might have, and counted.

The real API's algorithm is not published (`docs/nylas-api.md`, Rate limits). Limits and counts
run on the monotonic clock, which the control plane cannot move.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Literal, Protocol

from pydantic import JsonValue

# A microsecond, in seconds. Sums of fiftieths drift by less, and a request that is exactly on time
# has to pass.
_SLACK = 1e-6

Policy = Literal["none", "fixed", "sliding", "token_bucket", "gcra"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How requests are limited."""

    policy: Policy = "fixed"
    per_second: int = 50
    burst: int | None = None
    """How many may come at once: by default per_second for a token bucket, a tenth for GCRA."""
    scope: Literal["application", "group"] = "application"
    """One budget for everything, or one for each group of routes in the documented table."""

    def burst_or_default(self) -> int:
        """The burst that applies under this policy."""
        if self.burst is not None:
            return self.burst
        return self.per_second if self.policy == "token_bucket" else max(1, self.per_second // 10)


class Meter(Protocol):
    """Counts the requests of one budget."""

    def admit(self, now: float) -> bool:
        """Whether a request at `now` is within the limit; a refused one costs nothing."""
        ...


class Fixed:
    """`per_second` requests in each whole second of the server's clock."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.per_second
        self._second = -1
        self._count = 0

    def admit(self, now: float) -> bool:
        """Counts from zero at every whole second."""
        if int(now) != self._second:
            self._second, self._count = int(now), 0
        if self._count >= self._most:
            return False
        self._count += 1
        return True


class Sliding:
    """`per_second` requests in any period of one second."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.per_second
        self._admitted: deque[float] = deque(maxlen=limits.per_second)

    def admit(self, now: float) -> bool:
        """Compares with the time of the request that came `per_second` requests ago."""
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
        """Takes one token, if the bucket has one."""
        if self._filled_at is not None:
            self._tokens = min(self._size, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1.0 - _SLACK:
            return False
        self._tokens -= 1.0
        return True


class Gcra:
    """Evenly spaced requests, of which `burst` may come early."""

    def __init__(self, limits: Limits) -> None:
        self._spacing = 1.0 / limits.per_second
        self._tolerance = self._spacing * (limits.burst_or_default() - 1)
        self._due = float("-inf")

    def admit(self, now: float) -> bool:
        """Compares `now` with the time at which the next request is due."""
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
    """One meter for each budget."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = monotonic) -> None:
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


class Stats:
    """Counts of the requests to the API; calls to the control plane do not count."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._answers: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[int] = Counter()
        self._admitted: Counter[int] = Counter()
        self._mailboxes: Counter[str] = Counter()
        self._dropped = 0
        self._limited = 0
        self._in_flight = 0
        self._most_in_flight = 0

    def arrived(self) -> None:
        """Counts a request that came in."""
        self._in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self._in_flight)
        self._seconds[int(self._clock() - self._started)] += 1

    def admitted(self) -> None:
        """Counts a request that the limiter let pass."""
        self._admitted[int(self._clock() - self._started)] += 1

    def limited(self) -> None:
        """Counts a request that the limiter refused."""
        self._limited += 1

    def mailbox(self, email: str) -> None:
        """Counts a custom authentication of a mailbox."""
        self._mailboxes[email] += 1

    def answered(self, route: str, status: int) -> None:
        """Counts an answer."""
        self._in_flight -= 1
        self._answers[route, status] += 1

    def dropped(self, route: str) -> None:
        """Counts a connection that was dropped without an answer, as status 0."""
        self._dropped += 1
        self.answered(route, 0)

    def summary(self, *, mailboxes: bool, seconds: bool) -> dict[str, JsonValue]:
        """All counts as JSON; the two lists that can be long only on request."""
        routes: dict[str, JsonValue] = {}
        statuses: Counter[int] = Counter()
        for (route, status), count in sorted(self._answers.items()):
            entry = routes.setdefault(route, {"requests": 0, "statuses": {}})
            _count_in(entry, status, count)
            statuses[status] += count
        counts = self._mailboxes
        found: dict[str, JsonValue] = {
            "requests": sum(self._seconds.values()),
            "routes": routes,
            "statuses": {str(status): count for status, count in sorted(statuses.items())},
            "answered_429": statuses[429],
            "limited": self._limited,
            "dropped": self._dropped,
            "peak_per_second": max(self._seconds.values(), default=0),
            "peak_admitted_per_second": max(self._admitted.values(), default=0),
            "in_flight": self._in_flight,
            "max_concurrency": self._most_in_flight,
            "seconds": self._clock() - self._started,
            "custom": {
                "requests": sum(counts.values()),
                "mailboxes": len(counts),
                "most_for_one_mailbox": max(counts.values(), default=0),
            },
        }
        if mailboxes:
            found["custom_by_mailbox"] = dict(counts)
        if seconds:
            found["by_second"] = {str(second): n for second, n in sorted(self._seconds.items())}
        return found


def _count_in(entry: JsonValue, status: int, count: int) -> None:
    if isinstance(entry, dict):
        requests, statuses = entry["requests"], entry["statuses"]
        if isinstance(requests, int) and isinstance(statuses, dict):
            entry["requests"] = requests + count
            statuses[str(status)] = count
