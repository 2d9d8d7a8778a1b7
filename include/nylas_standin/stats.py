"""What was asked of the stand-in, counted."""

from collections import Counter
from collections.abc import Callable
from time import monotonic

from nylas_standin.wire import Json


class Stats:
    """Counts of API requests; the control plane's own are not among them."""

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
        """A request came in."""
        self._in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self._in_flight)
        self._seconds[int(self._clock() - self._started)] += 1

    def admitted(self) -> None:
        """The limiter let it pass."""
        self._admitted[int(self._clock() - self._started)] += 1

    def limited(self) -> None:
        """The limiter refused it."""
        self._limited += 1

    def mailbox(self, email: str) -> None:
        """It was a custom authentication of that mailbox."""
        self._mailboxes[email] += 1

    def answered(self, route: str, status: int) -> None:
        """The answer was sent."""
        self._in_flight -= 1
        self._answers[route, status] += 1

    def dropped(self, route: str) -> None:
        """The connection was dropped instead of an answer; counted as status 0."""
        self._dropped += 1
        self.answered(route, 0)

    def summary(self, *, mailboxes: bool, seconds: bool) -> dict[str, Json]:
        """Everything, as JSON; what can be long only if asked for."""
        routes: dict[str, Json] = {}
        statuses: Counter[int] = Counter()
        for (route, status), count in sorted(self._answers.items()):
            entry = routes.setdefault(route, {"requests": 0, "statuses": {}})
            _count_in(entry, status, count)
            statuses[status] += count
        counts = self._mailboxes
        found: dict[str, Json] = {
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


def _count_in(entry: Json, status: int, count: int) -> None:
    if isinstance(entry, dict):
        requests, statuses = entry["requests"], entry["statuses"]
        if isinstance(requests, int) and isinstance(statuses, dict):
            entry["requests"] = requests + count
            statuses[str(status)] = count
