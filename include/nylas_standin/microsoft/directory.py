"""Microsoft's directory: provider applications, tenants, and its refusals to issue a token."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from nylas_standin.world.records import ProviderFailure

SecretState = Literal["valid", "expired"]

ANY = "*"
"""The client id that sets all applications without an entry of their own."""


def _aadsts(code: int, error: str, description: str, *, status: int = 400) -> ProviderFailure:
    answer = {"error": error, "error_description": f"AADSTS{code}: {description}"}
    return ProviderFailure(status, {**answer, "error_codes": [code]})


def _graph(status: int, code: str, message: str) -> ProviderFailure:
    return ProviderFailure(status, {"error": {"code": code, "message": message}})


FAILURES: dict[str, ProviderFailure] = {
    "mailbox_not_enabled": _graph(
        404,
        "MailboxNotEnabledForRESTAPI",
        "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
    ),
    "consent_missing": _aadsts(
        65001,
        "invalid_grant",
        "The user or administrator has not consented to use the application.",
    ),
    "client_secret_invalid": _aadsts(
        7000215, "invalid_client", "Invalid client secret provided.", status=401
    ),
    "client_secret_expired": _aadsts(
        7000222, "invalid_client", "The provided client secret keys are expired.", status=401
    ),
    "tenant_not_found": _aadsts(90002, "invalid_request", "Tenant not found."),
    "application_not_in_tenant": _aadsts(
        700016, "unauthorized_client", "Application was not found in the directory."
    ),
    "grant_type_on_common": _aadsts(
        9001023, "invalid_request", "The grant type is not supported over the /common endpoint."
    ),
    "insufficient_privileges": _graph(
        403,
        "Authorization_RequestDenied",
        "Insufficient privileges to complete the operation.",
    ),
}


@dataclass(frozen=True, slots=True)
class AzureApp:
    """A provider application that is registered at Microsoft."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    scopes: tuple[str, ...] = (
        "User.Read.All",
        "Mail.ReadWrite",
        "Mail.Send",
        "Calendars.ReadWrite",
    )
    """Its application permissions: the scopes of a consent whose link names none."""
    secrets: dict[str, SecretState] | None = field(default=None, repr=False)
    """Its client secrets; None accepts any."""
    home_tenant: str | None = None
    """The only tenant that may use it; None is every tenant."""
    callback_registered: bool = True
    """Whether the API's callback is one of the application's redirect URIs."""
    enabled: bool = True

    def secret_failure(self, secret: str) -> ProviderFailure | None:
        """Why Microsoft refuses a client secret; None if it accepts it."""
        state = "valid" if self.secrets is None else self.secrets.get(secret)
        if state is None:
            return FAILURES["client_secret_invalid"]
        return FAILURES["client_secret_expired"] if state == "expired" else None

    def shown(self) -> dict[str, object]:
        """The application as the control plane shows it, without the secrets."""
        return {
            "scopes": [*self.scopes],
            "secrets": None if self.secrets is None else [*self.secrets.values()],
            "home_tenant": self.home_tenant,
            "callback_registered": self.callback_registered,
            "enabled": self.enabled,
        }


@dataclass(slots=True)
class AzureApps:
    """All provider applications; one that is not mentioned exists, with the defaults."""

    _apps: dict[str, AzureApp | None] = field(default_factory=lambda: {ANY: AzureApp()})

    def get(self, client_id: str) -> AzureApp | None:
        """The application with that client id, if it exists and is enabled."""
        app = self._apps.get(client_id, self._apps[ANY])
        return app if app is not None and app.enabled else None

    def put(self, changes: Mapping[str, AzureApp | None]) -> None:
        """Sets applications; None resets one to the defaults, and under `*` removes all others."""
        for client_id, app in changes.items():
            if app is None and client_id != ANY:
                self._apps.pop(client_id, None)
            else:
                self._apps[client_id] = app

    def shown(self) -> dict[str, object]:
        """The applications that are set, as the control plane shows them."""
        return {key: None if app is None else app.shown() for key, app in self._apps.items()}


@dataclass(slots=True)
class Tenants:
    """The tenants that exist, and the domains they own."""

    domains: dict[str, str] = field(default_factory=dict)
    known: frozenset[str] | None = None
    """The tenants that exist without a domain; None is every tenant."""

    def canonical(self, name: str) -> str:
        """The id of a tenant that is named by its id or by one of its domains.

        A domain that is not mapped is its own tenant, as Microsoft accepts domains as tenants too.
        """
        lowered = name.lower()
        return self.domains.get(lowered, lowered)

    def exists(self, name: str) -> bool:
        """Whether the tenant exists."""
        tenant = self.canonical(name)
        return self.known is None or tenant in self.known or tenant in self.domains.values()

    def elsewhere(self, email: str, tenant: str) -> bool:
        """Whether the address is in a domain of another tenant."""
        owner = self.domains.get(email.rpartition("@")[2].lower())
        return owner is not None and owner != tenant

    def map_domains(self, changes: Mapping[str, str | None]) -> None:
        """Gives domains to tenants; None removes a domain."""
        for domain, tenant in changes.items():
            if tenant is None:
                self.domains.pop(domain.lower(), None)
            else:
                self.domains[domain.lower()] = tenant.lower()

    def limit_to(self, tenants: Iterable[str] | None) -> None:
        """Sets which tenants exist besides those with domains; None is every tenant."""
        self.known = None if tenants is None else frozenset(one.lower() for one in tenants)
