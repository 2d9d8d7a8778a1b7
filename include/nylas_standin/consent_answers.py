"""An admin's answer: what it changes at Microsoft, and the redirect that tells the application."""

from dataclasses import replace
from urllib.parse import urlencode, urlsplit, urlunsplit

from nylas_standin.azure import AzureApp
from nylas_standin.consent_errors import CONSENT_ERRORS, DECLINED, ConsentError
from nylas_standin.consent_requests import ConsentRequest
from nylas_standin.consents import Consent
from nylas_standin.switches import Switches
from nylas_standin.world import World

_GRAPH = "https://graph.microsoft.com/"


def obstacle(world: World, request: ConsentRequest) -> ConsentError | None:
    """What Microsoft has against a request before any admin is asked."""
    microsoft = world.microsoft
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


def likely_tenant(world: World, request: ConsentRequest) -> str | None:
    """The tenant whose admin probably answers, where anything tells."""
    tenants = world.microsoft.tenants
    if request.tenant is not None:
        return tenants.canonical(request.tenant)
    if request.login_hint is not None:
        return tenants.canonical(request.login_hint.rpartition("@")[2])
    every = {*tenants.domains.values(), *(tenants.known or ())}
    return every.pop() if len(every) == 1 else None


def scopes_of(app: AzureApp, request: ConsentRequest, switches: Switches) -> list[str]:
    """The application permissions that a yes to the request is about."""
    if request.asked is None:
        return [*app.scopes]
    if switches.consent_scope_override == "delegated":
        return []
    if switches.consent_scope_override == "configured":
        return [scope for scope in request.asked if scope in app.scopes]
    return [*request.asked]


def approve(world: World, request: ConsentRequest, tenant: str) -> str:
    """The admin of a tenant says yes; the redirect says whether Microsoft took it."""
    microsoft = world.microsoft
    app = microsoft.apps.get(request.client_id)
    if app is None:
        return refuse(world, request, CONSENT_ERRORS["application_not_in_tenant"])
    if not microsoft.tenants.exists(tenant):
        return refuse(world, request, CONSENT_ERRORS["tenant_not_found"])
    canonical = microsoft.tenants.canonical(tenant)
    if request.tenant is not None and microsoft.tenants.canonical(request.tenant) != canonical:
        return refuse(world, request, CONSENT_ERRORS["user_not_in_tenant"])
    consent = Consent(
        tenant=canonical,
        client_id=request.client_id,
        credential_id=request.credential_id,
        version=request.version,
        given_at=world.clock.now(),
    )
    adds = world.switches.consent_again == "adds"
    microsoft.consents.give(consent, scopes_of(app, request, world.switches), adds=adds)
    request.answer = "approved"
    request.location = _back(request, _yes(request, canonical, world.switches))
    return request.location


def _yes(request: ConsentRequest, tenant: str, switches: Switches) -> dict[str, str]:
    if switches.consent_success_form == "nylas":
        return {"admin_consent": "true"}
    said = {"admin_consent": "True", "tenant": tenant}
    if request.version == "v2":
        asked = (".default",) if request.asked is None else request.asked
        said["scope"] = " ".join(_GRAPH + scope for scope in asked)
    return said


def decline(world: World, request: ConsentRequest) -> str:
    """The admin says no."""
    error = replace(CONSENT_ERRORS[DECLINED], error=world.switches.consent_declined_error)
    return refuse(world, request, error)


def refuse(world: World, request: ConsentRequest, error: ConsentError) -> str:
    """It comes to nothing; the redirect says why."""
    switches = world.switches
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
    """The redirect URI with the answer behind whatever query it has."""
    if request.state is not None:
        said = {**said, "state": request.state}
    parts = urlsplit(request.redirect_uri)
    query = "&".join(part for part in (parts.query, urlencode(said)) if part)
    return urlunsplit(parts._replace(query=query))
