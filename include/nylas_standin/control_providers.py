"""The control plane's say in what Google and Microsoft know and honour."""

from fastapi import APIRouter, HTTPException

from nylas_standin.control_context import TheWorld
from nylas_standin.redirect_uris import checked
from nylas_standin.refresh_tokens import TokenOwner

router = APIRouter()


@router.get("/delegations")
async def delegations(world: TheWorld) -> dict[str, list[str]]:
    """Which service accounts have only some scopes."""
    return {name: sorted(scopes) for name, scopes in world.google.delegations.items()}


@router.put("/delegations")
async def delegate(world: TheWorld, body: dict[str, list[str] | None]) -> dict[str, list[str]]:
    """Sets the scopes of service accounts; null gives an account every scope again."""
    _merge(world.google.delegations, body)
    return await delegations(world)


@router.get("/directory")
async def directory(world: TheWorld) -> dict[str, list[str]]:
    """Which domains have only some mailboxes."""
    return {name: sorted(emails) for name, emails in world.google.directory.items()}


@router.put("/directory")
async def populate(world: TheWorld, body: dict[str, list[str] | None]) -> dict[str, list[str]]:
    """Sets the mailboxes of domains; null gives a domain every mailbox again."""
    lowered = {
        domain.lower(): None if emails is None else [email.lower() for email in emails]
        for domain, emails in body.items()
    }
    _merge(world.google.directory, lowered)
    return await directory(world)


def _merge(target: dict[str, frozenset[str]], changes: dict[str, list[str] | None]) -> None:
    for key, values in changes.items():
        if values is None:
            target.pop(key, None)
        else:
            target[key] = frozenset(values)


@router.put("/revoked-keys")
async def revoke_keys(world: TheWorld, body: list[str]) -> list[str]:
    """Sets the private_key_ids that Google no longer honours."""
    world.google.revoked_keys = set(body)
    return sorted(world.google.revoked_keys)


@router.put("/refresh-tokens")
async def give_out(world: TheWorld, body: dict[str, TokenOwner | None]) -> dict[str, int]:
    """Says which refresh tokens exist and whose they are; null takes one back."""
    return {"tokens": world.refresh_tokens.put(body)}


@router.get("/redirect-uris")
async def redirect_uris(world: TheWorld) -> list[str]:
    """Where the application may be led back to."""
    return [*world.redirect_uris]


@router.put("/redirect-uris")
async def register(world: TheWorld, body: list[str]) -> list[str]:
    """Registers these, and no others."""
    try:
        world.redirect_uris = checked(body)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    return await redirect_uris(world)
