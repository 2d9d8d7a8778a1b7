"""Applies one batch: intent before each call, outcome after it, resumable at any moment.

Three parts work on one event loop: `_Worker` makes the changes, many at a time; `TenantRefusals`
notices when a tenant as a whole is refused, so that only this tenant is left alone; the recorder
writes to the ledger.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from bulkgrants.errors import Fatal, RateLimited, Refused, Retriable, Throttle, Unavailable
from bulkgrants.ledger import changes
from bulkgrants.ledger.database import Ledger
from bulkgrants.ledger.onboarding import lose_consent
from bulkgrants.ledger.rights import claim_batch, writing
from bulkgrants.ledger.tenants import left_alone
from bulkgrants.model import (
    MADE,
    AttemptEnd,
    Awaiting,
    BatchClaim,
    ChangeKind,
    EndedAttempt,
    Grant,
    Granted,
    NotGranted,
    OpenChange,
    Outcome,
    Provider,
    Run,
    SkipReason,
)
from bulkgrants.nylas.calls import authenticate
from bulkgrants.nylas.sending import AsyncSender, next_delay
from bulkgrants.ports import Clock
from bulkgrants.reconcile.recorder import Lost, Quarantined, Recorder, log_lost_consents
from bulkgrants.refusals import Concerns, Refusal
from bulkgrants.text import bounded

_log = logging.getLogger(__name__)

IN_FLIGHT = 64
"""Changes of one batch under way at a time: at 50/s enough for answers that take over a second."""
OUTAGE = 10
"""Changes in a row whose retries ran out, before the batch stops trying the rest."""
REFUSALS_IN_A_ROW = 5
"""Refusals that concern the tenant, with no grant in between, before it is left alone."""

_LONGEST_MESSAGE = 400
_AWAITS = {
    Awaiting.CONSENT: (SkipReason.AWAITING_CONSENT, "its consent was lost meanwhile"),
    Awaiting.PROPAGATION: (
        SkipReason.AWAITING_PROPAGATION,
        "its consent was lost meanwhile, and the new one is not in force yet",
    ),
}


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a batch, as far as this task applied it."""

    outcomes: Counter[str] = field(default_factory=Counter)


async def apply_batch(
    ledger: Ledger, sender: AsyncSender, run: Run, batch: int, *, clock: Clock
) -> Applied:
    """Make every open change of the batch; refusals are outcomes, not errors.

    At the end, Microsoft tenants that were refused for want of consent and got no grant lose their
    consent: they are onboarded again. The sender paces and does not retry. Raises the Fatal error
    that ended the batch early, or Unavailable where changes are left open: applying the batch again
    makes only those.
    """
    claim = await asyncio.to_thread(claim_batch, ledger, run, batch, clock())
    worker = _Worker(ledger, sender, claim, clock)
    await worker.run()
    left_open = await asyncio.to_thread(_close, ledger, claim, clock)
    if left_open:
        raise Unavailable(
            f"Batch {batch}: {left_open} changes are still open, because Nylas or the provider did "
            "not serve them; applying the batch again makes only those. "
            f"The last error: {worker.last_error}",
            after=60.0,
        )
    await asyncio.to_thread(_lose_unconsented, ledger, claim, clock)
    return worker.applied


def _close(ledger: Ledger, claim: BatchClaim, clock: Clock) -> int:
    with writing(ledger, claim, clock()) as write:
        return changes.close_batch(write)


def _lose_unconsented(ledger: Ledger, claim: BatchClaim, clock: Clock) -> None:
    """Lose the consent of tenants that are too small for `REFUSALS_IN_A_ROW`. Safe to repeat."""
    with writing(ledger, claim, clock()) as write:
        unconsented = changes.unconsented_tenants(write)
        lost = lose_consent(write, unconsented) if unconsented else []
    log_lost_consents(lost)


class _Worker:
    """One batch while it is applied: a feed of changes, and coroutines that make them."""

    def __init__(
        self, ledger: Ledger, sender: AsyncSender, claim: BatchClaim, clock: Clock
    ) -> None:
        self.applied = Applied()
        self.last_error = ""
        self._ledger = ledger
        self._sender = sender
        self._claim = claim
        self._clock = clock
        self._recorder = Recorder(ledger, claim, clock)
        self._refusals = TenantRefusals()
        self._waiting: list[OpenChange] = []
        self._resume_at: dict[str, float] = {}
        self._unserved_in_a_row = 0

    async def run(self) -> None:
        """Apply the batch; what has ended is recorded even where an error stops the rest."""
        try:
            async with asyncio.TaskGroup() as group:
                recording = group.create_task(self._recorder.run())
                await self._make_all(self._feed())
                await self._make_all(self._set_aside(), patient=True)
                recording.cancel()
        except BaseExceptionGroup as errors:
            raise _cause(errors) from None
        finally:
            await self._recorder.flush()

    async def _make_all(self, feed: AsyncIterator[OpenChange], *, patient: bool = False) -> None:
        """Make the changes of the feed, `IN_FLIGHT` at a time."""
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

    async def _feed(self) -> AsyncIterator[OpenChange]:
        """The open changes in plan order, each with its next attempt already intended."""
        position = 0
        while not self._outage:
            block = await asyncio.to_thread(self._next_block, position)
            if not block:
                return
            position = block[-1].seq
            for change in block:
                yield change

    async def _set_aside(self) -> AsyncIterator[OpenChange]:
        """The changes that wait for their tenants, the shortest wait first."""
        for change in sorted(self._waiting, key=lambda one: self._resume_at[one.tenant]):
            if self._outage:
                return
            yield change

    @property
    def _outage(self) -> bool:
        return self._unserved_in_a_row >= OUTAGE

    def _next_block(self, position: int) -> list[OpenChange]:
        now = self._clock()
        quarantined, awaiting = left_alone(self._ledger, self._claim.application, now)
        self._refusals.quarantined |= quarantined
        self._refusals.awaiting |= awaiting
        block = [
            replace(change, attempts=change.attempts + 1)
            for change in changes.open_changes(
                self._ledger, self._claim, after=position, limit=IN_FLIGHT
            )
        ]
        if block:
            self._intend(block)
        return block

    def _intend(self, block: Sequence[OpenChange]) -> None:
        """Record the attempts that are about to be made."""
        with writing(self._ledger, self._claim, self._clock()) as write:
            changes.intend(write, [(change.seq, change.attempts) for change in block])

    async def _make(self, change: OpenChange, *, patient: bool) -> None:
        """Attempt one change until it is done, refused, put aside, or not served."""
        for attempt in itertools.count(1):
            obstacle = self._refusals.obstacle(change.tenant)
            if obstacle is not None:
                self._skip(change, *obstacle)
                return
            pause = self._resume_at.get(change.tenant, 0.0) - time.monotonic()
            if pause > 0 and not patient:
                self._waiting.append(change)
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
            await asyncio.to_thread(self._intend, [change])

    async def _attempt(self, change: OpenChange) -> Retriable | None:
        """One attempt; returns the error where another one may help."""
        provider = Provider(change.provider)
        call = authenticate(provider, change.email, change.credential_id, change.scopes)
        try:
            grant = await self._sender.send(call)
        except Refused as error:
            self._refused(change, error)
        except Retriable as error:
            self._end(change, AttemptEnd.RETRIED, error.status, error)
            return error
        except Fatal as error:
            self._end(change, AttemptEnd.STOPPED, 0, error)
            raise
        else:
            self._granted(change, grant)
        return None

    async def _wait(self, tenant: str, error: Retriable, delay: float) -> None:
        """A provider's limit slows down one tenant; any other error slows down this change.

        Nylas' own limit has already slowed every process, through the shared budget.
        """
        if isinstance(error, RateLimited) and error.throttle is Throttle.PROVIDER:
            resume_at = time.monotonic() + delay
            self._resume_at[tenant] = max(resume_at, self._resume_at.get(tenant, 0.0))
        else:
            await asyncio.sleep(delay)

    def _granted(self, change: OpenChange, grant: Grant) -> None:
        outcome = MADE[ChangeKind(change.kind)]
        self._unserved_in_a_row = 0
        self._refusals.granted(change.tenant)
        self._end(change, outcome, HTTPStatus.CREATED, "")
        self._finish(Granted(change, outcome, grant, self._clock()))

    def _refused(self, change: OpenChange, error: Refused) -> None:
        known = error.known
        self._unserved_in_a_row = 0
        self._end(change, Outcome.REFUSED, error.status, error)
        self._finish(
            NotGranted(
                change, Outcome.REFUSED, known.refusal, known.code,
                bounded(error, _LONGEST_MESSAGE), self._clock(),
                concerns_mailbox=known.concerns is Concerns.MAILBOX,
            )
        )  # fmt: skip
        if change.provider == Provider.MICROSOFT and known.refusal is Refusal.CONSENT_MISSING:
            if self._refusals.unconsented(change.tenant):
                self._recorder.add(Lost(change.tenant))
        elif known.concerns is Concerns.TENANT:
            reason = bounded(error, _LONGEST_MESSAGE)
            if self._refusals.refused(change.tenant, reason):
                _log.warning("Tenant %s is left alone for a while: %s", change.tenant, reason)
                self._recorder.add(Quarantined(change.tenant, reason))

    def _skip(self, change: OpenChange, reason: SkipReason, detail: str) -> None:
        """The change was overtaken by its tenant's quarantine, or by the loss of its consent."""
        self._end(change, Outcome.SKIPPED, 0, "not sent")
        message = bounded(detail, _LONGEST_MESSAGE)
        self._finish(NotGranted(change, Outcome.SKIPPED, reason, "", message, self._clock()))

    def _finish(self, done: changes.Done) -> None:
        self._recorder.add(done)
        self.applied.outcomes[done.outcome] += 1

    def _not_served(self, error: Retriable) -> None:
        self._unserved_in_a_row += 1
        self.last_error = str(error)

    def _end(
        self, change: OpenChange, outcome: Outcome | AttemptEnd, status: int, message: object
    ) -> None:
        said = bounded(message, _LONGEST_MESSAGE)
        self._recorder.add(
            EndedAttempt(change.seq, change.attempts, self._clock(), outcome, status, said)
        )


def _cause(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error to raise: a fatal one before all others."""
    leaves: list[BaseException] = []
    pending: list[BaseException] = [errors]
    while pending:
        error = pending.pop()
        if isinstance(error, BaseExceptionGroup):
            pending.extend(error.exceptions)
        else:
            leaves.append(error)
    return next((error for error in leaves if isinstance(error, Fatal)), leaves[0])


class TenantRefusals:
    """Refusals in a row, tenant by tenant, and the tenants that are left alone."""

    def __init__(self) -> None:
        self.quarantined: dict[str, str] = {}
        """The reason for each tenant in quarantine."""
        self.awaiting: dict[str, Awaiting] = {}
        """What each tenant awaits that was ready when the run was planned."""
        self._in_a_row = Counter[str]()
        self._unconsented_in_a_row = Counter[str]()

    def granted(self, tenant: str) -> None:
        """The tenant works."""
        self._in_a_row.pop(tenant, None)
        self._unconsented_in_a_row.pop(tenant, None)

    def refused(self, tenant: str, reason: str) -> bool:
        """One more refusal of the tenant; tells whether this is the one that quarantines it."""
        self._in_a_row[tenant] += 1
        if self._in_a_row[tenant] < REFUSALS_IN_A_ROW or tenant in self.quarantined:
            return False
        self.quarantined[tenant] = reason
        return True

    def unconsented(self, tenant: str) -> bool:
        """One more refusal for want of consent; tells whether this is the one that loses it."""
        self._unconsented_in_a_row[tenant] += 1
        if self._unconsented_in_a_row[tenant] < REFUSALS_IN_A_ROW or tenant in self.awaiting:
            return False
        self.awaiting[tenant] = Awaiting.CONSENT
        return True

    def obstacle(self, tenant: str) -> tuple[SkipReason, str] | None:
        """Why nothing more is sent for the tenant, with a detail; None where it is served."""
        if tenant in self.awaiting:
            return _AWAITS[self.awaiting[tenant]]
        if tenant in self.quarantined:
            return SkipReason.TENANT_QUARANTINED, self.quarantined[tenant]
        return None
