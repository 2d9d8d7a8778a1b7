"""The words of the project as values: mailboxes, entries, grants, tenants, changes, skips."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class Provider(StrEnum):
    """The providers whose grants are made in bulk, as Nylas names them."""

    GOOGLE = "google"
    MICROSOFT = "microsoft"


class CredentialType(StrEnum):
    """What a connector uses to act without each user, as Nylas names it."""

    SERVICE_ACCOUNT = "serviceaccount"
    ADMIN_CONSENT = "adminconsent"
    CONNECTOR = "connector"


class GrantStatus(StrEnum):
    """The two states a grant can be in at Nylas."""

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
    """Canonical scopes (`bulkgrants.scopes`), without the identity scopes."""
    credential_id: str | None
    blocked: bool
    created_at: int
    """Unix seconds."""
    updated_at: int
    """Unix seconds of the last authentication."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One row of the tenants table: a customer organisation whose admin consents once."""

    tenant: str
    provider: Provider
    credential: str
    """The credential's name at Nylas, unique within the connector."""
    secret_conn_id: str
    """The Airflow connection that holds the credential's secret; never the secret itself.

    Empty, for Microsoft only, where the connector's own client id and secret are used.
    """
    scopes: str
    """Canonical scopes for entries that name none.

    Always empty for Microsoft, where the admin's consent decides: nothing is asked for with a
    grant, and so nothing is compared. What its grants must carry is in `required`.
    """
    grace: timedelta
    """How long an owned grant without an entry is left alone."""
    enabled: bool
    microsoft_tenant: str = ""
    """Microsoft's tenant id, a domain of it, or `common`, in lower case; empty for Google.

    Empty for Microsoft where the credential's connection may name one, else it is `common`.
    """
    canary: str = ""
    """The one mailbox used to test propagation, normalised; empty where none is named."""
    required: str = ""
    """Canonical scopes that the canary's grant must carry before the tenant is ready.

    For Google the same as `scopes`; for Microsoft short names, as grants show them.
    """
    consent_scopes: str = ""
    """Canonical scopes that the consent link asks for instead of the application's own.

    Empty for Google, and for Microsoft unless `microsoft_tenant` names a single tenant.
    """
    azure_manifest: str = ""
    """The name of a file with the Azure application's exported manifest; empty for none."""


class Awaiting(StrEnum):
    """What a tenant that is not ready still waits for."""

    CONSENT = "consent"
    PROPAGATION = "propagation"


@dataclass(frozen=True, slots=True)
class Desired:
    """What the roster says of a mailbox."""

    tenant: str
    scopes: str
    """Canonical scopes; empty where the provider, not the roster, decides them."""
    credential_id: str | None
    """None while the credential is not registered at Nylas."""


@dataclass(frozen=True, slots=True)
class Actual:
    """What the API says of a mailbox, and what the ledger knows of that grant."""

    grant_id: str
    status: GrantStatus
    scopes: str
    credential_id: str | None
    blocked: bool
    owned: bool
    """Whether the ledger says we created or adopted it; nothing else may be revoked."""
    orphan_since: datetime | None
    """When it was first seen without an entry, or None while it has one."""


@dataclass(frozen=True, slots=True)
class Escrow:
    """A mailbox that was refused and is not tried again before `due_at`."""

    reason: str
    due_at: datetime | None
    """None once it was given up."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tenant stands at the moment of planning."""

    enabled: bool
    awaiting: Awaiting | None
    quarantined_until: datetime | None
    quarantine_reason: str
    grace: timedelta


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Everything besides the two sides that a decision depends on."""

    now: datetime
    provider: str
    standing: Standing
    escrow: Escrow | None = None
    rejected: bool = False
    """Whether today's roster names the mailbox in a row that was rejected."""


class ChangeKind(StrEnum):
    """The changes, in words for tables and reports."""

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
    """Re-authenticate an invalid grant; its id and sync state are kept."""

    kind: ChangeKind = field(default=ChangeKind.RENEW, init=False)
    tenant: str
    scopes: str
    credential_id: str
    grant_id: str


@dataclass(frozen=True, slots=True)
class Rescope:
    """Re-authenticate a valid grant with other scopes; its id and sync state are kept."""

    kind: ChangeKind = field(default=ChangeKind.RESCOPE, init=False)
    tenant: str
    scopes: str
    credential_id: str
    grant_id: str


@dataclass(frozen=True, slots=True)
class Revoke:
    """Delete an owned orphan whose grace is over. Final, and therefore held."""

    kind: ChangeKind = field(default=ChangeKind.REVOKE, init=False)
    grant_id: str


Change = Create | Renew | Rescope | Revoke


class SkipReason(StrEnum):
    """Why a mailbox that differs is deliberately left as it is."""

    TENANT_DISABLED = "tenant_disabled"
    GRANT_BLOCKED = "grant_blocked"
    AWAITING_CONSENT = "awaiting_consent"
    AWAITING_PROPAGATION = "awaiting_propagation"
    TENANT_QUARANTINED = "tenant_quarantined"
    CREDENTIAL_NOT_REGISTERED = "credential_not_registered"
    CREDENTIAL_DIFFERS = "credential_differs"
    IN_ESCROW = "in_escrow"
    GIVEN_UP = "given_up"
    ROSTER_ROW_REJECTED = "roster_row_rejected"
    FOREIGN = "foreign"
    IN_GRACE = "in_grace"
    EQUAL = "equal"


@dataclass(frozen=True, slots=True)
class Skip:
    """A deliberate non-change."""

    reason: SkipReason
    detail: str = ""
    """What a reader wants to know beyond the reason: until when, because of what."""


class Outcome(StrEnum):
    """What an attempt led to."""

    GRANTED = "granted"
    RENEWED = "renewed"
    RESCOPED = "rescoped"
    REFUSED = "refused"
    SKIPPED = "skipped"
    """Planned, then overtaken: its tenant was quarantined, or lost its consent, meanwhile."""


class Mode(StrEnum):
    """What a run may do with its plan."""

    APPLY = "apply"
    DRY_RUN = "dry_run"
    AUDIT = "audit"
