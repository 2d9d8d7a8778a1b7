"""The control plane under /_standin: how tests and benchmarks steer the stand-in."""

import re
from dataclasses import asdict, fields, replace
from fnmatch import fnmatchcase
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from pydantic import TypeAdapter, ValidationError

from nylas_standin.control_models import (
    ClockRequest,
    GrantChange,
    GrantsChange,
    LimiterRequest,
    SeedRequest,
)
from nylas_standin.faults import ActiveFault, Fault
from nylas_standin.grants import render
from nylas_standin.limiter import Limiter, Limits
from nylas_standin.provider_errors import FAILURES
from nylas_standin.records import Grant
from nylas_standin.refresh_tokens import TokenOwner
from nylas_standin.seeding import Seeded, seed_crowd, seed_exact
from nylas_standin.standin import Standin
from nylas_standin.stats import Stats
from nylas_standin.switches import Switches
from nylas_standin.wire import Json, encode
from nylas_standin.world import World

PREFIX = "/_standin"

router = APIRouter(prefix=PREFIX)
_SWITCHES = TypeAdapter(Switches)


def _standin(request: Request) -> Standin:
    found = request.app.state.standin
    if not isinstance(found, Standin):
        raise TypeError("The control plane was made without a stand-in.")
    return found


def _world(request: Request) -> World:
    return _standin(request).world


TheStandin = Annotated[Standin, Depends(_standin)]
TheWorld = Annotated[World, Depends(_world)]


def create_control(standin: Standin) -> FastAPI:
    """The control plane of one stand-in."""
    control = FastAPI(
        title="nylas_standin control plane",
        docs_url=f"{PREFIX}/docs",
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
    )
    control.state.standin = standin
    control.include_router(router)
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
    world.switches = changed
    world.grants.match_emails(exactly=changed.email_match == "exact")
    return changed


@router.get("/faults")
async def faults(world: TheWorld) -> list[dict[str, object]]:
    """The faults in force."""
    return [_shown(one) for one in world.faults.active()]


def _shown(one: ActiveFault) -> dict[str, object]:
    return {"id": one.id, "seen": one.seen, "met": one.met, **asdict(one.fault)}


@router.post("/faults")
async def add_fault(world: TheWorld, body: Fault) -> dict[str, object]:
    """Puts one in force."""
    if isinstance(body.error, str) and body.error not in FAILURES:
        raise HTTPException(422, f"No such error; there are: {', '.join(sorted(FAILURES))}.")
    try:
        return _shown(world.faults.add(body))
    except re.error as error:
        raise HTTPException(422, f"Not a regular expression: {error}.") from None


@router.delete("/faults")
async def clear_faults(world: TheWorld) -> dict[str, int]:
    """Ends all."""
    return {"cleared": world.faults.clear()}


@router.delete("/faults/{fault_id}")
async def clear_fault(world: TheWorld, fault_id: str) -> dict[str, int]:
    """Ends one."""
    return {"cleared": world.faults.clear(fault_id)}


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
