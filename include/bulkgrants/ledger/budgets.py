"""One rate budget per application: evenly spaced slots that are handed out from one row.

Every process that calls the API takes its slots here, so together they never exceed the budget,
whatever period the server counts calls over. A 429 lowers the rate for all processes, and time
without one raises it again in small steps. The row keeps the rate for the next run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection, select, text, update

from bulkgrants.ledger.database import Ledger, insert_unless_there
from bulkgrants.ledger.tables import budgets

_LOWER_BY = 0.97
_RAISE_BY = 1.01
_RAISE_EVERY = 30.0
_LESSON_LASTS = 1.0
_FLOOR = 1.0
_STEP_BACK = 1.0
"""Seconds; if the clock is behind the last trip by more, it was set back."""
_FARTHEST = 7200.0
"""Seconds; twice the longest wait that Nylas can ask for. No slot is further away than that."""


@dataclass(frozen=True, slots=True)
class Slots:
    """The times at which calls may be sent, in seconds after the request for them."""

    first_in: float
    spacing: float
    count: int
    asked_at: float
    """Unix seconds by the database's clock, which all processes share."""

    def waits(self) -> list[float]:
        """The seconds to wait for each slot."""
        return [self.first_in + self.spacing * number for number in range(self.count)]


@dataclass(frozen=True, slots=True)
class _Known:
    """What the row says, by the database's clock as it is now."""

    next_slot: float
    per_second: float
    changed_at: float


def _by_clock(now: float, known: _Known, asked_at: float) -> _Known:
    """The row as it would be if the clock had always been as it is now.

    If the clock was set back, the times in the row are moved by as much, or everybody would wait
    until the clock is there again.
    """
    back = asked_at - now
    if back > _STEP_BACK:
        known = replace(known, next_slot=known.next_slot - back, changed_at=known.changed_at - back)
    return replace(known, next_slot=min(known.next_slot, now + _FARTHEST))


class Budget:
    """The shared budget of one application; each process or thread may have its own instance."""

    def __init__(self, ledger: Ledger, application: str, ceiling: float) -> None:
        """`ceiling` is in calls per second; a new ceiling resets a rate that was lowered."""
        self._ledger = ledger
        self._application = application
        self.ceiling = ceiling
        self._ensured = False

    def reserve(self, count: int) -> Slots:
        """Take the next `count` slots; a slot that is not used is lost."""
        self._ensure()
        with self._ledger.begin() as connection:
            known, now = self._locked(connection)
            rate = self._rested(known.per_second, now - known.changed_at)
            first = max(known.next_slot, now)
            self._save(
                connection,
                next_slot=first + count / rate,
                per_second=rate,
                changed_at=known.changed_at if rate == known.per_second else now,
                asked_at=now,
            )
        return Slots(first_in=first - now, spacing=1 / rate, count=count, asked_at=now)

    def refused(self, pause: float) -> None:
        """Slow down after a 429 from Nylas: every process waits `pause` seconds, then sends less.

        Several refusals within a second lower the rate only once.
        """
        self._ensure()
        with self._ledger.begin() as connection:
            known, now = self._locked(connection)
            learnt = known.per_second < self.ceiling and now - known.changed_at < _LESSON_LASTS
            rate = known.per_second if learnt else self._bounded(known.per_second * _LOWER_BY)
            self._save(
                connection,
                next_slot=max(known.next_slot, now + pause),
                per_second=rate,
                changed_at=known.changed_at if learnt else now,
                asked_at=now,
            )

    def _rested(self, rate: float, quiet: float) -> float:
        steps = max(0, min(int(quiet / _RAISE_EVERY), 1000))
        return self._bounded(rate * _RAISE_BY**steps)

    def _bounded(self, rate: float) -> float:
        return min(self.ceiling, max(min(_FLOOR, self.ceiling), rate))

    def _locked(self, connection: Connection) -> tuple[_Known, float]:
        """The row, locked until the transaction ends, and the time by the database's clock."""
        row = connection.execute(
            select(
                budgets.c.next_slot,
                budgets.c.per_second,
                budgets.c.changed_at,
                budgets.c.asked_at,
            )
            .where(budgets.c.application == self._application)
            .with_for_update()
        ).one()
        clock = (
            "SELECT extract(epoch FROM clock_timestamp())::float8"
            if connection.dialect.name == "postgresql"
            else "SELECT (julianday('now') - 2440587.5) * 86400.0"
        )
        now = float(connection.execute(text(clock)).scalar_one())
        return _by_clock(
            now, _Known(row.next_slot, row.per_second, row.changed_at), row.asked_at
        ), now

    def _save(self, connection: Connection, **values: float) -> None:
        connection.execute(
            update(budgets).where(budgets.c.application == self._application).values(**values)
        )

    def _ensure(self) -> None:
        """Make sure that the row exists and has this ceiling."""
        if self._ensured:
            return
        fresh = {"per_second": self.ceiling, "ceiling": self.ceiling, "changed_at": 0.0}
        mine = budgets.c.application == self._application
        with self._ledger.begin() as connection:
            connection.execute(
                insert_unless_there(connection, budgets).values(
                    application=self._application, next_slot=0.0, asked_at=0.0, **fresh
                )
            )
            connection.execute(
                update(budgets).where(mine, budgets.c.ceiling != self.ceiling).values(**fresh)
            )
        self._ensured = True
