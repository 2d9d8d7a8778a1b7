"""Tenants as values: what the tenants table says, and how far each is on its way to ready."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bulkgrants.refusals import KnownError

COMMON = "common"
"""The Microsoft tenant of a credential to which the admins of every organisation can consent."""
DEFAULT_GRACE = timedelta(days=7)
"""How long an owned grant without an entry is left alone where the tenant does not say."""


class Provider(StrEnum):
    """The providers whose grants are made in bulk, as Nylas names them."""

    GOOGLE = "google"
    MICROSOFT = "microsoft"


class CredentialType(StrEnum):
    """What a connector uses to act without each user, as Nylas names it."""

    SERVICE_ACCOUNT = "serviceaccount"
    ADMIN_CONSENT = "adminconsent"
    CONNECTOR = "connector"


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
    """The name of a file with the Azure app's exported manifest; empty for none."""


class Awaiting(StrEnum):
    """What a tenant that is not ready still waits for."""

    CONSENT = "consent"
    PROPAGATION = "propagation"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tenant stands at the moment of planning."""

    enabled: bool
    awaiting: Awaiting | None
    quarantined_until: datetime | None
    quarantine_reason: str
    grace: timedelta


@dataclass(frozen=True, slots=True)
class RegisteredCredential:
    """What the ledger knows of a credential that is registered at Nylas."""

    credential_id: str
    fingerprint: str
    """Of the secret that Nylas holds; see `credentials.secrets.fingerprint`."""
    registered_at: datetime
    rotated_at: datetime | None


class Stop(StrEnum):
    """Why a tenant is not taken up again until a person asks for it by name."""

    REFUSED = "refused"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Hold:
    """The right of one onboarding run to write for a tenant."""

    application: str
    tenant: str
    run_key: str
    """The DAG id and run id of the onboarding run."""


@dataclass(frozen=True, slots=True)
class Onboarding:
    """A tenant on its way to ready."""

    application: str
    tenant: str
    provider: Provider
    credential: str
    secret_conn_id: str
    microsoft_tenant: str
    canary: str
    scopes: str
    """What is asked for each grant; empty for Microsoft."""
    required: str
    """What the canary's grant must carry."""
    consent_scopes: str
    azure_manifest: str
    awaiting: Awaiting | None
    """None once it is ready."""
    since: datetime | None
    """Since when the tenant has waited for what it awaits; None once it is ready."""
    stop: Stop | None
    wanted: bool
    """Whether the tenants table still names the tenant, and has it enabled."""

    def held_by(self, run_key: str) -> Hold:
        """The right of the run with this key to write for the tenant."""
        return Hold(self.application, self.tenant, run_key)


class ConsentStatus(StrEnum):
    """What has become of a consent that was asked for."""

    PENDING = "pending"
    GIVEN = "given"
    REFUSED = "refused"
    EXPIRED = "expired"
    """Another link took its place before the admin answered this one."""
    LOST = "lost"
    """The admin gave it, and the provider honours it no more."""


@dataclass(frozen=True, slots=True)
class OAuthError:
    """The four fields of an OAuth error, as the redirect had them; bounded."""

    error: str = ""
    error_code: str = ""
    """Nylas' number."""
    error_description: str = ""
    error_uri: str = ""


@dataclass(frozen=True, slots=True)
class Consent:
    """One consent that was asked for: one link."""

    consent_id: int
    application: str
    tenant: str
    credential_id: str
    microsoft_tenant: str
    redirect_uri: str
    state_hash: str
    status: ConsentStatus
    requested_at: datetime
    expires_at: datetime
    answered_at: datetime | None
    error: OAuthError


class ProbeOutcome(StrEnum):
    """What a probe showed."""

    GRANTED = "granted"
    """The canary's grant carries every scope it must."""
    PARTIAL = "partial"
    """There is a grant, and scopes are missing."""
    REFUSED = "refused"
    UNSERVED = "unserved"
    """Nylas or the provider could not answer; nothing is known."""


@dataclass(frozen=True, slots=True)
class Probed:
    """One probe."""

    outcome: ProbeOutcome
    missing: tuple[str, ...]
    """The scopes that the canary's grant does not carry; all of them while there is no grant."""
    message: str = ""
    """What was answered instead of a grant."""
    known: KnownError | None = None
    """What a refusal means; None where nothing was refused."""
    rest: timedelta = timedelta()
    """How long the other side asked to be left alone."""
