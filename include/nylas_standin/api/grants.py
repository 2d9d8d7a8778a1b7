"""/v3/grants: list, read, change and delete."""

from pydantic import JsonValue

from nylas_standin.api.calls import Call, as_fields, one_of, page, sorting, whole_number
from nylas_standin.api.envelopes import Reply, not_found
from nylas_standin.standin import Scene
from nylas_standin.world.records import PROVIDERS, Filters, Grant, GrantStatus, Shape
from nylas_standin.world.switches import Switches
from nylas_standin.world.world import World

_LIST_QUERY = frozenset(
    {
        "limit",
        "offset",
        "sort_by",
        "order_by",
        "since",
        "before",
        "email",
        "provider",
        "ip",
        "grant_status",
        "workspace_id",
        "account_id",
        "account_ids",
    }
)
# No grant of the stand-in is in a workspace or comes from an account of the old API.
_NEVER_MATCHING = frozenset({"workspace_id", "account_id", "account_ids"})
_GET_QUERY = frozenset({"expose_aliases"})
# A PATCH may set these, and no reply may show them.
_SECRET_SETTINGS = frozenset(
    {"refresh_token", "password", "imap_password", "smtp_password", "ews_password", "app_password"}
)


def render(grant: Grant, switches: Switches) -> dict[str, JsonValue]:
    """The grant as the API shows it."""
    shape = grant.shape
    shown: dict[str, JsonValue] = {
        "id": grant.id,
        "grant_status": grant.status,
        "provider": shape.provider,
        "scope": shape.scope,
        "email": grant.email,
        "settings": shape.settings,
        "ip": shape.ip,
        "user_agent": shape.user_agent,
        "created_at": grant.created_at,
        "updated_at": grant.updated_at,
        "provider_user_id": grant.email,
        "blocked": grant.blocked,
    }
    if switches.grant_credential_id_top_level and shape.credential_id is not None:
        shown["credential_id"] = shape.credential_id
    if grant.state is not None:
        shown["state"] = grant.state
    if grant.shown:
        shown.update(grant.shown)
        for name in [name for name, value in grant.shown.items() if value is None]:
            del shown[name]
    return shown


def list_all(scene: Scene, call: Call) -> Reply:
    """GET /v3/grants: by default the newest first."""
    world = scene.world
    query = call.query(_LIST_QUERY, world.switches)
    where = page(query, world.switches)
    status = one_of(query, "grant_status", frozenset({"valid", "invalid"}))
    filters = Filters(
        provider=one_of(query, "provider", PROVIDERS),
        status=_status(status),
        ip=query.get("ip"),
        email=query.get("email"),
        since=whole_number(query, "since"),
        before=whole_number(query, "before"),
    )
    sort_by = sorting(query, world.switches)
    order = one_of(query, "order_by", frozenset({"asc", "desc"}))
    if not _NEVER_MATCHING.isdisjoint(query):
        return Reply(200, [], where)
    found = world.grants.select(
        filters,
        sort_by,
        descending=order != "asc",
        offset=where.offset,
        limit=where.limit,
    )
    return Reply(200, [render(grant, world.switches) for grant in found], where)


def _status(text: str | None) -> GrantStatus | None:
    if text == "valid":
        return "valid"
    return "invalid" if text == "invalid" else None


def _found(world: World, call: Call) -> Grant:
    key = call.params["grant_id"]
    grant = world.grants.get(key)
    if grant is None and world.switches.grant_found_by_email:
        grant = next(iter(world.grants.find_all(key.removeprefix("email:"))), None)
    if grant is None:
        raise not_found("There is no grant with that id.")
    return grant


def get(scene: Scene, call: Call) -> Reply:
    """GET /v3/grants/{id}."""
    world = scene.world
    query = call.query(_GET_QUERY, world.switches)
    aliases = one_of(query, "expose_aliases", frozenset({"true", "false"})) == "true"
    shown = render(_found(world, call), world.switches)
    if aliases and shown["provider"] in {"google", "microsoft"}:
        shown["email_aliases"] = []
    return Reply(200, shown)


def update(scene: Scene, call: Call) -> Reply:
    """PATCH /v3/grants/{id}: new settings replace all old ones; new scopes are only a label."""
    world = scene.world
    grant = _found(world, call)
    body = as_fields(call.json()).only({"settings", "scope"}, world.switches)
    settings, scope = body.optional_fields("settings"), body.optional_texts("scope")
    old = grant.shape
    kept: dict[str, JsonValue] = dict(old.settings)
    credential_id = old.credential_id
    if settings is not None:
        kept = {k: v for k, v in settings.values.items() if k not in _SECRET_SETTINGS}
        credential_id = settings.optional_text("credential_id")
    shape = Shape(
        provider=old.provider,
        scope=old.scope if scope is None else [*scope],
        settings=kept,
        credential_id=credential_id,
        ip=old.ip,
        user_agent=old.user_agent,
    )
    grant.shape = world.grants.shared(shape)
    grant.updated_at = world.clock.now()
    world.grants.changed(grant)
    return Reply(200, render(grant, world.switches))


def delete(scene: Scene, call: Call) -> Reply:
    """DELETE /v3/grants/{id}: for good."""
    world = scene.world
    world.grants.remove(_found(world, call))
    return Reply()
