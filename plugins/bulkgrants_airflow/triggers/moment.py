"""Waits until a given time.

Airflow stores the class path of a trigger while its task is deferred: keep it importable from here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

from airflow.triggers.base import BaseTrigger, TriggerEvent

from bulkgrants.ports import utc_now
from bulkgrants_airflow.triggers.events import Woken

_LONGEST_NAP = 60.0
"""Seconds; short enough to notice soon that the clock was set."""


class MomentTrigger(BaseTrigger):
    """Fires at `moment`, which is in ISO 8601 with its time zone.

    The moment is absolute, so the wait does not grow when the triggerer restarts.
    """

    def __init__(self, moment: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's base class has no types
        self.moment = moment

    def serialize(self) -> tuple[str, dict[str, object]]:
        """The class path and the arguments from which a triggerer makes it again."""
        return f"{__name__}.{type(self).__name__}", {"moment": self.moment}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event, when the moment has come."""
        moment = datetime.fromisoformat(self.moment)
        while (left := (moment - utc_now()).total_seconds()) > 0:  # noqa: ASYNC110 - there is no event for the wall clock
            await asyncio.sleep(min(left, _LONGEST_NAP))
        yield TriggerEvent({"woken": str(Woken.DUE)})
