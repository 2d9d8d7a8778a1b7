"""Applies one batch. It can be interrupted at any moment and applied again.

Each attempt is recorded before its call, and its outcome afterwards. Three parts work on one event
loop: `_Worker` makes the changes, many at a time; `tenant_health` notices when a whole tenant is
refused or not served, so that only this tenant is left alone; the recorder writes to the ledger.
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
from functools import partial
from http import HTTPStatus

from bulkgrants.errors import Fatal, RateLimited, Refused, Retriable, Throttle, Unavailable
from bulkgrants.ledger import changes
from bulkgrants.ledger.database import Ledger
from bulkgrants.ledger.onboarding import lose_consent
from bulkgrants.ledger.rights import claim_batch, confirm_claim, keeping, writing
from bulkgrants.ledger.tenants import left_alone
from bulkgrants.model import (
    MADE,
    AttemptEnd,
    BatchClaim,
    ChangeKind,
    EndedAttempt,
    Grant,
    Granted,
    NotGranted,
    NotServed,
    OpenChange,
    Outcome,
    Provider,
    Run,
    SkipReason,
)
from bulkgrants.nylas.answers import unexpected
from bulkgrants.nylas.calls import authenticate
from bulkgrants.nylas.sending import AsyncSender, Condition, next_delay, only_while
from bulkgrants.ports import Clock
from bulkgrants.reconcile.canary import ConsentSeen, consent_of, has_lost_consent
from bulkgrants.reconcile.recorder import (
    Lost,
    Quarantined,
    Recorder,
    log_lost_consents,
    record_unserved,
)
from bulkgrants.reconcile.tenant_health import TenantRefusals, TenantService
from bulkgrants.refusals import LASTING, NOT_SERVED, Concerns, Refusal
from bulkgrants.text import bounded

_log = logging.getLogger(__name__)

IN_FLIGHT = 64
"""Changes of one batch under way at a time; at 50/s, enough if answers take over a second."""

_LONGEST_MESSAGE = 400


@dataclass(frozen=True, slots=True)
class Applied:
    """What this task has applied of a batch."""

    outcomes: Counter[str] = field(default_factory=Counter)


async def apply_batch(
    ledger: Ledger, sender: AsyncSender, run: Run, batch: int, *, clock: Clock
) -> Applied:
    """Make every open change of the batch; refusals are outcomes, not errors.

    If mailboxes of a Microsoft tenant are refused because consent is missing, and none gets a
    grant, its canary is asked; if the consent is really lost, the tenant is onboarded again. The
    sender keeps to the rate budget and does not retry. Raises the Fatal error that ended the batch
    early, or Unavailable if changes are left open; applying the batch again makes only those.
    """
    claim = await asyncio.to_thread(claim_batch, ledger, run, batch, clock())
    worker = _Worker(ledger, sender, claim, clock)
    await worker.run()
    left_open = await asyncio.to_thread(_close, ledger, claim, clock)
    with keeping(ledger, run):
        await _lose_unconsented(ledger, sender, claim, clock)
    if left_open:
        raise Unavailable(
            f"Batch {batch}: {left_open} changes are still open, because Nylas or the provider did "
            "not serve them; applying the batch again makes only those. "
            f"The last error was: {worker.last_error}",
            after=60.0,
        )
    return worker.applied


def _close(ledger: Ledger, claim: BatchClaim, clock: Clock) -> int:
    with writing(ledger, claim, clock()) as write:
        return changes.close_batch(write)


async def _lose_unconsented(
    ledger: Ledger, sender: AsyncSender, claim: BatchClaim, clock: Clock
) -> None:
    """Ask the canaries of tenants that were refused for want of consent, and got no grant.

    Safe to repeat: what was recorded of the batch is looked at, not what this task has seen.
    """
    for tenant in await asyncio.to_thread(_unconsented, ledger, claim, clock):
        if await has_lost_consent(ledger, sender, claim, tenant, clock):
            await asyncio.to_thread(_lose, ledger, claim, tenant, clock)


def _unconsented(ledger: Ledger, claim: BatchClaim, clock: Clock) -> list[str]:
    with writing(ledger, claim, clock()) as write:
        return changes.unconsented_tenants(write)


def _lose(ledger: Ledger, claim: BatchClaim, tenant: str, clock: Clock) -> None:
    """Record the lost consent, unless the tenant has become ready anew meanwhile."""
    with writing(ledger, claim, clock()) as write:
        lost = lose_consent(write, {tenant} & {*changes.unconsented_tenants(write)})
    log_lost_consents(lost)


class _Withheld(Exception):
    """The call was not sent, because its tenant is left alone now."""

    def __init__(self, reason: SkipReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


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
        self._service = TenantService()
        self._waiting: list[OpenChange] = []
        self._resume_at: dict[str, float] = {}
        self._unserved: list[NotServed] = []
        self._asking: dict[str, asyncio.Event] = {}
        """The tenants whose canary is asked; each event is set once the verdict is known."""

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
        await asyncio.to_thread(self._settle_unserved)

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
        while not self._service.is_outage:
            block = await asyncio.to_thread(self._next_block, position)
            if not block:
                return
            position = block[-1].seq
            for change in block:
                yield change

    async def _set_aside(self) -> AsyncIterator[OpenChange]:
        """The changes whose tenants have to wait, the shortest wait first."""
        for change in sorted(self._waiting, key=lambda one: self._resume_at[one.tenant]):
            if self._service.is_outage:
                return
            yield change

    def _next_block(self, position: int) -> list[OpenChange]:
        now = self._clock()
        quarantined, awaiting = left_alone(self._ledger, self._claim.application, now)
        self._refusals.quarantined |= quarantined
        self._refusals.awaiting |= awaiting
        block = [
            replace(change, attempts=change.attempts + 1)
            for change in changes.open_changes(
                self._ledger,
                self._claim,
                after=position,
                limit=IN_FLIGHT,
                without=self._service.stalled,
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
            if change.tenant in self._asking:
                await self._asking[change.tenant].wait()
            obstacle = self._refusals.obstacle(change.tenant)
            if obstacle is not None:
                self._skip(change, *obstacle)
                return
            if change.tenant in self._service.stalled:
                self._end(change, AttemptEnd.STOPPED, 0, "not sent: its tenant is not served")
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
                self._not_served(change, error)
                return
            await self._wait(change.tenant, error, delay)
            change = replace(change, attempts=change.attempts + 1)
            await asyncio.to_thread(self._intend, [change])

    async def _attempt(self, change: OpenChange) -> Retriable | None:
        """Make one attempt; returns the error if another attempt may succeed."""
        provider = Provider(change.provider)
        # spelled as its grant is, or Nylas may not recognise the mailbox and make a second grant
        address = change.address or change.email
        call = authenticate(provider, address, change.credential_id, change.scopes)
        condition = Condition(
            partial(confirm_claim, self._ledger, self._claim),
            partial(self._require_no_obstacle, change.tenant),
        )
        try:
            with only_while(condition):
                grant = await self._sender.send(call)
        except _Withheld as error:
            self._skip(change, error.reason, error.detail)
        except Refused as error:
            await self._refused(change, error)
        except Retriable as error:
            self._end(change, AttemptEnd.RETRIED, error.status, error)
            return error
        except Fatal as error:
            self._end(change, AttemptEnd.STOPPED, 0, error)
            raise
        else:
            self._granted(change, grant)
        return None

    def _require_no_obstacle(self, tenant: str) -> None:
        """Raise `_Withheld` if the tenant is left alone since the call began to wait."""
        obstacle = self._refusals.obstacle(tenant)
        if obstacle is not None:
            raise _Withheld(*obstacle)

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
        self._service.served(change.tenant)
        self._refusals.granted(change.tenant)
        self._end(change, outcome, HTTPStatus.CREATED, "")
        reason, message = unexpected(
            grant, grant_id=change.grant_id, email=change.email, address=change.address
        )
        self._finish(Granted(change, outcome, grant, self._clock(), reason, message))

    async def _refused(self, change: OpenChange, error: Refused) -> None:
        """End the change; a mailbox that was not refused before may speak for its tenant."""
        known, message = error.known, bounded(error, _LONGEST_MESSAGE)
        self._service.served(change.tenant)
        self._end(change, Outcome.REFUSED, error.status, message)
        self._finish(
            NotGranted(
                change, Outcome.REFUSED, known.refusal, known.code, message, self._clock(),
                lasting=known.refusal in LASTING,
            )
        )  # fmt: skip
        if change.refused_before:
            return
        if change.provider == Provider.MICROSOFT and known.refusal is Refusal.CONSENT_MISSING:
            await self._without_consent(change.tenant, message)
        elif known.concerns is Concerns.TENANT and self._refusals.refused(change.tenant, message):
            self._quarantine(change.tenant, message)

    async def _without_consent(self, tenant: str, message: str) -> None:
        """Count the refusal; after several, ask the canary, and hold the tenant back meanwhile.

        Unless the canary shows that there is consent, nothing more is sent for the tenant now. Its
        consent is lost only if the canary says so; the end of the batch judges the other cases.
        """
        if not self._refusals.unconsented(tenant):
            return
        verdict = self._asking[tenant] = asyncio.Event()
        try:
            seen = await consent_of(self._ledger, self._sender, self._claim, tenant, self._clock)
            if seen is ConsentSeen.MISSING:
                self._refusals.lost(tenant)
                self._recorder.add(Lost(tenant))
            elif seen is not ConsentSeen.HONOURED:
                self._refusals.quarantined[tenant] = message
                self._quarantine(tenant, message)
        finally:
            verdict.set()

    def _quarantine(self, tenant: str, message: str) -> None:
        _log.warning("Tenant %s is left alone for a while: %s", tenant, message)
        self._recorder.add(Quarantined(tenant, message))

    def _skip(self, change: OpenChange, reason: SkipReason, detail: str) -> None:
        """End a change whose tenant was quarantined or lost its consent after the plan was made."""
        self._end(change, Outcome.SKIPPED, 0, "not sent")
        message = bounded(detail, _LONGEST_MESSAGE)
        self._finish(NotGranted(change, Outcome.SKIPPED, reason, "", message, self._clock()))

    def _finish(self, done: changes.Done) -> None:
        self._recorder.add(done)
        self.applied.outcomes[done.outcome] += 1

    def _not_served(self, change: OpenChange, error: Retriable) -> None:
        if not change.refused_before:
            self._service.unserved(change.tenant)
        self.last_error = str(error)
        message = bounded(f"{NOT_SERVED.meaning} The last: {error}", _LONGEST_MESSAGE)
        self._unserved.append(
            NotServed(change, NOT_SERVED.refusal, NOT_SERVED.code, message, self._clock())
        )

    def _settle_unserved(self) -> None:
        """Remember mailboxes that were not served; end the changes of those silent for days."""
        if not self._unserved:
            return
        with writing(self._ledger, self._claim, self._clock()) as write:
            ends = record_unserved(write, self._unserved)
        self.applied.outcomes.update(one.outcome for one in ends)

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
