"""Writes what happens to a batch into the ledger, several events in each transaction."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bulkgrants.errors import Unavailable
from bulkgrants.ledger import changes
from bulkgrants.ledger.database import Ledger
from bulkgrants.ledger.onboarding import lose_consent
from bulkgrants.ledger.rights import KEEP_EVERY, Writing, writing
from bulkgrants.ledger.staging import Owned, own
from bulkgrants.ledger.tenants import lock_tenants, quarantine
from bulkgrants.model import (
    BatchClaim,
    EndedAttempt,
    EscrowRecord,
    Granted,
    NotGranted,
    NotServed,
    Outcome,
)
from bulkgrants.ports import Clock
from bulkgrants.reconcile.escrow import after_refusal, after_silence, silent_for_too_long

_WRITE_EVERY = 0.25
_LOG_EVERY = 10.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A tenant that is left alone for a while from now on."""

    tenant: str
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A Microsoft tenant whose consent is no longer honoured by the provider."""

    tenant: str


Event = EndedAttempt | Granted | NotGranted | Quarantined | Lost


class Recorder:
    """Collects events on the event loop and writes them from a thread."""

    def __init__(self, ledger: Ledger, claim: BatchClaim, clock: Clock) -> None:
        self._ledger = ledger
        self._claim = claim
        self._clock = clock
        self._events: list[Event] = []
        self._written_at = time.monotonic()
        self._done = 0
        self._logged_at = time.monotonic()

    def add(self, *events: Event) -> None:
        """Take up events; `run` writes them to the ledger a moment later."""
        self._events.extend(events)

    async def run(self) -> None:
        """Write events every quarter of a second until cancelled.

        It also writes when nothing has happened for a while, to keep the lease. Raises Superseded
        if another process has taken over.
        """
        while True:
            await asyncio.sleep(_WRITE_EVERY)
            silent = time.monotonic() - self._written_at
            if self._events or silent >= KEEP_EVERY.total_seconds():
                await self._write_down()

    async def flush(self) -> None:
        """Write the events that `run` has not written. Raises Superseded."""
        if self._events:
            await self._write_down()

    async def _write_down(self) -> None:
        """Write the events; a write that has begun is awaited even if the task is cancelled."""
        events, self._events = self._events, []
        task = asyncio.create_task(asyncio.to_thread(self._write, events))
        try:
            await _to_its_end(task)
        except Unavailable:
            self._events = [*events, *self._events]  # written again at the end
            raise

    def _write(self, events: list[Event]) -> None:
        now = self._clock()
        done = [one for one in events if isinstance(one, Granted | NotGranted)]
        with writing(self._ledger, self._claim, now) as write:
            changes.end_attempts(write, [one for one in events if isinstance(one, EndedAttempt)])
            # tenants before escrow, in the order in which a credential is recorded
            lost = _leave_alone(write, events)
            record(write, done)
        log_lost_consents(lost)
        self._written_at = time.monotonic()
        self._log_progress(len(done))

    def _log_progress(self, done: int) -> None:
        self._done += done
        if time.monotonic() - self._logged_at >= _LOG_EVERY:
            self._logged_at = time.monotonic()
            size = self._claim.last_seq - self._claim.first_seq + 1
            _log.info("Batch %d: %d of up to %d changes done", self._claim.batch, self._done, size)


async def _to_its_end(task: asyncio.Task[None]) -> None:
    """Await the task, even if the present one is cancelled meanwhile."""
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _leave_alone(write: Writing[BatchClaim], events: Sequence[Event]) -> list[str]:
    """Quarantine tenants, and return those that have lost their consent just now."""
    losing = {one.tenant for one in events if isinstance(one, Lost)}
    reasons = {one.tenant: one.reason for one in events if isinstance(one, Quarantined)}
    if not losing and not reasons:
        return []
    lock_tenants(write.connection, write.application, {*losing, *reasons})
    for tenant, reason in reasons.items():
        quarantine(write, tenant, reason)
    return lose_consent(write, sorted(losing))


def record(write: Writing[BatchClaim], done: Sequence[changes.Done]) -> None:
    """Write outcomes and new grants, and move mailboxes into and out of escrow."""
    granted = [one for one in done if isinstance(one, Granted)]
    known = changes.read_escrow(write, [_mailbox(one) for one in done])
    changes.finish(write, done)
    own(
        write,
        [
            Owned(one.change.provider, one.change.email, one.change.tenant, one.grant)
            for one in granted
        ],
    )
    recovered = [_mailbox(one) for one in granted if _mailbox(one) in known]
    changes.take_out_of_escrow(write, recovered)
    refused = [
        one for one in done if isinstance(one, NotGranted) and one.outcome is Outcome.REFUSED
    ]
    changes.put_into_escrow(
        write, [after_refusal(one, known.get(_mailbox(one))) for one in refused]
    )


def record_unserved(write: Writing[BatchClaim], unserved: Sequence[NotServed]) -> list[NotGranted]:
    """End the changes of mailboxes that were not served for too long, and return their ends.

    The others stay open, and their mailboxes are remembered in escrow.
    """
    known = changes.read_escrow(write, [_mailbox(one) for one in unserved])
    answers = changes.last_answers(write, {one.change.tenant for one in unserved})
    ends, still_open = list[NotGranted](), list[EscrowRecord]()
    for one in unserved:
        before = known.get(_mailbox(one))
        end = silent_for_too_long(one, before, tenant_answered_at=answers.get(one.change.tenant))
        if end is None:
            still_open.append(after_silence(one, before))
        else:
            ends.append(end)
    record(write, ends)
    changes.put_into_escrow(write, still_open)
    return ends


def _mailbox(one: changes.Done | NotServed) -> tuple[str, str]:
    return one.change.provider, one.change.email


def log_lost_consents(lost: Iterable[str]) -> None:
    """Tell the on-call engineer what has happened and what comes next."""
    for tenant in lost:
        _log.warning(
            "Tenant %s has lost its admin's consent: Microsoft refuses its mailboxes because it is "
            "missing. Its grants are left as they are; onboard_tenants will ask the admin again.",
            tenant,
        )
