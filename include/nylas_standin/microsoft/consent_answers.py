"""An admin's answer: what it changes at Microsoft, and the redirect that tells the application."""

from dataclasses import dataclass, replace
from typing import ClassVar
from urllib.parse import urlencode, urlsplit, urlunsplit

from nylas_standin.microsoft.consents import Consent, ConsentRequest
from nylas_standin.microsoft.directory import AzureApp
from nylas_standin.microsoft.tokens import Microsoft
from nylas_standin.world.switches import Switches

GRAPH = "https://graph.microsoft.com/"
"""The prefix that a scope may have in a link, and has in Microsoft's redirect."""


@dataclass(frozen=True, slots=True)
class ConsentError:
    """An OAuth error of Microsoft, as it comes back with the redirect."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    error: str
    error_description: str
    error_uri: str | None = None
    error_code: str = "45002"
    """The API's own number for a refusal by a provider; `consent_error_code` switches it on."""


def _aadsts(code: int, error: str, description: str) -> ConsentError:
    uri = f"https://login.microsoftonline.com/error?code={code}"
    return ConsentError(error, f"AADSTS{code}: {description}", uri)


DECLINED = "declined"

CONSENT_ERRORS: dict[str, ConsentError] = {
    DECLINED: _aadsts(65004, "access_denied", "The admin declined to consent to the application."),
    "redirect_uri_mismatch": _aadsts(
        50011, "invalid_request", "The redirect URI is not among those of the application."
    ),
    "user_not_in_tenant": _aadsts(
        50020, "invalid_request", "The account is of another tenant than the one asked for."
    ),
    "not_multi_tenant": _aadsts(
        50194, "invalid_request", "The application is not configured as a multi-tenant one."
    ),
    "mfa_required": _aadsts(
        50076, "interaction_required", "The admin has to use multi-factor authentication."
    ),
    "conditional_access": _aadsts(
        53003, "access_denied", "Access is blocked by a policy of Conditional Access."
    ),
    "principal_exists": _aadsts(
        650051, "invalid_client", "The service principal is present already or still being made."
    ),
    "resource_missing": _aadsts(
        650052, "invalid_resource", "The organisation lacks a service that the application needs."
    ),
    "misconfigured": _aadsts(
        650056, "invalid_client", "The permissions of the application are misconfigured."
    ),
    "application_not_in_tenant": _aadsts(
        700016, "unauthorized_client", "Application was not found in the directory."
    ),
    "tenant_not_found": _aadsts(90002, "invalid_request", "Tenant not found."),
    "admin_required": _aadsts(
        90094, "access_denied", "An admin's permission is required for this application."
    ),
}


def obstacle(microsoft: Microsoft, request: ConsentRequest) -> ConsentError | None:
    """Why Microsoft does not ask the admin at all; None if it does."""
    if request.tenant is not None and not microsoft.tenants.exists(request.tenant):
        return CONSENT_ERRORS["tenant_not_found"]
    app = microsoft.apps.get(request.client_id)
    if app is None:
        return CONSENT_ERRORS["application_not_in_tenant"]
    if not app.callback_registered:
        return CONSENT_ERRORS["redirect_uri_mismatch"]
    if app.home_tenant is None:
        return None
    if request.tenant is None:
        return CONSENT_ERRORS["not_multi_tenant"]
    canonical = microsoft.tenants.canonical
    if canonical(app.home_tenant) != canonical(request.tenant):
        return CONSENT_ERRORS["application_not_in_tenant"]
    return None


def likely_tenant(microsoft: Microsoft, request: ConsentRequest) -> str | None:
    """The tenant whose admin probably answers; None if nothing tells."""
    tenants = microsoft.tenants
    if request.tenant is not None:
        return tenants.canonical(request.tenant)
    if request.login_hint is not None:
        return tenants.canonical(request.login_hint.rpartition("@")[2])
    every = {*tenants.domains.values(), *(tenants.known or ())}
    return every.pop() if len(every) == 1 else None


def scopes_of(app: AzureApp, request: ConsentRequest, switches: Switches) -> list[str]:
    """The application permissions that an approval gives."""
    if request.asked is None:
        return [*app.scopes]
    if switches.consent_scope_override == "delegated":
        return []
    if switches.consent_scope_override == "configured":
        return [scope for scope in request.asked if scope in app.scopes]
    return [*request.asked]


def approve(microsoft: Microsoft, request: ConsentRequest, tenant: str) -> str:
    """The admin of a tenant says yes; the redirect tells whether Microsoft accepts that."""
    app = microsoft.apps.get(request.client_id)
    if app is None:
        return refuse(microsoft, request, CONSENT_ERRORS["application_not_in_tenant"])
    if not microsoft.tenants.exists(tenant):
        return refuse(microsoft, request, CONSENT_ERRORS["tenant_not_found"])
    canonical = microsoft.tenants.canonical(tenant)
    if request.tenant is not None and microsoft.tenants.canonical(request.tenant) != canonical:
        return refuse(microsoft, request, CONSENT_ERRORS["user_not_in_tenant"])
    consent = Consent(
        tenant=canonical,
        client_id=request.client_id,
        credential_id=request.credential_id,
        version=request.version,
        given_at=microsoft.world.clock.now(),
    )
    adds = microsoft.world.switches.consent_again == "adds"
    microsoft.consents.give(consent, scopes_of(app, request, microsoft.world.switches), adds=adds)
    request.answer = "approved"
    request.location = _back(request, _yes(request, canonical, microsoft.world.switches))
    return request.location


def _yes(request: ConsentRequest, tenant: str, switches: Switches) -> dict[str, str]:
    if switches.consent_success_form == "nylas":
        return {"admin_consent": "true"}
    said = {"admin_consent": "True", "tenant": tenant}
    if request.version == "v2":
        asked = (".default",) if request.asked is None else request.asked
        said["scope"] = " ".join(GRAPH + scope for scope in asked)
    return said


def decline(microsoft: Microsoft, request: ConsentRequest) -> str:
    """The admin says no; returns the redirect."""
    error = replace(CONSENT_ERRORS[DECLINED], error=microsoft.world.switches.consent_declined_error)
    return refuse(microsoft, request, error)


def refuse(microsoft: Microsoft, request: ConsentRequest, error: ConsentError) -> str:
    """Ends the request without a consent; the redirect says why."""
    switches = microsoft.world.switches
    said = {"error": error.error, "error_description": error.error_description}
    if error.error_uri is not None and switches.consent_error_uri:
        said["error_uri"] = error.error_uri
    if switches.consent_error_code:
        said["error_code"] = error.error_code
    if switches.consent_error_admin_consent:
        said = {"admin_consent": "True", **said}
    request.answer = "refused"
    request.location = _back(request, said)
    return request.location


def _back(request: ConsentRequest, said: dict[str, str]) -> str:
    """The redirect URI, with the answer after the query that it may have."""
    if request.state is not None:
        said = {**said, "state": request.state}
    parts = urlsplit(request.redirect_uri)
    query = "&".join(part for part in (parts.query, urlencode(said)) if part)
    return urlunsplit(parts._replace(query=query))
