"""The control plane as one application, and its routes for the stand-in itself.

These are reset, clock, limiter, switches, counts, faults, and the redirect URIs.
"""

import re
from dataclasses import asdict, fields, replace
from random import Random
from typing import Literal

from fastapi import APIRouter, FastAPI, HTTPException, Response
from pydantic import Field, TypeAdapter, ValidationError

from nylas_standin.api.faults import FAILURES
from nylas_standin.config import checked_redirect_uris
from nylas_standin.control import grants, providers
from nylas_standin.control.context import Strict, TheScene, TheStandin, as_json
from nylas_standin.microsoft import consent_screen
from nylas_standin.standin import Standin
from nylas_standin.world.faults import ActiveFault, Fault
from nylas_standin.world.switches import Switches
from nylas_standin.world.traffic import Limiter, Limits, Policy, Stats

PREFIX = "/_standin"

router = APIRouter()
_SWITCHES = TypeAdapter(Switches)


def create_control(standin: Standin) -> FastAPI:
    """The control plane of one stand-in, and the consent screen, which is for browsers."""
    control = FastAPI(
        title="nylas_standin control plane",
        docs_url=f"{PREFIX}/docs",
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
    )
    control.state.standin = standin
    for part in (router, grants.router, providers.router):
        control.include_router(part, prefix=PREFIX)
    control.include_router(consent_screen.router)
    return control


class ClockRequest(Strict):
    """A frozen time, an offset in seconds, or a step; `frozen_at` null lets the clock run again."""

    frozen_at: int | None = None
    offset: int | None = None
    advance: int | None = None


class LimiterRequest(Strict):
    """The new values of the limiter, which then counts from zero."""

    policy: Policy | None = None
    per_second: int | None = Field(default=None, ge=1)
    burst: int | None = Field(default=None, ge=1)
    scope: Literal["application", "group"] | None = None


@router.post("/reset")
async def reset(standin: TheStandin) -> dict[str, str]:
    """Makes everything as it was at the start."""
    standin.reset()
    return {"status": "reset"}


@router.get("/clock")
async def clock(scene: TheScene) -> dict[str, int | None]:
    """The clock, and the time it shows."""
    return {**asdict(scene.world.clock), "now": scene.world.clock.now()}


@router.put("/clock")
async def set_clock(scene: TheScene, body: ClockRequest) -> dict[str, int | None]:
    """Freezes, shifts or advances the clock."""
    if "frozen_at" in body.model_fields_set:
        scene.world.clock.frozen_at = body.frozen_at
    if body.offset is not None:
        scene.world.clock.offset = body.offset
    if body.advance is not None:
        scene.world.clock.advance(body.advance)
    return await clock(scene)


@router.get("/limiter")
async def limiter(scene: TheScene) -> Limits:
    """The limiter in force."""
    return scene.world.limiter.limits


@router.put("/limiter")
async def set_limiter(scene: TheScene, body: LimiterRequest) -> Limits:
    """Changes the limiter."""
    limits = replace(scene.world.limiter.limits, **body.model_dump(exclude_unset=True))
    scene.world.limiter = Limiter(limits)
    return limits


@router.get("/switches")
async def switches(scene: TheScene) -> Switches:
    """The value of every switch."""
    return scene.world.switches


@router.put("/switches")
async def set_switches(scene: TheScene, body: dict[str, object]) -> Switches:
    """Changes the named switches."""
    unknown = set(body) - {one.name for one in fields(Switches)}
    if unknown:
        raise HTTPException(422, f"No such switch: {', '.join(sorted(unknown))}.")
    try:
        changed = _SWITCHES.validate_python({**asdict(scene.world.switches), **body})
    except ValidationError as error:
        raise HTTPException(422, error.errors(include_url=False, include_input=False)) from None
    if changed.email_match != scene.world.switches.email_match:
        scene.world.grants.match_emails(exactly=changed.email_match == "exact")
    if changed.listing_lag_seconds != scene.world.switches.listing_lag_seconds:
        scene.world.grants.lag(changed.listing_lag_seconds, scene.world.clock.now)
    if changed.listing_ties != scene.world.switches.listing_ties:
        ties = Random("ties") if changed.listing_ties == "shuffled" else None  # noqa: S311 - it repeats
        scene.world.grants.shuffle_ties(ties)
    scene.world.switches = changed
    return changed


@router.get("/stats")
async def stats(scene: TheScene, *, mailboxes: bool = False, seconds: bool = False) -> Response:
    """The counts of the requests to the API."""
    return as_json(scene.world.stats.summary(mailboxes=mailboxes, seconds=seconds))


@router.delete("/stats")
async def clear_stats(scene: TheScene) -> dict[str, str]:
    """Sets all counts to zero."""
    scene.world.stats = Stats()
    return {"status": "cleared"}


@router.get("/faults")
async def faults(scene: TheScene) -> list[dict[str, object]]:
    """The faults in force."""
    return [_shown(one) for one in scene.world.faults.active()]


def _shown(one: ActiveFault) -> dict[str, object]:
    return {"id": one.id, "seen": one.seen, "met": one.met, **asdict(one.fault)}


@router.post("/faults")
async def add_fault(scene: TheScene, body: Fault) -> dict[str, object]:
    """Puts a fault in force."""
    if isinstance(body.error, str) and body.error not in FAILURES:
        raise HTTPException(422, f"No such error; there are: {', '.join(sorted(FAILURES))}.")
    try:
        return _shown(scene.world.faults.add(body))
    except re.error as error:
        raise HTTPException(422, f"Not a regular expression: {error}.") from None


@router.delete("/faults")
async def clear_faults(scene: TheScene) -> dict[str, int]:
    """Ends all faults."""
    return {"cleared": scene.world.faults.clear()}


@router.delete("/faults/{fault_id}")
async def clear_fault(scene: TheScene, fault_id: str) -> dict[str, int]:
    """Ends one fault."""
    return {"cleared": scene.world.faults.clear(fault_id)}


@router.get("/redirect-uris")
async def redirect_uris(scene: TheScene) -> list[str]:
    """The redirect URIs of the application."""
    return [*scene.world.redirect_uris]


@router.put("/redirect-uris")
async def register(scene: TheScene, body: list[str]) -> list[str]:
    """Registers these redirect URIs, in place of all others."""
    try:
        scene.world.redirect_uris = checked_redirect_uris(body)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    return await redirect_uris(scene)
