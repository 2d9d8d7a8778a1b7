"""Connections that can be broken: the server lets the application abort its transports."""

import asyncio
import socket
import struct
from typing import Protocol, runtime_checkable

from starlette.types import Receive, Scope

_TRANSPORT = "nylas_standin.transport"
# Lingering for zero seconds: closing sends a reset at once, where else it would say goodbye.
_NO_LINGER = struct.pack("ii", 1, 0)


@runtime_checkable
class _Connection(Protocol):
    """What asyncio's and uvloop's transports have in common, though not by descent."""

    def abort(self) -> None: ...

    def close(self) -> None: ...

    def is_closing(self) -> bool: ...

    def get_extra_info(self, name: str) -> socket.socket: ...


class KnowsItsTransport(asyncio.Protocol):
    """Mixed into an HTTP protocol of uvicorn, whose requests then carry their connection."""

    app_state: dict[str, object]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Leaves the transport where every request's scope takes its state from."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, _TRANSPORT: transport}


def http_protocol() -> type[asyncio.Protocol]:
    """The faster of uvicorn's two protocols, if its parser is installed."""
    try:
        from uvicorn.protocols.http.httptools_impl import (  # noqa: PLC0415 - its parser may be missing
            HttpToolsProtocol,
        )
    except ImportError:
        from uvicorn.protocols.http.h11_impl import (  # noqa: PLC0415 - only then
            H11Protocol,
        )

        class _H11(KnowsItsTransport, H11Protocol):
            """The one in pure Python."""

        return _H11

    class _HttpTools(KnowsItsTransport, HttpToolsProtocol):
        """The fast one."""

    return _HttpTools


def _connection(scope: Scope) -> _Connection:
    found = scope.get("state", {}).get(_TRANSPORT)
    if not isinstance(found, _Connection):
        raise TypeError("Connections can be broken under nylas_standin.server only.")
    return found


async def _gone(receive: Receive) -> None:
    """Waits for the server to notice: it takes returning earlier for an application's mistake."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def drop(scope: Scope, receive: Receive) -> None:
    """Resets the connection of a request."""
    connection = _connection(scope)
    if not connection.is_closing():  # the other side may have gone first
        raw = connection.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        connection.abort()
    await _gone(receive)


async def close(scope: Scope, receive: Receive) -> None:
    """Ends the connection after what was sent so far."""
    _connection(scope).close()
    await _gone(receive)
