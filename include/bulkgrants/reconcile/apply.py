"""Applies one batch. It can be interrupted at any moment and applied again.

Each attempt is recorded before its call, and its outcome afterwards. Three parts work on one event
loop: `_Worker` makes the changes, many at a time; `TenantRefusals` notices when a whole tenant is
refused, so that only this tenant is left alone; the recorder writes to the ledger.
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
"""Changes of one batch under way at a time; at 50/s, enough if answers take over a second."""
OUTAGE = 10
"""After this many changes in a row that ran out of retries, the batch stops."""
REFUSALS_IN_A_ROW = 5
"""After this many refusals that concern the tenant without a grant in between, it is left alone."""

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
    """What this task has applied of a batch."""

    outcomes: Counter[str] = field(default_factory=Counter)


async def apply_batch(
    ledger: Ledger, sender: AsyncSender, run: Run, batch: int, *, clock: Clock
) -> Applied:
    """Make every open change of the batch; refusals are outcomes, not errors.

    At the end, the consent of a Microsoft tenant is lost if its mailboxes were refused because
    consent is missing and none got a grant; the tenant is then onboarded again. The sender keeps to
    the rate budget and does not retry. Raises the Fatal error that ended the batch early, or
    Unavailable if changes are left open; applying the batch again makes only those.
    """
    claim = await asyncio.to_thread(claim_batch, ledger, run, batch, clock())
    worker = _Worker(ledger, sender, claim, clock)
    await worker.run()
    left_open = await asyncio.to_thread(_close, ledger, claim, clock)
    if left_open:
        raise Unavailable(
            f"Batch {batch}: {left_open} changes are still open, because Nylas or the provider did "
            "not serve them; applying the batch again makes only those. "
            f"The last error was: {worker.last_error}",
            after=60.0,
        )
    await asyncio.to_thread(_lose_unconsented, ledger, claim, clock)
    return worker.applied


def _close(ledger: Ledger, claim: BatchClaim, clock: Clock) -> int:
    with writing(ledger, claim, clock()) as write:
        return changes.close_batch(write)


def _lose_unconsented(ledger: Ledger, claim: BatchClaim, clock: Clock) -> None:
    """Record the lost consent of tenants too small for `REFUSALS_IN_A_ROW`. Safe to repeat."""
    with writing(ledger, claim, clock()) as write:
        unconsented = changes.unconsented_tenants(write)
        lost = lose_consent(write, unconsented) if unconsented else []
    log_lost_consents(lost)


class _Worker:
    """Applies one batch: coroutines take open changes from a feed and make them."""

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
        """Apply the batch; ended attempts are recorded even if an error stops the rest."""
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
        """The open changes in plan order; each one's next attempt is already recorded."""
        position = 0
        while not self._outage:
            block = await asyncio.to_thread(self._next_block, position)
            if not block:
                return
            position = block[-1].seq
            for change in block:
                yield change

    async def _set_aside(self) -> AsyncIterator[OpenChange]:
        """The changes whose tenants have to wait, the shortest wait first."""
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
        """Attempt one change until it is done, refused, set aside, or not served."""
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
        """Make one attempt; returns the error if another attempt may succeed."""
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
        """Wait before the next attempt; at a provider's limit, the whole tenant has to wait.

        Nylas' own limit has already slowed down every process through the shared budget.
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
        known, message = error.known, bounded(error, _LONGEST_MESSAGE)
        self._unserved_in_a_row = 0
        self._end(change, Outcome.REFUSED, error.status, message)
        self._finish(
            NotGranted(
                change, Outcome.REFUSED, known.refusal, known.code, message, self._clock(),
                concerns_mailbox=known.concerns is Concerns.MAILBOX,
            )
        )  # fmt: skip
        if change.provider == Provider.MICROSOFT and known.refusal is Refusal.CONSENT_MISSING:
            if self._refusals.unconsented(change.tenant):
                self._recorder.add(Lost(change.tenant))
        elif known.concerns is Concerns.TENANT and self._refusals.refused(change.tenant, message):
            _log.warning("Tenant %s is left alone for a while: %s", change.tenant, message)
            self._recorder.add(Quarantined(change.tenant, message))

    def _skip(self, change: OpenChange, reason: SkipReason, detail: str) -> None:
        """End a change whose tenant was quarantined or lost its consent after the plan was made."""
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
    """The error to raise: a fatal one if there is any."""
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
    """Counts refusals in a row for each tenant, and knows which tenants are left alone."""

    def __init__(self) -> None:
        self.quarantined: dict[str, str] = {}
        """The tenants in quarantine, each with its reason."""
        self.awaiting: dict[str, Awaiting] = {}
        """The tenants that were ready when the run was planned, each with what it now awaits."""
        self._in_a_row = Counter[str]()
        self._unconsented_in_a_row = Counter[str]()

    def granted(self, tenant: str) -> None:
        """Start counting again, because the tenant has got a grant."""
        self._in_a_row.pop(tenant, None)
        self._unconsented_in_a_row.pop(tenant, None)

    def refused(self, tenant: str, reason: str) -> bool:
        """Count a refusal of the tenant; returns whether this one puts it into quarantine."""
        self._in_a_row[tenant] += 1
        if self._in_a_row[tenant] < REFUSALS_IN_A_ROW or tenant in self.quarantined:
            return False
        self.quarantined[tenant] = reason
        return True

    def unconsented(self, tenant: str) -> bool:
        """Count a refusal for missing consent; returns whether the consent is now lost."""
        self._unconsented_in_a_row[tenant] += 1
        if self._unconsented_in_a_row[tenant] < REFUSALS_IN_A_ROW or tenant in self.awaiting:
            return False
        self.awaiting[tenant] = Awaiting.CONSENT
        return True

    def obstacle(self, tenant: str) -> tuple[SkipReason, str] | None:
        """Why nothing more is sent for the tenant, with a detail; None if nothing prevents it."""
        if tenant in self.awaiting:
            return _AWAITS[self.awaiting[tenant]]
        if tenant in self.quarantined:
            return SkipReason.TENANT_QUARANTINED, self.quarantined[tenant]
        return None
