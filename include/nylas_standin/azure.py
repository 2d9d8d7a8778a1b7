"""Microsoft's directory: the provider applications and the tenants, as the control plane says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from nylas_standin.provider_errors import FAILURES, ProviderFailure

SecretState = Literal["valid", "expired"]

ANY = "*"
"""The client id under which all applications are set that have no entry of their own."""


@dataclass(frozen=True, slots=True)
class AzureApp:
    """One provider application, registered at Microsoft."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    scopes: tuple[str, ...] = (
        "User.Read.All",
        "Mail.ReadWrite",
        "Mail.Send",
        "Calendars.ReadWrite",
    )
    """Its application permissions: what a consent without scopes of its own is for."""
    secrets: dict[str, SecretState] | None = field(default=None, repr=False)
    """Its client secrets; None takes any."""
    home_tenant: str | None = None
    """The only tenant that may use it; None is every one."""
    callback_registered: bool = True
    """Whether the callback of the API is among its own redirect URIs."""
    enabled: bool = True

    def secret_failure(self, secret: str) -> ProviderFailure | None:
        """What Microsoft has against a client secret."""
        state = "valid" if self.secrets is None else self.secrets.get(secret)
        if state is None:
            return FAILURES["client_secret_invalid"]
        return FAILURES["client_secret_expired"] if state == "expired" else None

    def shown(self) -> dict[str, object]:
        """Everything but the secrets themselves."""
        return {
            "scopes": [*self.scopes],
            "secrets": None if self.secrets is None else [*self.secrets.values()],
            "home_tenant": self.home_tenant,
            "callback_registered": self.callback_registered,
            "enabled": self.enabled,
        }


@dataclass(slots=True)
class AzureApps:
    """All provider applications; whichever is not mentioned exists with what is usual."""

    _apps: dict[str, AzureApp | None] = field(default_factory=lambda: {ANY: AzureApp()})

    def get(self, client_id: str) -> AzureApp | None:
        """The application with that client id, if there is one that is enabled."""
        app = self._apps.get(client_id, self._apps[ANY])
        return app if app is not None and app.enabled else None

    def put(self, changes: Mapping[str, AzureApp | None]) -> None:
        """Sets applications; None makes one like all others, and under `*` lets no other exist."""
        for client_id, app in changes.items():
            if app is None and client_id != ANY:
                self._apps.pop(client_id, None)
            else:
                self._apps[client_id] = app

    def shown(self) -> dict[str, object]:
        """All that is set."""
        return {key: None if app is None else app.shown() for key, app in self._apps.items()}


@dataclass(slots=True)
class Tenants:
    """Which organisations there are, and whose a domain is."""

    domains: dict[str, str] = field(default_factory=dict)
    known: frozenset[str] | None = None
    """The tenants that exist; None is every one."""

    def canonical(self, name: str) -> str:
        """The id of a tenant that is named by its id or by one of its domains.

        A domain that nobody mapped stands for itself, as Microsoft takes domains for tenants too.
        """
        lowered = name.lower()
        return self.domains.get(lowered, lowered)

    def exists(self, name: str) -> bool:
        """Whether Microsoft has that tenant."""
        tenant = self.canonical(name)
        return self.known is None or tenant in self.known or tenant in self.domains.values()

    def elsewhere(self, email: str, tenant: str) -> bool:
        """Whether the address is known to be of another tenant."""
        owner = self.domains.get(email.rpartition("@")[2].lower())
        return owner is not None and owner != tenant

    def map_domains(self, changes: Mapping[str, str | None]) -> None:
        """Says whose domains are; None forgets it."""
        for domain, tenant in changes.items():
            if tenant is None:
                self.domains.pop(domain.lower(), None)
            else:
                self.domains[domain.lower()] = tenant.lower()

    def limit_to(self, tenants: Iterable[str] | None) -> None:
        """Says which tenants exist beside those that have domains."""
        self.known = None if tenants is None else frozenset(one.lower() for one in tenants)
