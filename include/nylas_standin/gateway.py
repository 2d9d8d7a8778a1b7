"""The way of a request: known, within the limit, perhaps spoilt by a fault, then handled."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from nylas_standin.addresses import address_of
from nylas_standin.calls import Call
from nylas_standin.envelopes import (
    ApiError,
    Rendered,
    invalid,
    not_found,
    render_error,
    render_reply,
    throttled,
    unauthorized,
)
from nylas_standin.fault_answers import answer
from nylas_standin.routes import Route, find
from nylas_standin.world import World

_NO_ROUTE = "(no such route)"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What leaves: an answer, half of one, or nothing but a broken connection."""

    route: str
    answer: Rendered
    request_id: str
    ends: Literal["whole", "cut", "dropped"] = "whole"


def _handle(world: World, call: Call, route: Route, request_id: str) -> Rendered:
    try:
        return render_reply(route.handler(world, call), request_id)
    except ApiError as error:
        return render_error(error, request_id, world.switches)


async def _spoilt(world: World, call: Call, route: Route, request_id: str) -> Outcome:
    """The call, with the faults it meets; the work is done or not as each fault has it."""
    faults = world.faults.meeting(call, lambda: address_of(world, call))
    delay = world.switches.latency_seconds
    delay += sum(world.faults.delay(one) for one in faults if one.kind == "latency")
    if delay > 0:
        await asyncio.sleep(delay)
    fault = next((one for one in faults if one.kind != "latency"), None)
    if fault is None:
        return Outcome(route.name, _handle(world, call, route, request_id), request_id)
    instead = answer(fault, world.switches)
    if fault.kind == "reset_before_commit":
        return Outcome(route.name, Rendered(0, b""), request_id, "dropped")
    if instead is None or fault.after_commit:
        true_answer = _handle(world, call, route, request_id)
        if instead is None:
            cut = fault.kind == "cut_body"
            return Outcome(route.name, true_answer, request_id, "cut" if cut else "dropped")
    if isinstance(instead, ApiError):
        instead = render_error(instead, request_id, world.switches)
    return Outcome(route.name, instead, request_id)


async def pass_through(world: World, call: Call, *, authorized: bool, content_type: str) -> Outcome:
    """What becomes of one request."""
    switches = world.switches
    request_id = world.ids.request(switches.request_id_style)
    found = find(call.method, call.path)
    name = found[0].name if found else _NO_ROUTE

    def refused(error: ApiError) -> Outcome:
        return Outcome(name, render_error(error, request_id, switches), request_id)

    if not authorized and (found is None or not found[0].keyless):
        return refused(unauthorized(switches))
    if found is None:
        return refused(not_found("There is no such route."))
    route, call.params = found
    limited = not route.keyless or switches.connect_auth_limited
    if limited and not world.limiter.admit(route.group):
        world.stats.limited()
        return refused(throttled(switches))
    world.stats.admitted()
    if "charset" in content_type and switches.charset == "refuse":
        return refused(invalid("only JSON and multipart supported"))
    if route.by_mailbox:
        world.stats.mailbox((address_of(world, call) or "").lower())
    if not world.faults and switches.latency_seconds <= 0:
        return Outcome(name, _handle(world, call, route, request_id), request_id)
    return await _spoilt(world, call, route, request_id)
