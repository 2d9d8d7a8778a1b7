"""The stand-in as an ASGI application: the API, and the control plane beside it.

An answer can be sent whole, be cut in the middle, or be replaced by a reset of the connection.
The server lets the application abort its transports for that.
"""

import asyncio
import socket
import struct
from typing import Protocol, runtime_checkable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nylas_standin.api.calls import Call
from nylas_standin.api.routes import Response, is_authorized, respond
from nylas_standin.config import Config
from nylas_standin.control.plane import PREFIX, create_control
from nylas_standin.standin import Scene, Standin

_TRANSPORT = "nylas_standin.transport"
# SO_LINGER of zero seconds: closing the socket sends a reset instead of a regular end.
_NO_LINGER = struct.pack("ii", 1, 0)


def create_app(config: Config | None = None, standin: Standin | None = None) -> ASGIApp:
    """The application; the API's routes are plain ASGI, because they carry heavy load."""
    standin = standin or Standin(config or Config())
    control = create_control(standin)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(PREFIX):
            await control(scope, receive, send)
        else:
            await _serve_until_cancelled(standin.scene, scope, receive, send)

    return app


async def _serve_until_cancelled(scene: Scene, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await _serve_api(scene, scope, receive, send)
    except asyncio.CancelledError:
        # The server stops while the call waits for a latency. The client sees a broken connection,
        # and the log has no error.
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


async def _serve_api(scene: Scene, scope: Scope, receive: Receive, send: Send) -> None:
    world = scene.world
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
    response = await respond(
        scene,
        call,
        authorized=is_authorized(scope["headers"], world.config.api_key),
        content_type=_header(scope, b"content-type"),
    )
    # Counted before it is sent: a client that has the answer must find it in the counts.
    if response.ends == "dropped":
        world.stats.dropped(response.route)
        await drop(scope, receive)
        return
    world.stats.answered(response.route, response.answer.status)
    await send(_start(response, world.ids.flow()))
    body = response.answer.body
    if response.ends == "cut":
        await send(
            {"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True}
        )
        await close(scope, receive)
        return
    await send({"type": "http.response.body", "body": body})


def _start(response: Response, flow: str) -> Message:
    answer = response.answer
    headers = [
        (b"content-length", str(len(answer.body)).encode()),
        (b"x-request-id", response.request_id.encode()),
        (b"x-fastly-id", flow.encode()),
    ]
    if answer.body:
        headers.append((b"content-type", b"application/json"))
    headers += [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    return {"type": "http.response.start", "status": answer.status, "headers": headers}


@runtime_checkable
class _Connection(Protocol):
    """The common methods of asyncio's and uvloop's transports, which share no base class."""

    def abort(self) -> None: ...

    def close(self) -> None: ...

    def is_closing(self) -> bool: ...

    def get_extra_info(self, name: str) -> socket.socket: ...


class KnowsItsTransport(asyncio.Protocol):
    """For an HTTP protocol of uvicorn, so that each request knows its connection."""

    app_state: dict[str, object]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Puts the transport into the state that the scope of every request gets."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, _TRANSPORT: transport}


def http_protocol() -> type[asyncio.Protocol]:
    """The faster one of uvicorn's two protocols, if its parser is installed."""
    try:
        from uvicorn.protocols.http.httptools_impl import (  # noqa: PLC0415 - its parser may be missing
            HttpToolsProtocol,
        )
    except ImportError:
        from uvicorn.protocols.http.h11_impl import (  # noqa: PLC0415 - only then
            H11Protocol,
        )

        class _H11(KnowsItsTransport, H11Protocol):
            """The protocol in pure Python."""

        return _H11

    class _HttpTools(KnowsItsTransport, HttpToolsProtocol):
        """The protocol with the fast parser."""

    return _HttpTools


def _connection(scope: Scope) -> _Connection:
    found = scope.get("state", {}).get(_TRANSPORT)
    if not isinstance(found, _Connection):
        raise TypeError("Only nylas_standin.server can break connections.")
    return found


async def _gone(receive: Receive) -> None:
    """Waits until the server notices; it would report an earlier return as an error."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def drop(scope: Scope, receive: Receive) -> None:
    """Resets the connection of a request."""
    connection = _connection(scope)
    if not connection.is_closing():  # the client may have closed it first
        raw = connection.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        connection.abort()
    await _gone(receive)


async def close(scope: Scope, receive: Receive) -> None:
    """Ends the connection after the bytes that were sent."""
    _connection(scope).close()
    await _gone(receive)
