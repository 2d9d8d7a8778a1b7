"""/v3/connectors/{provider}/creds: made once for the same data, rotated in place, never shown."""

from nylas_standin.calls import Call, one_of, page
from nylas_standin.checks import as_fields
from nylas_standin.connectors import connector_of
from nylas_standin.credential_data import checked
from nylas_standin.envelopes import ApiError, Reply, not_found
from nylas_standin.records import Connector, Credential
from nylas_standin.switches import Switches
from nylas_standin.wire import Json
from nylas_standin.world import World

_LIST_QUERY = frozenset({"limit", "offset", "sort_by", "order_by"})


def render(credential: Credential, switches: Switches) -> dict[str, Json]:
    """The credential as the API shows it: everything but what it is made of."""
    shown: dict[str, Json] = {
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


def list_all(world: World, call: Call) -> Reply:
    """GET …/creds, newest first unless told otherwise."""
    connector = connector_of(world, call.params["provider"])
    query = call.query(_LIST_QUERY, world.switches)
    where = page(query, world.switches)
    by_update = one_of(query, "sort_by", frozenset({"created_at", "updated_at"})) == "updated_at"
    ascending = one_of(query, "order_by", frozenset({"asc", "desc"})) == "asc"
    found = _of(world, connector)
    found.sort(key=lambda one: one.updated_at if by_update else one.created_at)
    ordered = found if ascending else found[::-1]
    shown = ordered[where.offset : where.offset + where.limit]
    return Reply(200, [render(one, world.switches) for one in shown], where)


def get(world: World, call: Call) -> Reply:
    """GET …/creds/{id}."""
    return Reply(200, render(_found(world, call)[1], world.switches))


def create(world: World, call: Call) -> Reply:
    """POST …/creds; the same data again give the credential that has them."""
    connector = connector_of(world, call.params["provider"])
    switches = world.switches
    body = as_fields(call.json()).only({"name", "credential_type", "credential_data"}, switches)
    name, kind = body.text("name"), body.text("credential_type")
    data = checked(kind, body.fields("credential_data"), connector, switches)
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


def update(world: World, call: Call) -> Reply:
    """PATCH …/creds/{id}: the data that are sent replace all of the old ones, the id stays."""
    connector, credential = _found(world, call)
    body = as_fields(call.json()).only({"name", "credential_data"}, world.switches)
    name = body.text("name") if "name" in body else credential.name
    _refuse_taken(world, connector, name, own_id=credential.id)
    sent = body.optional_fields("credential_data")
    if sent is not None:
        credential.data = checked(credential.type, sent, connector, world.switches, update=True)
        if world.switches.credential_patch_revives:
            _revive(world, credential)
    credential.name = name
    credential.updated_at = world.clock.now()
    return Reply(200, render(credential, world.switches))


def _revive(world: World, credential: Credential) -> None:
    for grant in world.grants:
        if grant.shape.credential_id == credential.id:
            grant.status = "valid"
    world.grants.changed()


def delete(world: World, call: Call) -> Reply:
    """DELETE …/creds/{id}: not the connector's active one; the grants that used it stop working."""
    connector, credential = _found(world, call)
    if connector.active_credential_id == credential.id:
        message = "The active credential of a connector cannot be deleted."
        raise ApiError(world.switches.credential_in_use_status, ".invalid_request_error", message)
    del world.credentials[credential.id]
    if world.switches.credential_delete_invalidates:
        world.invalidate(credential.id)
    return Reply()
