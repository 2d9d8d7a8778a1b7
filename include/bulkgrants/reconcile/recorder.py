"""Writes what happens to a batch into the ledger, some events to each transaction."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from bulkgrants.ledger.leases import LEASE_TERM
from bulkgrants.ledger.tenants import quarantine
from bulkgrants.ports import Clock
from bulkgrants.reconcile import losing, outcomes, queue
from bulkgrants.reconcile.tally import QUARANTINE

_EVERY = 0.25
_KEEP_LEASE_EVERY = LEASE_TERM / 5
_SAY_EVERY = 10.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A tenant that from now on is left alone for a while."""

    tenant: str
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A Microsoft tenant whose consent is honoured no more."""

    tenant: str


Event = queue.Ended | outcomes.Granted | outcomes.NotGranted | Quarantined | Lost


class Recorder:
    """Collects events on the event loop and writes them from a thread."""

    def __init__(self, engine: Engine, claim: queue.Claim, clock: Clock) -> None:
        self._engine = engine
        self._claim = claim
        self._clock = clock
        self._events: list[Event] = []
        self._written_at = clock()
        self._done = 0
        self._said_at = time.monotonic()

    def add(self, *events: Event) -> None:
        """Note what happened; it is in the ledger a moment later."""
        self._events.extend(events)

    async def run(self) -> None:
        """Write now and then, until cancelled; also where nothing happens, to keep the lease.

        Raises Superseded where somebody else has taken over.
        """
        while True:
            await asyncio.sleep(_EVERY)
            if self._events or self._clock() - self._written_at >= _KEEP_LEASE_EVERY:
                await self._write_down()

    async def flush(self) -> None:
        """Write what `run` has left. Raises Superseded."""
        if self._events:
            await self._write_down()

    async def _write_down(self) -> None:
        """A write that has begun is waited for, even where the task is cancelled meanwhile."""
        events, self._events = self._events, []
        writing = asyncio.create_task(asyncio.to_thread(self._write, events))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await writing
            raise

    def _write(self, events: list[Event]) -> None:
        now = self._clock()
        done = [one for one in events if isinstance(one, (outcomes.Granted, outcomes.NotGranted))]
        with self._engine.begin() as connection:
            queue.require_claim(connection, self._claim, now)
            queue.end_attempts(
                connection, self._claim, [one for one in events if isinstance(one, queue.Ended)]
            )
            outcomes.record(connection, self._claim, done)
            lost = self._leave_alone(connection, events, now)
        losing.say(lost)
        self._written_at = now
        self._say(len(done))

    def _leave_alone(self, connection: Connection, events: list[Event], now: datetime) -> list[str]:
        """Quarantine and lose whom the events name; gives those that lost their consent now."""
        application = self._claim.run.application
        for one in events:
            if isinstance(one, Quarantined):
                until = now + QUARANTINE
                quarantine(connection, application, one.tenant, until=until, reason=one.reason)
        tenants = [one.tenant for one in events if isinstance(one, Lost)]
        return losing.lose(connection, application, tenants)

    def _say(self, done: int) -> None:
        self._done += done
        if time.monotonic() - self._said_at >= _SAY_EVERY:
            self._said_at = time.monotonic()
            size = self._claim.last_seq - self._claim.first_seq + 1
            _log.info("Batch %d: %d of up to %d changes done", self._claim.batch, self._done, size)
