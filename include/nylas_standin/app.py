"""The stand-in as an ASGI application: the API beside its control plane."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nylas_standin.auth import is_authorized
from nylas_standin.calls import Call
from nylas_standin.config import Config
from nylas_standin.connections import close, drop
from nylas_standin.control import PREFIX, create_control
from nylas_standin.gateway import Outcome, pass_through
from nylas_standin.standin import Standin


def create_app(config: Config | None = None, standin: Standin | None = None) -> ASGIApp:
    """The application; the API's own routes are plain ASGI, as they carry the benchmarks' load."""
    stage = standin or Standin(config or Config())
    control = create_control(stage)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(PREFIX):
            await control(scope, receive, send)
        else:
            await _serve_until_cancelled(stage, scope, receive, send)

    return app


async def _serve_until_cancelled(
    stage: Standin, scope: Scope, receive: Receive, send: Send
) -> None:
    try:
        await _serve_api(stage, scope, receive, send)
    except asyncio.CancelledError:
        # The server is ending while the call waits out a latency: its caller sees a broken
        # connection, and nobody an error report.
        await drop(scope, receive)


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    return body


def _header(scope: Scope, wanted: bytes) -> str:
    for name, value in scope["headers"]:
        if name == wanted:
            text: str = value.decode("latin-1")
            return text
    return ""


async def _serve_api(stage: Standin, scope: Scope, receive: Receive, send: Send) -> None:
    world = stage.world
    world.stats.arrived()
    method: str = scope["method"]
    client = scope.get("client")
    call = Call(
        method=method,
        path=scope["path"],
        query_string=scope["query_string"].decode("latin-1"),
        body=await _body(receive) if method not in {"GET", "DELETE"} else b"",
        ip=client[0] if client else "",
        user_agent=_header(scope, b"user-agent"),
    )
    outcome = await pass_through(
        world,
        call,
        authorized=is_authorized(scope["headers"], world.config.api_key),
        content_type=_header(scope, b"content-type"),
    )
    # Counted first: who has read an answer and then asks for the counts has to find it there.
    if outcome.ends == "dropped":
        world.stats.dropped(outcome.route)
        await drop(scope, receive)
        return
    world.stats.answered(outcome.route, outcome.answer.status)
    await send(_start(outcome, world.ids.flow()))
    body = outcome.answer.body
    if outcome.ends == "cut":
        await send(
            {"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True}
        )
        await close(scope, receive)
        return
    await send({"type": "http.response.body", "body": body})


def _start(outcome: Outcome, flow: str) -> Message:
    answer = outcome.answer
    headers = [
        (b"content-length", str(len(answer.body)).encode()),
        (b"x-request-id", outcome.request_id.encode()),
        (b"x-fastly-id", flow.encode()),
    ]
    if answer.body:
        headers.append((b"content-type", b"application/json"))
    headers += [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    return {"type": "http.response.start", "status": answer.status, "headers": headers}
