"""/v3/connectors: one for each provider; its primary credential is made with it."""

from pydantic import JsonValue

from nylas_standin.api.calls import Call, Fields, as_fields, page
from nylas_standin.api.envelopes import ApiError, Reply, invalid, not_found
from nylas_standin.standin import Scene
from nylas_standin.world.records import PROVIDERS, Connector, Credential
from nylas_standin.world.switches import Switches
from nylas_standin.world.world import World

_WITH_CLIENT = frozenset({"google", "microsoft", "yahoo", "zoom"})
_SETTINGS = {
    "google": frozenset({"client_id", "client_secret", "topic_name"}),
    "microsoft": frozenset({"client_id", "client_secret", "tenant"}),
    "yahoo": frozenset({"client_id", "client_secret"}),
    "zoom": frozenset({"client_id", "client_secret"}),
}
# page_token has no effect, but the official SDK's types have it.
_LIST_QUERY = frozenset({"limit", "offset", "page_token"})


def connector_of(world: World, provider: str) -> Connector:
    """The connector of a provider; raises ApiError with 404 if it does not exist."""
    connector = world.connectors.get(provider)
    if connector is None:
        raise not_found(f"There is no connector for provider '{provider}'.")
    return connector


def render(connector: Connector) -> dict[str, JsonValue]:
    """The connector as the API shows it, without its secret."""
    shown: dict[str, JsonValue] = {
        "name": connector.name,
        "provider": connector.provider,
        "settings": {k: v for k, v in connector.settings.items() if k != "client_secret"},
        "scope": list(connector.scope),
    }
    if connector.active_credential_id is not None:
        shown["active_credential_id"] = connector.active_credential_id
    return shown


def list_all(scene: Scene, call: Call) -> Reply:
    """GET /v3/connectors."""
    world = scene.world
    where = page(call.query(_LIST_QUERY, world.switches), world.switches)
    every = list(world.connectors.values())
    shown = every[where.offset : where.offset + where.limit]
    return Reply(200, [render(connector) for connector in shown], where)


def get(scene: Scene, call: Call) -> Reply:
    """GET /v3/connectors/{provider}."""
    return Reply(200, render(connector_of(scene.world, call.params["provider"])))


def _settings(provider: str, body: Fields, switches: Switches) -> dict[str, JsonValue]:
    """The settings of a new connector, with everything that its provider needs."""
    if provider not in _WITH_CLIENT:
        found = body.optional_fields("settings")
        return dict(found.values) if found is not None else {}
    settings = body.fields("settings").only(_SETTINGS[provider], switches)
    settings.text("client_id")
    settings.text("client_secret")
    for key in ("topic_name", "tenant"):
        settings.optional_text(key)
    return dict(settings.values)


def _primary(world: World, provider: str, settings: dict[str, JsonValue]) -> Credential | None:
    """The credential made with a connector whose settings name a provider application."""
    client_id, client_secret = settings.get("client_id"), settings.get("client_secret")
    if not isinstance(client_id, str) or not isinstance(client_secret, str):
        return None
    now = world.clock.now()
    return Credential(
        id=world.ids.record(),
        provider=provider,
        name=f"{provider} connector",
        type="connector",
        data={"client_id": client_id, "client_secret": client_secret},
        created_at=now,
        updated_at=now,
    )


def create(scene: Scene, call: Call) -> Reply:
    """POST /v3/connectors."""
    world = scene.world
    switches = world.switches
    body = as_fields(call.json())
    provider = body.text("provider")
    if provider not in PROVIDERS:
        raise invalid(f"Unknown provider '{provider}'.")
    known = {"provider", "name", "settings", "scope", "active_credential_id"}
    body.only(known | {"scopes"} if provider == "ews" else known, switches)
    if provider in world.connectors:
        message = f"A connector for provider '{provider}' exists already."
        raise ApiError(switches.duplicate_connector_status, ".invalid_request_error", message)
    if body.optional_text("active_credential_id") is not None:
        raise invalid("A connector that does not exist yet has no other credential.")
    settings = _settings(provider, body, switches)
    scope = body.optional_texts("scope") or body.optional_texts("scopes") or []
    name = body.optional_text("name") or provider
    primary = _primary(world, provider, settings)
    if primary is not None:
        world.credentials[primary.id] = primary
    active = primary.id if primary is not None else None
    connector = Connector(provider, name, settings, scope, active)
    world.connectors[provider] = connector
    return Reply(201, render(connector))


def put(scene: Scene, call: Call) -> Reply:
    """PUT /v3/connectors/{provider}: what PATCH does, since the official Node SDK sends it."""
    if scene.world.switches.connector_put == "refuse":
        raise not_found("There is no such route.")
    return update(scene, call)


def update(scene: Scene, call: Call) -> Reply:
    """PATCH /v3/connectors/{provider}: new settings replace all old ones."""
    world = scene.world
    connector = connector_of(world, call.params["provider"])
    body = as_fields(call.json())
    body.only({"name", "settings", "scope", "active_credential_id"}, world.switches)
    name = body.optional_text("name")
    scope = body.optional_texts("scope")
    active = body.optional_text("active_credential_id")
    if active is not None and not _belongs(world, active, connector.provider):
        raise invalid("Field 'active_credential_id' names no credential of this connector.")
    settings = _replacement(connector, body, world.switches)
    if settings is not None:
        connector.settings = settings
        _pass_on(world, connector)
    connector.name = name or connector.name
    connector.scope = connector.scope if scope is None else scope
    connector.active_credential_id = active or connector.active_credential_id
    return Reply(200, render(connector))


def _belongs(world: World, credential_id: str, provider: str) -> bool:
    credential = world.credentials.get(credential_id)
    return credential is not None and credential.provider == provider


def _replacement(
    connector: Connector, body: Fields, switches: Switches
) -> dict[str, JsonValue] | None:
    if "settings" not in body:
        return None
    if switches.partial_settings == "refuse":
        return _settings(connector.provider, body, switches)
    settings = body.fields("settings")
    if connector.provider in _SETTINGS:
        settings = settings.only(_SETTINGS[connector.provider], switches)
    for key in settings.values:
        settings.optional_text(key)
    return dict(settings.values)


def _pass_on(world: World, connector: Connector) -> None:
    """Gives new client data also to the active credential, if that has the same type of data."""
    credential = world.credentials.get(connector.active_credential_id or "")
    client_id, secret = (connector.settings.get(key) for key in ("client_id", "client_secret"))
    if credential is None or credential.type != "connector":
        return
    if isinstance(client_id, str) and isinstance(secret, str):
        credential.data = {"client_id": client_id, "client_secret": secret}
        credential.updated_at = world.clock.now()


def delete(scene: Scene, call: Call) -> Reply:
    """DELETE /v3/connectors/{provider}: deletes its credentials too, and ends its grants."""
    world = scene.world
    connector = connector_of(world, call.params["provider"])
    del world.connectors[connector.provider]
    for credential in list(world.credentials.values()):
        if credential.provider == connector.provider:
            del world.credentials[credential.id]
    if world.switches.connector_delete_grants == "remove":
        world.grants.remove_provider(connector.provider)
    else:
        ended = [one for one in world.grants if one.shape.provider == connector.provider]
        for grant in ended:
            grant.status = "invalid"
        world.grants.changed(*ended)
    return Reply()
