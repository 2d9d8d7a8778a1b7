"""Waits for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

from airflow.triggers.base import BaseTrigger, TriggerEvent

from bulkgrants.ports import utc_now
from bulkgrants_airflow.events import Woken

_LONGEST_NAP = 60.0
"""Seconds; short enough that a clock that was set is noticed."""


class MomentTrigger(BaseTrigger):
    """Fires at a moment, which is absolute: a triggerer that is restarted waits no longer for it.

    `moment` is in ISO 8601 with its time zone.
    """

    def __init__(self, moment: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's base class has no types
        self.moment = moment

    def serialize(self) -> tuple[str, dict[str, object]]:
        """What another triggerer makes it from."""
        return f"{__name__}.{type(self).__name__}", {"moment": self.moment}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event, when the moment has come."""
        moment = datetime.fromisoformat(self.moment)
        while (left := (moment - utc_now()).total_seconds()) > 0:  # noqa: ASYNC110 - no event tells of the clock on the wall
            await asyncio.sleep(min(left, _LONGEST_NAP))
        yield TriggerEvent({"woken": str(Woken.DUE)})
