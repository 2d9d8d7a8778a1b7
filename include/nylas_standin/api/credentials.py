"""/v3/connectors/{provider}/creds: the same data make one credential, and are never shown."""

from pydantic import JsonValue

from nylas_standin.api.calls import Call, Fields, as_fields, one_of, page, sorting
from nylas_standin.api.connectors import connector_of
from nylas_standin.api.envelopes import ApiError, Reply, invalid, not_found
from nylas_standin.standin import Scene
from nylas_standin.world.records import Connector, Credential
from nylas_standin.world.switches import Switches
from nylas_standin.world.world import World

_LIST_QUERY = frozenset({"limit", "offset", "sort_by", "order_by"})
_TYPES = frozenset({"serviceaccount", "adminconsent", "connector"})

_KEY_FILE = frozenset(
    {
        "type",
        "project_id",
        "private_key_id",
        "private_key",
        "client_email",
        "client_id",
        "auth_uri",
        "token_uri",
        "auth_provider_x509_cert_url",
        "client_x509_cert_url",
        "universe_domain",
    }
)
_OAUTH_PROVIDERS = frozenset({"google", "microsoft", "yahoo", "zoom"})
_PROVIDERS = {
    "serviceaccount": frozenset({"google"}),
    "adminconsent": frozenset({"microsoft"}),
    "connector": _OAUTH_PROVIDERS,
}


def render(credential: Credential, switches: Switches) -> dict[str, JsonValue]:
    """The credential as the API shows it, without its data."""
    shown: dict[str, JsonValue] = {
        "id": credential.id,
        "name": credential.name,
        "created_at": credential.created_at,
        "updated_at": credential.updated_at,
    }
    if switches.credential_type_echoed:
        shown["credential_type"] = credential.type
    return shown


def _of(world: World, connector: Connector) -> list[Credential]:
    return [one for one in world.credentials.values() if one.provider == connector.provider]


def _found(world: World, call: Call) -> tuple[Connector, Credential]:
    connector = connector_of(world, call.params["provider"])
    credential = world.credentials.get(call.params["credential_id"])
    if credential is None or credential.provider != connector.provider:
        status = world.switches.credential_not_found_status
        raise not_found("This connector has no credential with that id.", status)
    return connector, credential


def _refuse_taken(world: World, connector: Connector, name: str, own_id: str = "") -> None:
    everywhere = world.switches.credential_name_scope == "application"
    for other in world.credentials.values() if everywhere else _of(world, connector):
        if other.name == name and other.id != own_id:
            status = world.switches.credential_name_taken_status
            raise ApiError(
                status, ".invalid_request_error", f"A credential is named '{name}' already."
            )


def list_all(scene: Scene, call: Call) -> Reply:
    """GET …/creds: by default the newest first."""
    world = scene.world
    connector = connector_of(world, call.params["provider"])
    query = call.query(_LIST_QUERY, world.switches)
    where = page(query, world.switches)
    by_update = sorting(query, world.switches) == "updated_at"
    ascending = one_of(query, "order_by", frozenset({"asc", "desc"})) == "asc"
    found = _of(world, connector)
    found.sort(key=lambda one: one.updated_at if by_update else one.created_at)
    ordered = found if ascending else found[::-1]
    shown = ordered[where.offset : where.offset + where.limit]
    return Reply(200, [render(one, world.switches) for one in shown], where)


def get(scene: Scene, call: Call) -> Reply:
    """GET …/creds/{id}."""
    return Reply(200, render(_found(scene.world, call)[1], scene.world.switches))


def create(scene: Scene, call: Call) -> Reply:
    """POST …/creds: data that a credential has already return that credential."""
    world = scene.world
    connector = connector_of(world, call.params["provider"])
    switches = world.switches
    body = as_fields(call.json()).only({"name", "credential_type", "credential_data"}, switches)
    name, kind = body.text("name"), body.text("credential_type")
    data = _checked(kind, body.fields("credential_data"), connector, switches)
    for other in _of(world, connector):
        if _same(other, name, kind, data, switches):
            return Reply(switches.credential_dedupe_status, render(other, switches))
    _refuse_taken(world, connector, name)
    now = world.clock.now()
    credential = Credential(world.ids.record(), connector.provider, name, kind, data, now, now)
    world.credentials[credential.id] = credential
    return Reply(201, render(credential, switches))


def _same(
    other: Credential, name: str, kind: str, data: dict[str, str], switches: Switches
) -> bool:
    if switches.credential_dedupe == "off" or other.type != kind or other.data != data:
        return False
    return switches.credential_dedupe == "data" or other.name == name


def update(scene: Scene, call: Call) -> Reply:
    """PATCH …/creds/{id}: new data replace all old ones; the id stays."""
    world = scene.world
    connector, credential = _found(world, call)
    body = as_fields(call.json()).only({"name", "credential_data"}, world.switches)
    name = body.text("name") if "name" in body else credential.name
    _refuse_taken(world, connector, name, own_id=credential.id)
    sent = body.optional_fields("credential_data")
    if sent is not None:
        credential.data = _checked(credential.type, sent, connector, world.switches, update=True)
        if world.switches.credential_patch_revives:
            _revive(world, credential)
    credential.name = name
    credential.updated_at = world.clock.now()
    return Reply(200, render(credential, world.switches))


def _revive(world: World, credential: Credential) -> None:
    revived = [one for one in world.grants if one.shape.credential_id == credential.id]
    for grant in revived:
        grant.status = "valid"
    world.grants.changed(*revived)


def delete(scene: Scene, call: Call) -> Reply:
    """DELETE …/creds/{id}: ends its grants; refused for the connector's active credential."""
    world = scene.world
    connector, credential = _found(world, call)
    if connector.active_credential_id == credential.id:
        message = "The active credential of a connector cannot be deleted."
        raise ApiError(world.switches.credential_in_use_status, ".invalid_request_error", message)
    del world.credentials[credential.id]
    if world.switches.credential_delete_invalidates:
        world.invalidate(credential.id)
    return Reply()


def _checked(
    kind: str, data: Fields, connector: Connector, switches: Switches, *, update: bool = False
) -> dict[str, str]:
    """The data of a credential, with everything that its type and provider need."""
    if kind not in _TYPES:
        raise invalid(f"Field 'credential_type' must be one of: {', '.join(sorted(_TYPES))}.")
    if connector.provider not in _PROVIDERS[kind]:
        raise invalid(f"A {connector.provider} connector takes no '{kind}' credential.")
    if kind == "serviceaccount":
        data = data.only(_KEY_FILE, switches)
        _check_key_file(data)
    elif kind == "adminconsent":
        data = data.only({"client_id", "client_secret", "tenant"}, switches)
        _check_consent(data, update=update)
    else:  # other fields differ by provider, and pass
        data.text("client_id")
        data.text("client_secret")
    return {key: data.text(key) for key in data.values}


def _check_key_file(data: Fields) -> None:
    for key in ("private_key_id", "private_key", "client_email"):
        data.text(key)
    if data.optional_text("type") not in {None, "service_account"}:
        raise invalid("Field 'credential_data.type' must be 'service_account'.")


def _check_consent(data: Fields, *, update: bool) -> None:
    """Refuses one of client id and secret alone; at creation both may be the connector's."""
    if update or "client_id" in data or "client_secret" in data:
        data.text("client_id")
        data.text("client_secret")
