"""Runs as values: what a run is for, its plan, its batches, and how its attempts ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from bulkgrants.model.mailboxes import Grant, Outcome


class Mode(StrEnum):
    """What a run may do with its plan."""

    APPLY = "apply"
    DRY_RUN = "dry_run"
    AUDIT = "audit"


class RunKind(StrEnum):
    """Which DAG a run belongs to."""

    RECONCILE = "reconcile"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Selection:
    """The part of the roster that a run is limited to; `Selection()` means all of it."""

    tenants: tuple[str, ...] = ()
    mailbox: str | None = None
    """A normalised address."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run as the ledger knows it."""

    run_id: int
    application: str
    key: str
    """The DAG id and run id; a run that was started over also has a number at the end."""
    kind: RunKind
    mode: Mode
    mode_reason: str
    """Why the run does nothing at all, in one sentence; empty if it continues."""
    roster_date: date | None
    selection: Selection
    token: int
    """The fencing token of the lease under which the run was opened."""
    opened_at: datetime
    planned_at: datetime | None
    closed_at: datetime | None
    entries: int | None
    rejected: int | None
    observed: int | None
    listing_note: str = ""
    """What was odd about the listing, in a sentence; empty if nothing was."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What later tasks need of a plan; its changes and skips are in the ledger."""

    run_id: int
    batches: tuple[int, ...]
    """Numbers of the batches to apply; none for a dry run."""
    fingerprint: str
    """SHA-256 over the ordered changes; the same changes have the same fingerprint."""
    counts: dict[str, int]
    """How many mailboxes there are by kind of change, `skip:` with a reason, or state."""


class ChangeState(StrEnum):
    """How far a change has got."""

    PLANNED = "planned"
    """It will be applied."""
    HELD = "held"
    """It is in no batch, so no run applies it."""
    DONE = "done"
    """It has an outcome."""


@dataclass(frozen=True, slots=True)
class BatchClaim:
    """One task's right to work on a batch; it ends when another task claims the batch."""

    application: str
    run: Run
    batch: int
    number: int
    """Rises with each claim on the batch."""
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class OpenChange:
    """A change that is still to be made."""

    seq: int
    kind: str
    provider: str
    email: str
    tenant: str
    scopes: str
    credential_id: str
    attempts: int
    """How many attempts earlier tasks have made."""
    refused_before: bool = False
    """Whether the mailbox is in escrow; what it is answered says nothing about its tenant."""
    grant_id: str | None = None
    """The grant that is to be authenticated again; None if there is none."""
    address: str = ""
    """The mailbox's address as that grant has it; empty if it is the same as `email`."""


class AttemptEnd(StrEnum):
    """How an attempt without an `Outcome` ended; its change stays open."""

    RETRIED = "retried"
    """It failed, but another attempt may succeed."""
    STOPPED = "stopped"
    """It failed with an error that ended the whole batch."""


@dataclass(frozen=True, slots=True)
class EndedAttempt:
    """An attempt that is over."""

    seq: int
    number: int
    at: datetime
    outcome: Outcome | AttemptEnd
    http_status: int
    message: str


@dataclass(frozen=True, slots=True)
class Granted:
    """A change that was made: the mailbox has the grant that the roster asks for."""

    change: OpenChange
    outcome: Outcome
    grant: Grant
    at: datetime
    reason: str = ""
    """What was odd about the answer: `another_grant` or `another_address`; empty if nothing."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class NotGranted:
    """A change that was refused, or that was skipped because its tenant is left alone."""

    change: OpenChange
    outcome: Outcome
    reason: str
    """A `Refusal`, or the `SkipReason`."""
    code: str
    """The known error's code; empty if the table of refusals does not have the error."""
    message: str
    at: datetime
    lasting: bool = False
    """Whether it lies in the mailbox itself, until a person acts; it is given up in the end."""


@dataclass(frozen=True, slots=True)
class NotServed:
    """A change that stays open after all attempts, because none was answered."""

    change: OpenChange
    reason: str
    """The `Refusal` that it becomes if this goes on."""
    code: str
    message: str
    at: datetime


class Verification(StrEnum):
    """What reading back has shown about a change that was made."""

    VERIFIED = "verified"
    DRIFT = "drift"
    """The grant is missing, or differs from the change."""
    UNCHECKED = "unchecked"
    """The listing does not show it as it was made, and too many others had to be asked for."""
