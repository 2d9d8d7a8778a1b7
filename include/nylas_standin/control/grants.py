"""Grants on the control plane: seeded, shown, and changed without the client's knowledge."""

from fnmatch import fnmatchcase

from fastapi import APIRouter, HTTPException, Response
from pydantic import Field, JsonValue

from nylas_standin.api.grants import render
from nylas_standin.control.context import Strict, TheScene, as_json
from nylas_standin.world.records import Grant, GrantStatus
from nylas_standin.world.seeding import (
    BulkProvider,
    Crowd,
    ExactGrant,
    Seeded,
    seed_crowd,
    seed_exact,
)
from nylas_standin.world.world import World

router = APIRouter()


class SeedRequest(Strict):
    """A number of grants that are alike, or an exact list."""

    grants: int | list[ExactGrant]
    domain: str | list[str] = "seeded.example"
    prefix: str = "user"
    start: int = 0
    provider: BulkProvider = "google"
    scopes: list[str] | None = None
    credential_id: str | None = None
    invalid_every: int | None = Field(default=None, ge=1)
    blocked_every: int | None = Field(default=None, ge=1)
    created_at: int | None = None
    created_step: int = Field(default=1, ge=0)

    def crowd(self, count: int) -> Crowd:
        """The request for `count` grants as a value of the world."""
        scopes = {} if self.scopes is None else {"scopes": tuple(self.scopes)}
        return Crowd(
            count,
            domains=[self.domain] if isinstance(self.domain, str) else self.domain,
            prefix=self.prefix,
            start=self.start,
            provider=self.provider,
            credential_id=self.credential_id,
            invalid_every=self.invalid_every,
            blocked_every=self.blocked_every,
            created_at=self.created_at,
            created_step=self.created_step,
            **scopes,
        )


class GrantChange(Strict):
    """The new values of a grant; None keeps the old one."""

    grant_status: GrantStatus | None = None
    blocked: bool | None = None


class GrantsChange(GrantChange):
    """The same for all grants that match."""

    email: str | None = None
    """A glob."""
    credential_id: str | None = None


@router.post("/seed")
async def seed(scene: TheScene, body: SeedRequest) -> Seeded:
    """Makes grants, without requests."""
    if isinstance(body.grants, int):
        return seed_crowd(scene.world, body.crowd(body.grants))
    return seed_exact(scene.world, body.grants)


@router.get("/grants")
async def grants(
    scene: TheScene,
    email: str | None = None,
    credential_id: str | None = None,
    offset: int = 0,
    limit: int | None = None,
) -> Response:
    """The grants, oldest first; `email` is a glob."""
    found = _matching(scene.world, email, credential_id)
    end = None if limit is None else offset + limit
    shown: list[JsonValue] = [render(grant, scene.world.switches) for grant in found[offset:end]]
    return as_json({"total": len(found), "grants": shown})


@router.patch("/grants/{grant_id}")
async def change_grant(scene: TheScene, grant_id: str, body: GrantChange) -> Response:
    """Changes one grant without the client's knowledge."""
    grant = scene.world.grants.get(grant_id)
    if grant is None:
        raise HTTPException(404, "There is no grant with that id.")
    _change(scene.world, [grant], body)
    return as_json(render(grant, scene.world.switches))


@router.patch("/grants")
async def change_grants(scene: TheScene, body: GrantsChange) -> dict[str, int]:
    """Changes all grants that match."""
    found = _matching(scene.world, body.email, body.credential_id)
    _change(scene.world, found, body)
    return {"changed": len(found)}


def _matching(world: World, email: str | None, credential_id: str | None) -> list[Grant]:
    glob = None if email is None else email.lower()
    return [
        grant
        for grant in world.grants
        if (glob is None or fnmatchcase(grant.email.lower(), glob))
        and (credential_id is None or grant.shape.credential_id == credential_id)
    ]


def _change(world: World, found: list[Grant], change: GrantChange) -> None:
    for grant in found:
        grant.status = change.grant_status or grant.status
        grant.blocked = grant.blocked if change.blocked is None else change.blocked
    world.grants.changed(*found)
