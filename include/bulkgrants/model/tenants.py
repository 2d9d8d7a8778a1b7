"""Tenants as values: what the tenants table says about them, and how far their onboarding is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bulkgrants.refusals import KnownError, consent_error
from bulkgrants.text import bounded, missing_scopes, split_scopes

COMMON = "common"
"""The Microsoft tenant of a credential to which the admin of any organisation can consent."""
_LONGEST_MESSAGE = 1000
"""Characters; enough for a whole error message with the request id at its end."""
DEFAULT_GRACE = timedelta(days=7)
QUARANTINE = timedelta(hours=6)
"""How long a tenant that was refused as a whole is left alone."""
"""The grace of a tenant whose row in the tenants table does not set one."""


class Provider(StrEnum):
    """The providers for which grants are made in bulk, as Nylas names them."""

    GOOGLE = "google"
    MICROSOFT = "microsoft"


class CredentialType(StrEnum):
    """The types of credential, as Nylas names them."""

    SERVICE_ACCOUNT = "serviceaccount"
    ADMIN_CONSENT = "adminconsent"
    CONNECTOR = "connector"


@dataclass(frozen=True, slots=True)
class Tenant:
    """One row of the tenants table: a customer organisation whose admin delegates or consents."""

    tenant: str
    provider: Provider
    credential: str
    """The credential's name at Nylas, unique within the connector."""
    secret_conn_id: str
    """The Airflow connection that holds the credential's secret; never the secret itself.

    Empty, for Microsoft only, if the connector's own client id and secret are used.
    """
    scopes: str
    """Canonical scopes for entries that do not name any.

    Always empty for Microsoft. There the admin's consent decides: no scopes are asked for with a
    grant, so none are compared. `required` has the scopes that its grants must carry.
    """
    grace: timedelta
    """How long an owned grant without an entry is left alone."""
    enabled: bool
    microsoft_tenant: str = ""
    """Microsoft's tenant id, a domain of it, or `common`, in lower case; empty for Google.

    If it is empty for Microsoft, the credential's connection may name it; otherwise it is `common`.
    """
    canary: str = ""
    """The one mailbox that is probed to test propagation, normalised; empty if none is named."""
    required: str = ""
    """Canonical scopes that the canary's grant must carry before the tenant is ready.

    For Google they are the same as `scopes`; for Microsoft they are short names, as in grants.
    """
    consent_scopes: str = ""
    """Canonical scopes that the consent link asks for instead of the Azure app's own.

    Empty for Google, and for Microsoft unless `microsoft_tenant` names a single tenant.
    """
    azure_manifest: str = ""
    """The name of the file with the Azure app's exported manifest; empty if there is none."""


class Awaiting(StrEnum):
    """What a tenant that is not ready still waits for."""

    CONSENT = "consent"
    PROPAGATION = "propagation"


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a tenant when a plan is made."""

    enabled: bool
    awaiting: Awaiting | None
    quarantined_until: datetime | None
    quarantine_reason: str
    grace: timedelta

    def is_quarantined(self, now: datetime) -> bool:
        """Whether it is in quarantine."""
        # a time much further away was written by a clock that was far ahead
        until = self.quarantined_until
        return until is not None and now < until <= now + 2 * QUARANTINE


@dataclass(frozen=True, slots=True)
class RegisteredCredential:
    """What the ledger knows about a credential that is registered at Nylas."""

    credential_id: str
    fingerprint: str
    """The fingerprint of the secret at Nylas; see `credentials.secrets.fingerprint`."""
    registered_at: datetime
    rotated_at: datetime | None


class Stop(StrEnum):
    """Why a tenant's onboarding has ended until a person asks for the tenant by name."""

    REFUSED = "refused"
    EXPIRED = "expired"
    UNHONOURED = "unhonoured"
    """Several consents in a row were recorded, and the provider honoured none of them."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The right of one onboarding run to write for a tenant."""

    application: str
    tenant: str
    run_key: str
    """The DAG id and run id of the onboarding run."""


@dataclass(frozen=True, slots=True)
class Onboarding:
    """A tenant in onboarding."""

    application: str
    tenant: str
    provider: Provider
    credential: str
    secret_conn_id: str
    microsoft_tenant: str
    canary: str
    scopes: str
    """The scopes to ask for with each grant; empty for Microsoft."""
    required: str
    """The scopes that the canary's grant must carry."""
    consent_scopes: str
    azure_manifest: str
    awaiting: Awaiting | None
    """None once it is ready."""
    since: datetime | None
    """When the present wait began; None once it is ready."""
    stop: Stop | None
    wanted: bool
    """Whether the tenants table still names the tenant, and has it enabled."""

    def held_by(self, run_key: str) -> Hold:
        """The right of the run with this key to write for the tenant."""
        return Hold(self.application, self.tenant, run_key)


@dataclass(frozen=True, slots=True)
class Place:
    """How far a tenant's onboarding is, under the settings that were recorded last."""

    awaiting: Awaiting | None
    stop: Stop | None
    active: bool
    """Whether the tenants table named the tenant and had it enabled."""


@dataclass(frozen=True, slots=True)
class Anew:
    """Where a tenant's onboarding goes on because its settings have changed; any wait is fresh."""

    awaiting: Awaiting | None
    stop: Stop | None = None
    unasked: bool = False
    """Whether links and answers so far do not count, since they were for other settings."""


class ConsentStatus(StrEnum):
    """The state of a consent that was asked for."""

    PENDING = "pending"
    GIVEN = "given"
    REFUSED = "refused"
    EXPIRED = "expired"
    """Another link replaced this one before the admin answered it, or it was for other settings."""
    LOST = "lost"
    """The admin gave it, but the provider no longer honours it."""


@dataclass(frozen=True, slots=True)
class OAuthError:
    """The four fields of an OAuth error, as they were in the redirect; bounded."""

    error: str = ""
    error_code: str = ""
    """Nylas' number for the error."""
    error_description: str = ""
    error_uri: str = ""

    @property
    def known(self) -> KnownError:
        """What the error means, and who has to change what."""
        return consent_error(
            error=self.error, description=self.error_description, code=self.error_code
        )


@dataclass(frozen=True, slots=True)
class Consent:
    """One consent that was asked for, with one link."""

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
    key_id: str = ""
    """The fingerprint of the key that signed its state; empty if it is not known."""
    asked_by: str = ""
    """The run that made its link; empty if it is not known."""


class ProbeOutcome(StrEnum):
    """What a probe showed."""

    GRANTED = "granted"
    """The canary's grant carries every required scope."""
    PARTIAL = "partial"
    """There is a grant, but scopes are missing."""
    REFUSED = "refused"
    UNSERVED = "unserved"
    """Nylas or the provider could not answer, so nothing is known."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What one probe has shown."""

    outcome: ProbeOutcome
    missing: tuple[str, ...]
    """The scopes that the canary's grant does not carry; all of them if there is no grant."""
    message: str = ""
    """The answer, if it was not a grant; otherwise what is odd about the grant, if anything is."""
    known: KnownError | None = None
    """What a refusal means; None if nothing was refused."""
    rest: timedelta = timedelta()
    """How long the other side asked us to wait."""

    @classmethod
    def granted(cls, required: str, carried: str, odd: str = "") -> Probed:
        """The answer was a grant that carries these canonical scopes; `odd` is odd about it."""
        missing = missing_scopes(required, carried)
        return cls(ProbeOutcome.PARTIAL if missing else ProbeOutcome.GRANTED, missing, odd)

    @classmethod
    def refused(cls, required: str, said: object, known: KnownError) -> Probed:
        """The answer was a refusal, which says `said`."""
        return cls(ProbeOutcome.REFUSED, *_without_grant(required, said), known)

    @classmethod
    def unserved(cls, required: str, said: object, after: float | None) -> Probed:
        """There was no answer; the other side asked us to wait `after` seconds, if it did."""
        rest = timedelta(seconds=after or 0)
        return cls(ProbeOutcome.UNSERVED, *_without_grant(required, said), rest=rest)


def _without_grant(required: str, said: object) -> tuple[tuple[str, ...], str]:
    """The scopes that are missing, which are all, and the message."""
    return tuple(split_scopes(required)), bounded(said, _LONGEST_MESSAGE)
