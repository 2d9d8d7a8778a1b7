"""One rate budget per application: evenly spaced slots that are handed out from one row.

Every process that calls the API takes its slots here, so together they never exceed the budget,
whatever period the server counts calls over. A 429 lowers the rate for all processes, and time
without one raises it again in small steps. The row keeps the rate for the next run.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Row, select, text, update

from bulkgrants.ledger.database import Ledger, insert_unless_there
from bulkgrants.ledger.tables import budgets

_LOWER_BY = 0.97
_RAISE_BY = 1.01
_RAISE_EVERY = 30.0
_LESSON_LASTS = 1.0
_FLOOR = 1.0


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
            row, now = self._locked(connection)
            rate = self._rested(row.per_second, now - row.changed_at)
            first = max(row.next_slot, now)
            self._save(
                connection,
                next_slot=first + count / rate,
                per_second=rate,
                changed_at=row.changed_at if rate == row.per_second else now,
            )
        return Slots(first_in=first - now, spacing=1 / rate, count=count, asked_at=now)

    def refused(self, pause: float) -> None:
        """Slow down after a 429 from Nylas: every process waits `pause` seconds, then sends less.

        Several refusals within a second lower the rate only once.
        """
        self._ensure()
        with self._ledger.begin() as connection:
            row, now = self._locked(connection)
            known = row.per_second < self.ceiling and now - row.changed_at < _LESSON_LASTS
            floor = min(_FLOOR, self.ceiling)
            rate = row.per_second if known else max(floor, row.per_second * _LOWER_BY)
            self._save(
                connection,
                next_slot=max(row.next_slot, now + pause),
                per_second=rate,
                changed_at=row.changed_at if known else now,
            )

    def _rested(self, rate: float, quiet: float) -> float:
        steps = min(int(quiet / _RAISE_EVERY), 1000)
        return min(self.ceiling, rate * _RAISE_BY**steps)

    def _locked(self, connection: Connection) -> tuple[Row[*tuple[float, ...]], float]:
        """The row, locked until the transaction ends, and the time by the database's clock."""
        row = connection.execute(
            select(budgets.c.next_slot, budgets.c.per_second, budgets.c.changed_at)
            .where(budgets.c.application == self._application)
            .with_for_update()
        ).one()
        clock = (
            "SELECT extract(epoch FROM clock_timestamp())::float8"
            if connection.dialect.name == "postgresql"
            else "SELECT (julianday('now') - 2440587.5) * 86400.0"
        )
        return row, float(connection.execute(text(clock)).scalar_one())

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
                    application=self._application, next_slot=0.0, **fresh
                )
            )
            connection.execute(
                update(budgets).where(mine, budgets.c.ceiling != self.ceiling).values(**fresh)
            )
        self._ensured = True
