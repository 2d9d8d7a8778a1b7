"""When a tenant's canary is probed: first, again, and for the last time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bulkgrants.ports import Chance

FIRST_WAIT = timedelta(seconds=10)
"""The shortest wait between two probes."""
LONGEST_WAIT = timedelta(minutes=15)
_GROWTH = 1 / 3
"""The wait between two probes as a share of the time that has passed."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long one provider is given."""

    floor: timedelta
    """How long nothing is asked at all: Microsoft keeps scopes for some minutes, and a question
    that comes too early may make it keep the old ones for longer (nylas-api.md §4.1)."""
    deadline: timedelta
    """After how long something must be wrong."""

    def first_probe(self, since: datetime) -> datetime:
        """The earliest moment for a probe."""
        return since + self.floor

    def next_probe(
        self, since: datetime, now: datetime, chance: Chance, rest: timedelta = timedelta()
    ) -> datetime:
        """The moment of the next probe; the last one is due at the deadline itself.

        Before it lies `rest` at least, where the other side has asked for that much.
        Waits grow with the time that has passed, so that no count has to be kept: whoever takes up
        the wait, after whatever broke off, goes on as if it had never been away. Each is drawn from
        a range, so that tenants who began together do not ask together.
        """
        wait = min(max(FIRST_WAIT, (now - since) * _GROWTH), LONGEST_WAIT)
        at = now + max(wait * (0.75 + 0.5 * chance()), rest)
        end = since + self.deadline
        return min(at, end) if now < end else at

    def is_over(self, since: datetime, now: datetime) -> bool:
        """Whether the deadline has passed."""
        return now >= since + self.deadline
