"""Mailboxes as values: their grants, what the roster asks for, and the changes that follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from bulkgrants.model.tenants import Standing

CLOCKS_APART = timedelta(minutes=5)
"""How far Nylas' clock may be behind ours when it is read who made a grant."""


class GrantStatus(StrEnum):
    """The two states that a grant can have at Nylas."""

    VALID = "valid"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Grant:
    """One grant as the API reports it."""

    grant_id: str
    provider: str
    email: str
    """As the API writes it; the ledger keeps it normalised."""
    status: GrantStatus
    scopes: str
    """Canonical scopes (`bulkgrants.text`), without the identity scopes."""
    credential_id: str | None
    blocked: bool
    created_at: int
    """Unix seconds; 0 if the API did not say."""
    updated_at: int
    """Unix seconds of the last authentication; 0 if the API did not say."""
    other_credential_id: str | None = None
    """The credential in the settings, if it contradicts the one at the top level."""

    def made_since(self, since: datetime | None) -> bool:
        """Whether it was made after this moment, as far as two clocks agree; not if it is None."""
        return since is not None and self.created_at >= int((since - CLOCKS_APART).timestamp())

    def is_ours(self, before: Actual | None, since: datetime | None) -> bool:
        """Whether it is ours now that it is the answer to an authentication.

        It is if it was ours `before`, or was made after we began to ask, at `since`. A grant that
        is older does not become ours by a probe: it would be an orphan later, and be deleted.
        """
        was_ours = before is not None and before.owned and before.grant_id == self.grant_id
        return was_ours or self.made_since(since)

    @property
    def key(self) -> str:
        """What tells it apart from other items of a listing."""
        return self.grant_id


@dataclass(frozen=True, slots=True)
class UnreadableGrant:
    """An item of a listing that exists, but that lacks something a grant must have."""

    key: str
    """Tells it apart from other items: its id or, without a readable one, a hash of the item."""
    grant_id: str | None
    """None if it cannot be read."""
    provider: str | None
    """None if it cannot be read."""
    email: str
    """As the API writes it; empty if it cannot be read."""
    fault: str
    """What cannot be read, and why; never the value."""


@dataclass(frozen=True, slots=True)
class Desired:
    """What the roster says about a mailbox."""

    tenant: str
    scopes: str
    """Canonical scopes; empty if the provider, not the roster, decides them."""
    credential_id: str | None
    """None while the credential is not registered at Nylas."""


@dataclass(frozen=True, slots=True)
class Actual:
    """What the API says about a mailbox, and what the ledger knows about its grant."""

    grant_id: str
    status: GrantStatus
    scopes: str
    credential_id: str | None
    blocked: bool
    owned: bool
    """Whether we created or adopted it, by the ledger; only owned grants may be revoked."""
    orphan_since: datetime | None
    """When it was first found without an entry; None while it has one."""
    address: str = ""
    """As Nylas spells it; empty if it is spelled as the mailbox is."""


@dataclass(frozen=True, slots=True)
class Escrow:
    """Why a mailbox was refused, and when it may be tried again."""

    reason: str
    due_at: datetime | None
    """None once it has been given up."""


@dataclass(frozen=True, slots=True)
class EscrowRecord:
    """A refused mailbox as the ledger keeps it in escrow."""

    provider: str
    email: str
    tenant: str
    scopes: str
    """The scopes that were asked for; with other ones, the record no longer counts."""
    credential_id: str | None
    """The credential that was used; with another one, the record no longer counts."""
    reason: str
    """A `Refusal`."""
    code: str
    """The known error's code; empty if the table of refusals does not have the error."""
    message: str
    refusals: int
    """How many there were in a row; 0 while it was not served, but not yet for long."""
    first_refused_at: datetime
    """Of those in a row; for a mailbox that is not served, when that began."""
    due_at: datetime | None
    """None once it has been given up."""


class RejectReason(StrEnum):
    """Why a roster row cannot be an entry, in the words of `rejects` and `docs/roster.md`."""

    UNREADABLE_DATE = "unreadable_date"
    EMPTY_TENANT = "empty_tenant"
    UNKNOWN_TENANT = "unknown_tenant"
    EMPTY_EMAIL = "empty_email"
    BAD_ADDRESS = "bad_address"
    NOT_TEXT = "not_text"
    PROVIDER_MISMATCH = "provider_mismatch"
    UNKNOWN_CREDENTIAL = "unknown_credential"
    SCOPES_NOT_ALLOWED = "scopes_not_allowed"
    UNREADABLE_SCOPES = "unreadable_scopes"
    DUPLICATE = "duplicate"
    CONFLICTING_DUPLICATE = "conflicting_duplicate"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mailbox whose roster entry and grant differ, or for which something is due."""

    provider: str
    email: str
    tenant: str | None
    desired: Desired | None
    actual: Actual | None
    escrow: Escrow | None
    rejected: bool
    """Whether today's roster names the mailbox in a row that was rejected."""
    unreadable: bool = False
    """Whether the listing has an item about the mailbox that could not be read."""
    credential_made_anew: bool = False
    """Whether the grant carries the id that the wanted credential had before it was made anew."""
    permissions_changed: bool = False
    """Whether its Microsoft tenant's canary has got other permissions since the grant was made."""
    shared_with: str | None = None
    """The mailbox whose entry decides about the grant, if several have it and this one does not."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Everything that a decision depends on besides the roster and the API."""

    now: datetime
    provider: str
    standing: Standing
    escrow: Escrow | None = None
    rejected: bool = False
    """Whether today's roster names the mailbox in a row that was rejected."""
    unreadable: bool = False
    """Whether the listing has an item about the mailbox that could not be read."""
    credential_made_anew: bool = False
    """Whether the grant carries the id that the wanted credential had before it was made anew."""
    permissions_changed: bool = False
    """Whether its Microsoft tenant's canary has got other permissions since the grant was made."""
    shared_with: str | None = None
    """The mailbox whose entry decides about the grant, if several have it and this one does not."""


class ChangeKind(StrEnum):
    """The kinds of change, in the words of tables and reports."""

    CREATE = "create"
    RENEW = "renew"
    RESCOPE = "rescope"
    REVOKE = "revoke"


@dataclass(frozen=True, slots=True)
class Create:
    """Make a grant for a mailbox that has none."""

    kind: ChangeKind = field(default=ChangeKind.CREATE, init=False)
    tenant: str
    scopes: str
    credential_id: str


@dataclass(frozen=True, slots=True)
class Renew:
    """Authenticate an invalid grant again; it keeps its id and its sync state."""

    kind: ChangeKind = field(default=ChangeKind.RENEW, init=False)
    tenant: str
    scopes: str
    credential_id: str
    grant_id: str


@dataclass(frozen=True, slots=True)
class Rescope:
    """Authenticate a valid grant again with other scopes; it keeps its id and its sync state."""

    kind: ChangeKind = field(default=ChangeKind.RESCOPE, init=False)
    tenant: str
    scopes: str
    credential_id: str
    grant_id: str


@dataclass(frozen=True, slots=True)
class Revoke:
    """Delete an owned orphan after its grace. Deleting is final, so the change is held."""

    kind: ChangeKind = field(default=ChangeKind.REVOKE, init=False)
    grant_id: str


Change = Create | Renew | Rescope | Revoke


class SkipReason(StrEnum):
    """Why a mailbox that differs is deliberately left as it is."""

    TENANT_DISABLED = "tenant_disabled"
    GRANT_BLOCKED = "grant_blocked"
    GRANT_UNREADABLE = "grant_unreadable"
    AWAITING_CONSENT = "awaiting_consent"
    AWAITING_PROPAGATION = "awaiting_propagation"
    TENANT_QUARANTINED = "tenant_quarantined"
    CREDENTIAL_NOT_REGISTERED = "credential_not_registered"
    CREDENTIAL_DIFFERS = "credential_differs"
    IN_ESCROW = "in_escrow"
    GIVEN_UP = "given_up"
    GRANT_SHARED = "grant_shared"
    ROSTER_ROW_REJECTED = "roster_row_rejected"
    FOREIGN = "foreign"
    IN_GRACE = "in_grace"
    EQUAL = "equal"


@dataclass(frozen=True, slots=True)
class Skip:
    """The decision to leave a mailbox as it is."""

    reason: SkipReason
    detail: str = ""
    """What a reader wants to know besides the reason, such as until when."""


class Outcome(StrEnum):
    """What became of a change."""

    GRANTED = "granted"
    RENEWED = "renewed"
    RESCOPED = "rescoped"
    REFUSED = "refused"
    SKIPPED = "skipped"
    """It was planned, but then its tenant was quarantined or lost its consent."""


MADE = {
    ChangeKind.CREATE: Outcome.GRANTED,
    ChangeKind.RENEW: Outcome.RENEWED,
    ChangeKind.RESCOPE: Outcome.RESCOPED,
}
"""The outcome of each kind of change when it succeeds."""
