"""The routes, and what a request passes before its handler: the key, the limit, the faults."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hmac import compare_digest
from typing import Literal

from nylas_standin.api import (
    applications,
    connect_auth,
    connectors,
    credentials,
    custom_auth,
    grants,
)
from nylas_standin.api.calls import Call
from nylas_standin.api.envelopes import (
    ApiError,
    Rendered,
    Reply,
    invalid,
    not_found,
    render_error,
    render_reply,
    throttled,
    unauthorized,
)
from nylas_standin.api.faults import address_of, fault_answer
from nylas_standin.standin import Scene

Handler = Callable[[Scene, Call], Reply]

_NO_ROUTE = "(no such route)"


@dataclass(frozen=True, slots=True)
class Route:
    """One method and path of the API."""

    method: str
    template: str
    group: str
    """Its group in the documented rate limits; that of custom authentication is a guess."""
    handler: Handler
    keyless: bool = False
    """Whether it is for browsers, which have no key."""
    by_mailbox: bool = False
    """Whether each call is about one mailbox, and counted for it."""

    @property
    def name(self) -> str:
        """Its name in the counts."""
        return f"{self.method} {self.template}"


_CREDS = "/v3/connectors/{provider}/creds"
ROUTES = (
    Route("GET", "/v3/applications", "applications", applications.get),
    Route("GET", "/v3/connectors", "connectors", connectors.list_all),
    Route("POST", "/v3/connectors", "connectors", connectors.create),
    Route("GET", "/v3/connectors/{provider}", "connectors", connectors.get),
    Route("PATCH", "/v3/connectors/{provider}", "connectors", connectors.update),
    Route("PUT", "/v3/connectors/{provider}", "connectors", connectors.put),
    Route("DELETE", "/v3/connectors/{provider}", "connectors", connectors.delete),
    Route("GET", _CREDS, "connectors", credentials.list_all),
    Route("POST", _CREDS, "connectors", credentials.create),
    Route("GET", f"{_CREDS}/{{credential_id}}", "connectors", credentials.get),
    Route("PATCH", f"{_CREDS}/{{credential_id}}", "connectors", credentials.update),
    Route("DELETE", f"{_CREDS}/{{credential_id}}", "connectors", credentials.delete),
    Route("GET", "/v3/connect/auth", "authentication", connect_auth.begin, keyless=True),
    Route(
        "POST", "/v3/connect/custom", "authentication", custom_auth.authenticate, by_mailbox=True
    ),
    Route("GET", "/v3/grants", "grants", grants.list_all),
    Route("GET", "/v3/grants/{grant_id}", "grants", grants.get),
    Route("PATCH", "/v3/grants/{grant_id}", "grants", grants.update),
    Route("DELETE", "/v3/grants/{grant_id}", "grants", grants.delete),
)


def _by_length() -> dict[tuple[str, int], list[tuple[Route, list[str]]]]:
    found: dict[tuple[str, int], list[tuple[Route, list[str]]]] = {}
    for route in ROUTES:
        parts = route.template.split("/")
        found.setdefault((route.method, len(parts)), []).append((route, parts))
    return found


_TABLE = _by_length()


def _params(parts: list[str], wanted: list[str]) -> dict[str, str] | None:
    params: dict[str, str] = {}
    for part, want in zip(parts, wanted, strict=True):
        if want.startswith("{"):
            params[want[1:-1]] = part
        elif part != want:
            return None
    return params


def find(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The route of a call, and the variable parts of its path."""
    parts = path.split("/")
    for route, wanted in _TABLE.get((method, len(parts)), ()):
        params = _params(parts, wanted)
        if params is not None and all(params.values()):
            return route, params
    return None


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent: an answer, half of one, or nothing before the connection breaks."""

    route: str
    answer: Rendered
    request_id: str
    ends: Literal["whole", "cut", "dropped"] = "whole"


def is_authorized(headers: Iterable[tuple[bytes, bytes]], api_key: str) -> bool:
    """Whether the request has the application's key as its bearer token."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            return scheme.lower() == b"bearer" and compare_digest(key.strip(), api_key.encode())
    return False


async def respond(scene: Scene, call: Call, *, authorized: bool, content_type: str) -> Response:
    """Handles one request, unless the key, the limit or a fault stops it."""
    world = scene.world
    switches = world.switches
    request_id = world.ids.request(switches.request_id_style)
    found = find(call.method, call.path)
    name = found[0].name if found else _NO_ROUTE

    def refused(error: ApiError) -> Response:
        return Response(name, render_error(error, request_id, switches), request_id)

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
        return Response(name, _handle(scene, call, route, request_id), request_id)
    return await _with_faults(scene, call, route, request_id)


def _handle(scene: Scene, call: Call, route: Route, request_id: str) -> Rendered:
    try:
        return render_reply(route.handler(scene, call), request_id)
    except ApiError as error:
        return render_error(error, request_id, scene.world.switches)


async def _with_faults(scene: Scene, call: Call, route: Route, request_id: str) -> Response:
    """Handles the request with the faults it meets, which decide whether it does its work."""
    world = scene.world
    faults = world.faults.meeting(call.method, call.path, lambda: address_of(world, call))
    delay = world.switches.latency_seconds
    delay += sum(world.faults.delay(one) for one in faults if one.kind == "latency")
    if delay > 0:
        await asyncio.sleep(delay)
    fault = next((one for one in faults if one.kind != "latency"), None)
    if fault is None:
        return Response(route.name, _handle(scene, call, route, request_id), request_id)
    instead = fault_answer(fault, world.switches)
    if fault.kind == "reset_before_commit":
        return Response(route.name, Rendered(0, b""), request_id, "dropped")
    if instead is None or fault.after_commit:
        true_answer = _handle(scene, call, route, request_id)
        if instead is None:
            cut = fault.kind == "cut_body"
            return Response(route.name, true_answer, request_id, "cut" if cut else "dropped")
    if isinstance(instead, ApiError):
        instead = render_error(instead, request_id, world.switches)
    return Response(route.name, instead, request_id)
