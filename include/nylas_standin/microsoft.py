"""Microsoft's side of admin consent: whether an application gets a token, and with what in it."""

from dataclasses import dataclass, field

from nylas_standin.azure import AzureApps, Tenants
from nylas_standin.consent_requests import ConsentRequests
from nylas_standin.consents import Consents, Propagation
from nylas_standin.provider_errors import FAILURES, ProviderFailure
from nylas_standin.switches import Switches


@dataclass(frozen=True, slots=True)
class Identity:
    """What an `adminconsent` credential says to Microsoft."""

    client_id: str
    client_secret: str = field(repr=False)
    tenant: str | None
    """None is `common`."""


@dataclass(slots=True)
class Microsoft:
    """The directory, the consents, and the pace at which they come into force."""

    apps: AzureApps = field(default_factory=AzureApps)
    tenants: Tenants = field(default_factory=Tenants)
    requests: ConsentRequests = field(default_factory=ConsentRequests)
    consents: Consents = field(default_factory=Consents)
    propagation: Propagation = field(default_factory=Propagation)

    def tenant_of(self, identity: Identity, email: str, switches: Switches) -> str | None:
        """The tenant at which a token is asked for; `common` itself gives none to applications."""
        if identity.tenant is not None:
            return self.tenants.canonical(identity.tenant)
        if switches.common_tenant == "refuse":
            return None
        latest = self.consents.latest(identity.client_id)
        if switches.common_tenant == "consent" and latest is not None:
            return latest.tenant
        return self.tenants.canonical(email.rpartition("@")[2])

    def scopes(
        self, identity: Identity, email: str, now: int, switches: Switches
    ) -> list[str] | ProviderFailure:
        """The application permissions in a token for a mailbox, or why there is no token."""
        tenant = self.tenant_of(identity, email, switches)
        if tenant is None:
            return FAILURES["grant_type_on_common"]
        if not self.tenants.exists(tenant):
            return FAILURES["tenant_not_found"]
        app = self.apps.get(identity.client_id)
        if app is None or not self._admits(app.home_tenant, tenant):
            return FAILURES["application_not_in_tenant"]
        failure = app.secret_failure(identity.client_secret)
        if failure is not None:
            return failure
        consent = self.consents.get(tenant, identity.client_id)
        if consent is None:
            return FAILURES[switches.consent_missing_error]
        visible = consent.visible(self.propagation, now)
        if not visible and switches.propagation_none == "refuse":
            return FAILURES["consent_missing"]
        if switches.user_lookup_needs_scope and "User.Read.All" not in visible:
            return FAILURES["insufficient_privileges"]
        if self.tenants.elsewhere(email, tenant):
            return FAILURES["mailbox_not_enabled"]
        return visible

    def _admits(self, home: str | None, tenant: str) -> bool:
        return home is None or self.tenants.canonical(home) == tenant
