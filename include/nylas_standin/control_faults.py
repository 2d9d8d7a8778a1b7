"""The control plane's say in misbehaviour."""

import re
from dataclasses import asdict

from fastapi import APIRouter, HTTPException

from nylas_standin.control_context import TheWorld
from nylas_standin.faults import ActiveFault, Fault
from nylas_standin.provider_errors import FAILURES

router = APIRouter()


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
