"""What `adminconsent` credentials say to Microsoft, and the grants that hang on it."""

from nylas_standin.microsoft import Identity
from nylas_standin.records import Credential
from nylas_standin.world import World


def identity_of(world: World, credential: Credential) -> Identity | None:
    """The application and tenant of a credential; None if nothing says which application.

    Without a client id of its own it is the connector's, as that is at this moment.
    """
    client_id, secret = (credential.data.get(key) for key in ("client_id", "client_secret"))
    if client_id is None or secret is None:
        connector = world.connectors.get(credential.provider)
        settings = {} if connector is None else connector.settings
        own_id, own_secret = settings.get("client_id"), settings.get("client_secret")
        if not isinstance(own_id, str) or not isinstance(own_secret, str):
            return None
        client_id, secret = own_id, own_secret
    tenant = credential.data.get("tenant", "common")
    return Identity(client_id, secret, None if tenant.lower() == "common" else tenant)


def _identities(world: World) -> dict[str, Identity]:
    found: dict[str, Identity] = {}
    for credential in world.credentials.values():
        identity = identity_of(world, credential) if credential.type == "adminconsent" else None
        if identity is not None:
            found[credential.id] = identity
    return found


def invalidate_tenant(world: World, tenant: str, client_id: str) -> int:
    """The grants stop working that rest on a tenant's consent to an application."""
    ended = 0
    mine = {key: one for key, one in _identities(world).items() if one.client_id == client_id}
    for grant in world.grants:
        identity = mine.get(grant.shape.credential_id or "")
        if identity is None:
            continue
        if world.microsoft.tenant_of(identity, grant.email, world.switches) == tenant:
            grant.status = "invalid"
            ended += 1
    world.grants.changed()
    return ended


def invalidate_expired(world: World) -> None:
    """The grants stop working whose credential holds a secret that has expired."""
    for credential_id, identity in _identities(world).items():
        app = world.microsoft.apps.get(identity.client_id)
        secrets = None if app is None else app.secrets
        if secrets is not None and secrets.get(identity.client_secret) == "expired":
            world.invalidate(credential_id)
