"""Waits for an admin's answer, by reading the ledger.

Airflow stores the class path of a trigger while its task is deferred: keep it importable from here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from functools import cache

from airflow.triggers.base import BaseTrigger, TriggerEvent
from sqlalchemy.exc import SQLAlchemyError

from bulkgrants.errors import BulkgrantsError
from bulkgrants.ledger.database import Ledger, open_ledger
from bulkgrants.model import Hold
from bulkgrants.onboarding.waiting import needs_attention
from bulkgrants.ports import utc_now
from bulkgrants_airflow.connections import ledger_url
from bulkgrants_airflow.settings import read_settings
from bulkgrants_airflow.triggers.events import Woken


class ConsentTrigger(BaseTrigger):
    """Fires when the tenant's consent is answered, or at `until` at the latest.

    It reads the ledger every `interval` seconds, and keeps the run's hold on the tenant meanwhile.
    `until` is absolute, so the same wait goes on when the triggerer restarts. A ledger that cannot
    be reached does not end the wait: the trigger tries again.
    """

    def __init__(
        self, application: str, tenant: str, run_key: str, until: str, interval: float
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's base class has no types
        self.application = application
        self.tenant = tenant
        self.run_key = run_key
        self.until = until
        self.interval = interval

    def serialize(self) -> tuple[str, dict[str, object]]:
        """The class path and the arguments from which a triggerer makes it again."""
        names = ("application", "tenant", "run_key", "until", "interval")
        return (
            f"{__name__}.{type(self).__name__}",
            {name: getattr(self, name) for name in names},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event, when there is something to do for the sensor."""
        until = datetime.fromisoformat(self.until)
        while (left := (until - utc_now()).total_seconds()) > 0:
            if await self._is_answered():
                yield TriggerEvent({"woken": str(Woken.ANSWERED)})
                return
            await asyncio.sleep(min(left, self.interval))
        yield TriggerEvent({"woken": str(Woken.DUE)})

    async def _is_answered(self) -> bool:
        try:
            return await asyncio.to_thread(self._look)
        except (SQLAlchemyError, BulkgrantsError) as error:
            # Not the message, which may quote the data that a database was sent.
            self.log.warning("The ledger cannot be read (%s); trying again", type(error).__name__)
            return False

    def _look(self) -> bool:
        ledger = _ledger(ledger_url(read_settings().ledger_conn_id))
        hold = Hold(self.application, self.tenant, self.run_key)
        return needs_attention(ledger, hold, utc_now())


@cache
def _ledger(url: str) -> Ledger:
    """Opened once for the whole triggerer: a thousand waiting tenants share a few connections."""
    return open_ledger(url)
