"""Whether an application gets a token from Microsoft, with which scopes, and for which grants.

The order of the checks is a guess: tenant, application, secret, consent, mailbox.
"""

from dataclasses import dataclass, field

from nylas_standin.microsoft.consents import ConsentRequests, Consents, Propagation
from nylas_standin.microsoft.directory import FAILURES, AzureApps, Tenants
from nylas_standin.world.records import Credential, Grant, ProviderFailure
from nylas_standin.world.world import World


@dataclass(frozen=True, slots=True)
class Identity:
    """The provider application and the tenant for which a credential asks for tokens."""

    client_id: str
    client_secret: str = field(repr=False)
    tenant: str | None
    """None is `common`."""


@dataclass(slots=True)
class Microsoft:
    """The directory, the consents, and how fast consents take effect."""

    world: World
    apps: AzureApps = field(default_factory=AzureApps)
    tenants: Tenants = field(default_factory=Tenants)
    requests: ConsentRequests = field(default_factory=ConsentRequests)
    consents: Consents = field(default_factory=Consents)
    propagation: Propagation = field(default_factory=Propagation)

    def identity_of(self, credential: Credential) -> Identity | None:
        """The identity of an `adminconsent` credential; None if no application is known.

        A credential without a client id uses the one that its connector has now.
        """
        client_id, secret = (credential.data.get(key) for key in ("client_id", "client_secret"))
        if client_id is None or secret is None:
            connector = self.world.connectors.get(credential.provider)
            settings = {} if connector is None else connector.settings
            own_id, own_secret = settings.get("client_id"), settings.get("client_secret")
            if not isinstance(own_id, str) or not isinstance(own_secret, str):
                return None
            client_id, secret = own_id, own_secret
        tenant = credential.data.get("tenant", "common")
        return Identity(client_id, secret, None if tenant.lower() == "common" else tenant)

    def tenant_of(self, identity: Identity, email: str) -> str | None:
        """The tenant that issues the token; `common` itself issues none to applications."""
        if identity.tenant is not None:
            return self.tenants.canonical(identity.tenant)
        common = self.world.switches.common_tenant
        if common == "refuse":
            return None
        latest = self.consents.latest(identity.client_id)
        if common == "consent" and latest is not None:
            return latest.tenant
        return self.tenants.canonical(email.rpartition("@")[2])

    def scopes(self, identity: Identity, email: str) -> list[str] | ProviderFailure:
        """The application permissions in a token for a mailbox, or why there is no token."""
        switches = self.world.switches
        tenant = self.tenant_of(identity, email)
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
        visible = consent.visible(self.propagation, self.world.clock.now())
        if not visible and switches.propagation_none == "refuse":
            return FAILURES["consent_missing"]
        if switches.user_lookup_needs_scope and "User.Read.All" not in visible:
            return FAILURES["insufficient_privileges"]
        if self.tenants.elsewhere(email, tenant):
            return FAILURES["mailbox_not_enabled"]
        return visible

    def _admits(self, home: str | None, tenant: str) -> bool:
        return home is None or self.tenants.canonical(home) == tenant

    def invalidate_tenant(self, tenant: str, client_id: str) -> int:
        """Makes the grants invalid that need a tenant's consent to an application; counts them."""
        ended: list[Grant] = []
        mine = {key: one for key, one in self._identities().items() if one.client_id == client_id}
        for grant in self.world.grants:
            identity = mine.get(grant.shape.credential_id or "")
            if identity is not None and self.tenant_of(identity, grant.email) == tenant:
                grant.status = "invalid"
                ended.append(grant)
        self.world.grants.changed(*ended)
        return len(ended)

    def invalidate_expired(self) -> None:
        """Makes the grants invalid whose credential has an expired secret."""
        for credential_id, identity in self._identities().items():
            app = self.apps.get(identity.client_id)
            secrets = None if app is None else app.secrets
            if secrets is not None and secrets.get(identity.client_secret) == "expired":
                self.world.invalidate(credential_id)

    def _identities(self) -> dict[str, Identity]:
        found: dict[str, Identity] = {}
        for credential in self.world.credentials.values():
            identity = self.identity_of(credential) if credential.type == "adminconsent" else None
            if identity is not None:
                found[credential.id] = identity
        return found
