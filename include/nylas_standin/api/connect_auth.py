"""GET /v3/connect/auth: the link that takes a Microsoft admin to the consent screen."""

from nylas_standin.api.calls import Call, one_of
from nylas_standin.api.envelopes import ApiError, Reply, invalid_query
from nylas_standin.microsoft.consent_answers import GRAPH
from nylas_standin.microsoft.consent_screen import CONSENT_PATH
from nylas_standin.microsoft.consents import ConsentRequest
from nylas_standin.microsoft.tokens import Identity
from nylas_standin.standin import Scene
from nylas_standin.world.records import Credential
from nylas_standin.world.world import World

STATE_LENGTH = 256

_QUERY = frozenset(
    {
        "client_id",
        "redirect_uri",
        "response_type",
        "provider",
        "scope",
        "prompt",
        "state",
        "login_hint",
        "access_type",
        "code_challenge",
        "code_challenge_method",
        "credential_id",
        "options",
        "include_grant_scopes",
    }
)
_CLOSED = {
    "access_type": frozenset({"online", "offline"}),
    "prompt": frozenset(
        {"select_provider", "detect", "select_provider,detect", "detect,select_provider"}
    ),
    # The official SDKs write s256.
    "code_challenge_method": frozenset({"plain", "S256", "s256"}),
    "options": frozenset({"exclude_google_granted_scopes", "smtp_required"}),
    "include_grant_scopes": frozenset({"true", "false"}),
}
_ALL_CONFIGURED = ".default"
_IDENTITY = frozenset({"openid", "profile", "email", "offline_access"})


def begin(scene: Scene, call: Call) -> Reply:
    """Checks the link, and redirects to the consent screen."""
    world = scene.world
    query = call.query(_QUERY, world.switches)
    _check_application(world, query)
    for name, values in _CLOSED.items():
        one_of(query, name, values)
    if len(query.get("state", "")) > STATE_LENGTH:
        raise invalid_query(f"Query parameter 'state' is longer than {STATE_LENGTH} characters.")
    hint = query.get("login_hint")
    if hint is not None and not all(hint.rpartition("@")):
        raise invalid_query("Query parameter 'login_hint' must be an e-mail address.")
    _check_kind(query)
    credential, identity = _credential(scene, query.get("credential_id"))
    request = ConsentRequest(
        id=world.ids.consent(),
        credential_id=credential.id,
        client_id=identity.client_id,
        tenant=identity.tenant,
        asked=_scopes(query.get("scope"), identity, world),
        redirect_uri=query["redirect_uri"],
        state=query.get("state"),
        login_hint=hint,
        made_at=world.clock.now(),
    )
    scene.microsoft.requests.add(request)
    return Reply(302, location=f"{CONSENT_PATH}/{request.id}")


def _required(query: dict[str, str], name: str) -> str:
    found = query.get(name)
    if not found:
        raise invalid_query(f"Query parameter '{name}' is required.")
    return found


def _check_application(world: World, query: dict[str, str]) -> None:
    if _required(query, "client_id") != world.config.client_id:
        raise invalid_query("Query parameter 'client_id' names no application.")
    if _required(query, "redirect_uri") not in world.redirect_uris:
        spelling = world.switches.redirect_refused_type
        kind = ".invalid_query_params" if spelling == "invalid_query_params" else spelling
        raise ApiError(400, kind, "RedirectURI is not registered with the application.")


def _check_kind(query: dict[str, str]) -> None:
    """Refuses all but admin consent, which only Microsoft has."""
    _required(query, "response_type")
    if one_of(query, "response_type", frozenset({"code", "adminconsent"})) == "code":
        raise invalid_query("This stand-in has no hosted OAuth: 'response_type' is 'adminconsent'.")
    if _required(query, "provider") != "microsoft":
        raise invalid_query("Admin consent is for provider 'microsoft' only.")


def _credential(scene: Scene, named: str | None) -> tuple[Credential, Identity]:
    world = scene.world
    connector = world.connectors.get("microsoft")
    if connector is None:
        raise invalid_query("There is no connector for provider 'microsoft'.")
    if not world.switches.bulk_enabled:
        raise ApiError(403, "grant.access_denied", "Bulk authentication is not enabled.")
    active = world.switches.consent_without_credential == "active"
    if named is None and not active:
        raise invalid_query("Query parameter 'credential_id' is required.")
    credential = world.credentials.get(named or connector.active_credential_id or "")
    # The connector's own credential has another type: a link can use it, but not name it.
    fit = named is None or (credential is not None and credential.type == "adminconsent")
    if credential is None or credential.provider != "microsoft" or not fit:
        status = world.switches.unusable_credential_status
        message = "Query parameter 'credential_id' names no 'adminconsent' credential."
        raise ApiError(status, ".invalid_query_params", message)
    identity = scene.microsoft.identity_of(credential)
    if identity is None:
        raise invalid_query("Neither the credential nor its connector has a client id and secret.")
    return credential, identity


def _scopes(text: str | None, identity: Identity, world: World) -> tuple[str, ...] | None:
    """The application permissions in the link; None is all that the application has."""
    switches = world.switches
    if identity.tenant is None:
        if text is None or switches.consent_scope_with_common == "ignore":
            return None
        raise invalid_query("Query parameter 'scope' needs a credential with a tenant id.")
    if text is None:
        if switches.consent_scope_omitted == "application":
            return None
        connector = world.connectors.get("microsoft")
        names = [one.removeprefix(GRAPH) for one in (connector.scope if connector else ())]
    else:
        names = [one.removeprefix(GRAPH) for one in text.split(" ")]
    if not all(names):
        raise invalid_query("Query parameter 'scope' must be scopes with one space between them.")
    if _ALL_CONFIGURED in names:
        return None
    return tuple(dict.fromkeys(one for one in names if one not in _IDENTITY))
