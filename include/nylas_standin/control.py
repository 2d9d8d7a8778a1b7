"""The control plane under /_standin: how tests and benchmarks steer the stand-in."""

from dataclasses import asdict, fields, replace
from fnmatch import fnmatchcase

from fastapi import APIRouter, FastAPI, HTTPException, Response
from pydantic import TypeAdapter, ValidationError

from nylas_standin import consent_screen, control_faults, control_microsoft, control_providers
from nylas_standin.control_context import TheStandin, TheWorld
from nylas_standin.control_models import (
    ClockRequest,
    GrantChange,
    GrantsChange,
    LimiterRequest,
    SeedRequest,
)
from nylas_standin.grants import render
from nylas_standin.limiter import Limiter, Limits
from nylas_standin.records import Grant
from nylas_standin.seeding import Seeded, seed_crowd, seed_exact
from nylas_standin.standin import Standin
from nylas_standin.stats import Stats
from nylas_standin.switches import Switches
from nylas_standin.wire import Json, encode
from nylas_standin.world import World

PREFIX = "/_standin"

router = APIRouter()
_SWITCHES = TypeAdapter(Switches)


def create_control(standin: Standin) -> FastAPI:
    """The control plane of one stand-in."""
    control = FastAPI(
        title="nylas_standin control plane",
        docs_url=f"{PREFIX}/docs",
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
    )
    control.state.standin = standin
    control.include_router(router, prefix=PREFIX)
    for part in (control_providers, control_faults, control_microsoft, consent_screen):
        control.include_router(part.router, prefix=PREFIX)
    return control


def _json(value: Json) -> Response:
    """Past pydantic, which would look at every value of a long dump."""
    return Response(encode(value), media_type="application/json")


@router.post("/reset")
async def reset(standin: TheStandin) -> dict[str, str]:
    """Begins again."""
    standin.reset()
    return {"status": "reset"}


@router.post("/seed")
async def seed(world: TheWorld, body: SeedRequest) -> Seeded:
    """Makes grants."""
    if isinstance(body.grants, int):
        return seed_crowd(world, body.crowd(body.grants))
    return seed_exact(world, body.grants)


@router.get("/clock")
async def clock(world: TheWorld) -> dict[str, int | None]:
    """The stand-in's time."""
    return {**asdict(world.clock), "now": world.clock.now()}


@router.put("/clock")
async def set_clock(world: TheWorld, body: ClockRequest) -> dict[str, int | None]:
    """Freezes, shifts or advances it."""
    if "frozen_at" in body.model_fields_set:
        world.clock.frozen_at = body.frozen_at
    if body.offset is not None:
        world.clock.offset = body.offset
    if body.advance is not None:
        world.clock.advance(body.advance)
    return await clock(world)


@router.get("/limiter")
async def limiter(world: TheWorld) -> Limits:
    """The limiter in force."""
    return world.limiter.limits


@router.put("/limiter")
async def set_limiter(world: TheWorld, body: LimiterRequest) -> Limits:
    """Changes it."""
    limits = replace(world.limiter.limits, **body.model_dump(exclude_unset=True))
    world.limiter = Limiter(limits)
    return limits


@router.get("/switches")
async def switches(world: TheWorld) -> Switches:
    """Every guess as it stands."""
    return world.switches


@router.put("/switches")
async def set_switches(world: TheWorld, body: dict[str, object]) -> Switches:
    """Changes those that are named."""
    unknown = set(body) - {one.name for one in fields(Switches)}
    if unknown:
        raise HTTPException(422, f"No such switch: {', '.join(sorted(unknown))}.")
    try:
        changed = _SWITCHES.validate_python({**asdict(world.switches), **body})
    except ValidationError as error:
        raise HTTPException(422, error.errors(include_url=False, include_input=False)) from None
    if changed.email_match != world.switches.email_match:
        world.grants.match_emails(exactly=changed.email_match == "exact")
    world.switches = changed
    return changed


@router.get("/stats")
async def stats(world: TheWorld, *, mailboxes: bool = False, seconds: bool = False) -> Response:
    """What was asked of the API."""
    return _json(world.stats.summary(mailboxes=mailboxes, seconds=seconds))


@router.delete("/stats")
async def clear_stats(world: TheWorld) -> dict[str, str]:
    """Counts from nothing again."""
    world.stats = Stats()
    return {"status": "cleared"}


@router.get("/grants")
async def grants(
    world: TheWorld,
    email: str | None = None,
    credential_id: str | None = None,
    offset: int = 0,
    limit: int | None = None,
) -> Response:
    """The grants there are, oldest first; `email` is a glob."""
    found = _matching(world, email, credential_id)
    end = None if limit is None else offset + limit
    shown: list[Json] = [render(grant, world.switches) for grant in found[offset:end]]
    return _json({"total": len(found), "grants": shown})


@router.patch("/grants/{grant_id}")
async def change_grant(world: TheWorld, grant_id: str, body: GrantChange) -> Response:
    """Changes one grant behind the client's back."""
    grant = world.grants.get(grant_id)
    if grant is None:
        raise HTTPException(404, "There is no grant with that id.")
    _change(world, [grant], body)
    return _json(render(grant, world.switches))


@router.patch("/grants")
async def change_grants(world: TheWorld, body: GrantsChange) -> dict[str, int]:
    """The same for many."""
    found = _matching(world, body.email, body.credential_id)
    _change(world, found, body)
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
    world.grants.changed()
