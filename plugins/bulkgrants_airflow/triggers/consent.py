"""Waits for an admin's answer, by reading the ledger.

Airflow stores the class path of a trigger while its task is deferred: keep it importable from here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime
from functools import cache, lru_cache

from airflow.triggers.base import BaseTrigger, TriggerEvent
from sqlalchemy.exc import SQLAlchemyError

from bulkgrants.errors import BulkgrantsError
from bulkgrants.ledger.database import Ledger, open_ledger
from bulkgrants.model import Hold
from bulkgrants.onboarding.links import key_id, state_key
from bulkgrants.onboarding.waiting import needs_attention
from bulkgrants.ports import utc_now
from bulkgrants_airflow.connections import ledger_url, nylas_connection
from bulkgrants_airflow.settings import read_settings
from bulkgrants_airflow.triggers.events import Woken

_KEY_KEPT = 60.0
"""Seconds for which the API key is not looked up again: a thousand tenants may wait at a time."""
_KEY_AFTER = 300.0
"""Seconds before keys are compared. Workers and triggerers may see a new key at different times;
without this pause they would wake each other without end until then."""


class ConsentTrigger(BaseTrigger):
    """Fires when the tenant's consent is answered, or at `until` at the latest.

    It reads the ledger every `interval` seconds, and keeps the run's hold on the tenant meanwhile.
    `until` is absolute, so the same wait goes on when the triggerer restarts. A ledger that cannot
    be reached does not end the wait: the trigger tries again. It also fires if the links cannot be
    answered any more: the key that signed them, with the fingerprint `key_id`, follows from the API
    key. `key_id` is empty in the triggers of older releases.
    """

    def __init__(
        self,
        application: str,
        tenant: str,
        run_key: str,
        until: str,
        interval: float,
        key_id: str = "",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's base class has no types
        self.application = application
        self.tenant = tenant
        self.run_key = run_key
        self.until = until
        self.interval = interval
        self.key_id = key_id

    def serialize(self) -> tuple[str, dict[str, object]]:
        """The class path and the arguments from which a triggerer makes it again."""
        names = ("application", "tenant", "run_key", "until", "interval", "key_id")
        return (
            f"{__name__}.{type(self).__name__}",
            {name: getattr(self, name) for name in names},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event, when there is something to do for the sensor."""
        until, begun = datetime.fromisoformat(self.until), time.monotonic()
        while (left := (until - utc_now()).total_seconds()) > 0:
            if await self._is_answered(time.monotonic() - begun):
                yield TriggerEvent({"woken": str(Woken.ANSWERED)})
                return
            await asyncio.sleep(min(left, self.interval))
        yield TriggerEvent({"woken": str(Woken.DUE)})

    async def _is_answered(self, waited: float) -> bool:
        try:
            return await asyncio.to_thread(self._look, waited)
        except (SQLAlchemyError, BulkgrantsError) as error:
            # Not the message, which may quote the data that a database was sent.
            self.log.warning("The ledger cannot be read (%s); trying again", type(error).__name__)
            return False

    def _look(self, waited: float) -> bool:
        settings = read_settings()
        ledger = _ledger(ledger_url(settings.ledger_conn_id))
        hold = Hold(self.application, self.tenant, self.run_key)
        compares = bool(self.key_id) and waited >= _KEY_AFTER
        age = int(time.monotonic() // _KEY_KEPT)
        present = _key_id(settings.nylas_conn_id, age) if compares else None
        return needs_attention(ledger, hold, utc_now(), present)


@lru_cache(maxsize=8)
def _key_id(nylas_conn_id: str, _age: int) -> str | None:
    """The fingerprint of the present key; the connection is looked up once in `_KEY_KEPT`.

    None if there is no usable connection: an answer must be noticed all the same.
    """
    try:
        return key_id(state_key(nylas_connection(nylas_conn_id).api_key))
    except BulkgrantsError:
        return None


@cache
def _ledger(url: str) -> Ledger:
    """Opened once for the whole triggerer: a thousand waiting tenants share a few connections."""
    return open_ledger(url)
