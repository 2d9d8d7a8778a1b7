"""Applies one batch: intent before each call, outcome after it, resumable at any moment."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from sqlalchemy import Engine

from bulkgrants.errors import (
    Fatal,
    RateLimited,
    Refusal,
    Refused,
    Retriable,
    Throttle,
    Unavailable,
)
from bulkgrants.ledger.engine import reading
from bulkgrants.ledger.runs import Run
from bulkgrants.ledger.tenants import awaiting, quarantined
from bulkgrants.model import ChangeKind, Grant, Outcome, Provider, SkipReason
from bulkgrants.nylas.calls import authenticate
from bulkgrants.nylas.retrying import next_delay
from bulkgrants.ports import AsyncSender, Clock
from bulkgrants.reconcile import queue
from bulkgrants.reconcile.losing import lose_ungranted
from bulkgrants.reconcile.outcomes import SUCCESS, Granted, refused, skipped
from bulkgrants.reconcile.recorder import Lost, Quarantined, Recorder
from bulkgrants.reconcile.tally import Tally
from bulkgrants.text import bounded

_log = logging.getLogger(__name__)

IN_FLIGHT = 64
"""Changes of one batch under way at a time: at 50/s enough for answers that take over a second."""

OUTAGE = 10
"""Changes in a row whose retries ran out, before the batch stops trying the rest."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a batch, so far as this task worked it off."""

    outcomes: Counter[str] = field(default_factory=Counter)


async def apply_batch(
    engine: Engine, sender: AsyncSender, run: Run, batch: int, *, clock: Clock
) -> Applied:
    """Make every open change of the batch; refusals are outcomes, not errors.

    At its end the Microsoft tenants that were refused for want of consent, and got no grant, are
    lost: they are onboarded again. The sender paces and does not retry. Raises the Fatal error
    that ended the batch early, or Unavailable where changes are left open: applying the batch
    again takes up just those.
    """
    claim = await asyncio.to_thread(queue.claim, engine, run, batch, clock())
    application = _Application(engine, sender, claim, clock)
    await application.run()
    left_open = await asyncio.to_thread(queue.close, engine, claim, clock())
    if left_open:
        raise Unavailable(
            f"Batch {batch}: {left_open} changes are still open, since Nylas or the provider did "
            "not serve them; applying the batch again takes up just those. "
            f"The last error: {application.last_error}",
            after=60.0,
        )
    await asyncio.to_thread(lose_ungranted, engine, claim, clock())
    return application.applied


class _Application:
    """One batch while it is applied: a feed, some workers, and a recorder, on one event loop."""

    def __init__(
        self, engine: Engine, sender: AsyncSender, claim: queue.Claim, clock: Clock
    ) -> None:
        self.applied = Applied()
        self.last_error = ""
        self._engine = engine
        self._sender = sender
        self._claim = claim
        self._clock = clock
        self._recorder = Recorder(engine, claim, clock)
        self._tally = Tally()
        self._aside: list[queue.Open] = []
        self._resume_at: dict[str, float] = {}
        self._unserved_in_a_row = 0

    async def run(self) -> None:
        """Work the batch off; what has ended is recorded even where an error stops the rest."""
        try:
            async with asyncio.TaskGroup() as group:
                recording = group.create_task(self._recorder.run())
                await self._work_off(self._feed())
                await self._work_off(self._put_aside(), patient=True)
                recording.cancel()
        except BaseExceptionGroup as errors:
            raise _cause(errors) from None
        finally:
            await self._recorder.flush()

    async def _work_off(self, feed: AsyncIterator[queue.Open], *, patient: bool = False) -> None:
        """Make the changes that the feed brings, `IN_FLIGHT` at a time."""
        turn = asyncio.Lock()

        async def worker() -> None:
            while True:
                async with turn:
                    change = await anext(feed, None)
                if change is None:
                    return
                await self._make(change, patient=patient)

        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(worker())

    async def _feed(self) -> AsyncIterator[queue.Open]:
        """The open changes in plan order, each with its next attempt already intended."""
        position = 0
        while not self._outage:
            block = await asyncio.to_thread(self._next_block, position)
            if not block:
                return
            position = block[-1].seq
            for change in block:
                yield change

    async def _put_aside(self) -> AsyncIterator[queue.Open]:
        """The changes that wait for their tenants, the shortest wait first."""
        for change in sorted(self._aside, key=lambda one: self._resume_at[one.tenant]):
            if self._outage:
                return
            yield change

    @property
    def _outage(self) -> bool:
        return self._unserved_in_a_row >= OUTAGE

    def _next_block(self, position: int) -> list[queue.Open]:
        now = self._clock()
        with reading(self._engine).connect() as connection:
            application = self._claim.run.application
            self._tally.quarantined |= quarantined(connection, application, now)
            self._tally.awaiting |= awaiting(connection, application)
        block = [
            replace(change, attempts=change.attempts + 1)
            for change in queue.open_changes(
                self._engine, self._claim, after=position, limit=IN_FLIGHT
            )
        ]
        if block:
            numbers = [(change.seq, change.attempts) for change in block]
            queue.intend(self._engine, self._claim, numbers, now)
        return block

    async def _make(self, change: queue.Open, *, patient: bool) -> None:
        """Attempt one change until it is done, refused, put aside, or not served."""
        for attempt in itertools.count(1):
            hindrance = self._tally.hindrance(change.tenant)
            if hindrance is not None:
                self._skip(change, *hindrance)
                return
            pause = self._resume_at.get(change.tenant, 0.0) - time.monotonic()
            if pause > 0 and not patient:
                self._aside.append(change)
                return
            await asyncio.sleep(max(0.0, pause))
            error = await self._attempt(change)
            if error is None:
                return
            delay = next_delay(error, attempt, random.random)
            if delay is None:
                self._not_served(error)
                return
            await self._wait(change.tenant, error, delay)
            change = replace(change, attempts=change.attempts + 1)
            numbers = [(change.seq, change.attempts)]
            await asyncio.to_thread(queue.intend, self._engine, self._claim, numbers, self._clock())

    async def _attempt(self, change: queue.Open) -> Retriable | None:
        """One attempt; gives the error where another one may help."""
        provider = Provider(change.provider)
        call = authenticate(provider, change.email, change.credential_id, change.scopes)
        try:
            grant = await self._sender.send(call)
        except Refused as error:
            self._refused(change, error)
        except Retriable as error:
            self._end(change, queue.RETRIED, error.status, error)
            return error
        except Fatal as error:
            self._end(change, queue.STOPPED, 0, error)
            raise
        else:
            self._granted(change, grant)
        return None

    async def _wait(self, tenant: str, error: Retriable, delay: float) -> None:
        """A provider's limit slows one tenant down, everything else this change alone.

        Nylas' own limit has slowed everybody down already, through the shared budget.
        """
        if isinstance(error, RateLimited) and error.throttle is Throttle.PROVIDER:
            resume_at = time.monotonic() + delay
            self._resume_at[tenant] = max(resume_at, self._resume_at.get(tenant, 0.0))
        else:
            await asyncio.sleep(delay)

    def _granted(self, change: queue.Open, grant: Grant) -> None:
        outcome = SUCCESS[ChangeKind(change.kind)]
        self._unserved_in_a_row = 0
        self._tally.granted(change.tenant)
        self._end(change, outcome, HTTPStatus.CREATED, "")
        self._recorder.add(Granted(change, grant, self._clock()))
        self.applied.outcomes[outcome] += 1

    def _refused(self, change: queue.Open, error: Refused) -> None:
        self._unserved_in_a_row = 0
        self._end(change, Outcome.REFUSED, error.status, error)
        self._recorder.add(refused(change, error, self._clock()))
        self.applied.outcomes[Outcome.REFUSED] += 1
        if change.provider == Provider.MICROSOFT and error.refusal is Refusal.CONSENT_MISSING:
            if self._tally.unconsented(change.tenant):
                self._recorder.add(Lost(change.tenant))
        elif error.refusal.concerns_tenant and self._tally.refused(change.tenant, error.refusal):
            _log.warning("Tenant %s is left alone for a while: %s", change.tenant, error)
            self._recorder.add(Quarantined(change.tenant, bounded(error, 300)))

    def _skip(self, change: queue.Open, reason: SkipReason, detail: str) -> None:
        self._end(change, Outcome.SKIPPED, 0, "not sent")
        self._recorder.add(skipped(change, reason, detail, self._clock()))
        self.applied.outcomes[Outcome.SKIPPED] += 1

    def _not_served(self, error: Retriable) -> None:
        self._unserved_in_a_row += 1
        self.last_error = str(error)

    def _end(self, change: queue.Open, outcome: str, status: int, message: object) -> None:
        ended = queue.Ended(
            change.seq, change.attempts, self._clock(), outcome, status, bounded(message, 400)
        )
        self._recorder.add(ended)


def _cause(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error to tell of: a fatal one before all others."""
    leaves: list[BaseException] = []
    pending: list[BaseException] = [errors]
    while pending:
        error = pending.pop()
        if isinstance(error, BaseExceptionGroup):
            pending.extend(error.exceptions)
        else:
            leaves.append(error)
    return next((error for error in leaves if isinstance(error, Fatal)), leaves[0])
