"""POST /v3/connect/custom: makes the grant of a mailbox, or authenticates it again."""

from dataclasses import dataclass

from pydantic import JsonValue

from nylas_standin.api.calls import Call, Fields, as_fields
from nylas_standin.api.envelopes import ApiError, Reply, invalid, refused_by_provider
from nylas_standin.api.faults import FAILURES
from nylas_standin.api.grants import render
from nylas_standin.standin import Scene
from nylas_standin.world.records import (
    IDENTITY_SCOPES,
    PROVIDERS,
    Connector,
    Credential,
    Grant,
    ProviderFailure,
    Shape,
)
from nylas_standin.world.world import World


@dataclass(frozen=True, slots=True)
class Permission:
    """What a provider allows for a mailbox."""

    email: str
    scope: list[JsonValue]
    settings: dict[str, JsonValue]


def authenticate(scene: Scene, call: Call) -> Reply:
    """Handles service accounts, admin consent, and refresh tokens."""
    world = scene.world
    body = as_fields(call.json()).only({"provider", "settings", "scope", "state"}, world.switches)
    provider = body.text("provider")
    if provider not in PROVIDERS:
        raise invalid(f"Unknown provider '{provider}'.")
    state = body.optional_text("state")
    settings = body.fields("settings")
    scope = body.optional_texts("scope")
    connector, credential = _credential(world, provider, settings)
    _refuse_mismatch(world, credential, settings)
    if credential.type == "serviceaccount":
        permission = _service_account(scene, connector, credential, settings, scope)
    elif credential.type == "adminconsent":
        permission = _admin_consent(scene, credential, settings)
    else:
        permission = _refresh_token(scene, credential, settings)
    return _grant(world, call, credential, permission, state)


def _unusable(world: World, message: str) -> ApiError:
    return ApiError(world.switches.unusable_credential_status, ".invalid_request_error", message)


def _credential(world: World, provider: str, settings: Fields) -> tuple[Connector, Credential]:
    connector = world.connectors.get(provider)
    if connector is None:
        raise invalid(f"There is no connector for provider '{provider}'.")
    named = settings.optional_text("credential_id")
    credential = world.credentials.get(named or connector.active_credential_id or "")
    if credential is None or credential.provider != provider:
        raise _unusable(
            world, "Field 'settings.credential_id' names no credential of this connector."
        )
    if credential.type != "connector" and not world.switches.bulk_enabled:
        raise ApiError(403, "grant.access_denied", "Bulk authentication is not enabled.")
    return connector, credential


def _refuse_mismatch(world: World, credential: Credential, settings: Fields) -> None:
    """Refuses a refresh token with a bulk credential, and an address with any other."""
    if ("refresh_token" in settings) != (credential.type == "connector"):
        raise _unusable(world, f"These settings do not go with a '{credential.type}' credential.")


def _address(world: World, settings: Fields) -> str:
    email = settings.text("email_address")
    name, at, domain = email.rpartition("@")
    if not name or not at or not domain or any(c.isspace() for c in email):
        raise invalid("Field 'settings.email_address' must be an e-mail address.")
    return email.lower() if world.switches.email_stored == "lower" else email


def _service_account(
    scene: Scene,
    connector: Connector,
    credential: Credential,
    settings: Fields,
    top_level_scope: list[str] | None,
) -> Permission:
    world = scene.world
    settings.only({"credential_id", "email_address", "scopes"}, world.switches)
    email = _address(world, settings)
    scopes = settings.optional_texts("scopes")
    if scopes is None:
        scopes = connector.scope if top_level_scope is None else top_level_scope
    identity = IDENTITY_SCOPES if world.switches.identity_scopes_need_delegation else ()
    failure = scene.google.refusal(credential, email, {*scopes, *identity})
    if failure is not None:
        raise _refusal(world, "google", email, failure)
    granted: dict[str, JsonValue] = {
        "app_permission": True,
        "credential_id": credential.id,
        "credential_type": credential.type,
        "scopes": [*scopes],
    }
    return Permission(email, list(dict.fromkeys([*IDENTITY_SCOPES, *scopes])), granted)


def _admin_consent(scene: Scene, credential: Credential, settings: Fields) -> Permission:
    """Allows the scopes of the tenant's consent that are in force; the call cannot choose any."""
    world = scene.world
    settings.only({"credential_id", "email_address"}, world.switches)
    email = _address(world, settings)
    identity = scene.microsoft.identity_of(credential)
    if identity is None:
        raise _unusable(world, "Neither the credential nor its connector has a client id.")
    scopes = scene.microsoft.scopes(identity, email)
    if not isinstance(scopes, ProviderFailure) and not scene.google.has_mailbox(email):
        scopes = FAILURES["mailbox_not_enabled"]
    if isinstance(scopes, ProviderFailure):
        raise _refusal(world, "microsoft", email, scopes)
    granted: dict[str, JsonValue] = {
        "app_permission": True,
        "app_permission_scopes": [*scopes],
        "credential_id": credential.id,
        "credential_type": credential.type,
    }
    return Permission(email, [*scopes], granted)


def _refresh_token(scene: Scene, credential: Credential, settings: Fields) -> Permission:
    world = scene.world
    settings.only({"credential_id", "refresh_token"}, world.switches)
    owner = scene.google.refresh_tokens.owner(settings.text("refresh_token"))
    if owner is None:
        raise refused_by_provider(FAILURES["bad_refresh_token"], world.switches)
    if not owner.identifies(credential.provider):
        raise invalid("Authentication failed")
    return Permission(owner.email, [*owner.scopes], {})


def _refusal(world: World, provider: str, email: str, failure: ProviderFailure) -> ApiError:
    known = world.grants.find(provider, email)
    if known is not None and world.switches.failed_reauth_invalidates:
        known.status = "invalid"
        world.grants.changed(known)
    return refused_by_provider(failure, world.switches)


def _grant(
    world: World, call: Call, credential: Credential, given: Permission, state: str | None
) -> Reply:
    shape = world.grants.shared(
        Shape(
            provider=credential.provider,
            scope=given.scope,
            settings=given.settings,
            credential_id=credential.id,
            ip=call.ip,
            user_agent=call.user_agent,
        )
    )
    now = world.clock.now()
    email = world.aliases.get(given.email.lower(), given.email)
    known = world.grants.find(credential.provider, email)
    if known is None:
        _refuse_other_provider(world, email)
        grant = Grant(world.ids.record(), email, shape, now, now, state=state)
        world.grants.add(grant)
        return Reply(201, render(grant, world.switches))
    known.shape = shape
    known.status = "valid"
    known.updated_at = now
    known.state = known.state if state is None else state
    world.grants.changed(known)
    return Reply(world.switches.reauth_status, render(known, world.switches))


def _refuse_other_provider(world: World, email: str) -> None:
    if world.switches.other_provider == "refuse" and world.grants.find_all(email):
        message = "The e-mail address has a grant with another provider."
        raise ApiError(400, "grant.reauth_email_invalid", message)
