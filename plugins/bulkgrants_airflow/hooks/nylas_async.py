"""Sends API calls from an event loop, many at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

import aiohttp
from airflow.providers.http.hooks.http import AsyncHttpSession, HttpAsyncHook, SessionConfig
from requests.utils import get_environ_proxies, select_proxy

from bulkgrants.nylas.calls import Call
from bulkgrants.nylas.exchange import understand
from bulkgrants.nylas.wire import MAX_BODY_BYTES, Reply, encode
from bulkgrants.ports import utc_now
from bulkgrants_airflow.connections import NylasConnection, nylas_connection_async
from bulkgrants_airflow.hooks.failures import lost, too_long

T = TypeVar("T")

MOST_IN_FLIGHT = 128
"""Connections of one sender; at forty calls a second, each may take three seconds."""

_PIECE = 64 * 1024
_LONGEST_CONNECT = 15.0


@dataclass(frozen=True, slots=True)
class _AsyncNylasSender:
    """`bulkgrants.ports.AsyncSender`, for as long as its session is open."""

    hook: NylasAsyncHook
    nylas: NylasConnection
    config: SessionConfig
    session: aiohttp.ClientSession

    async def send(self, call: Call[T]) -> T:
        """One exchange, without retries. Raises the errors of `bulkgrants.errors`.

        Except that aiohttp repeats a GET once where the server had closed an idle connection.
        """
        request = AsyncHttpSession(
            hook=self.hook,
            request=self.hook._get_request_func(self.session, call.method),  # noqa: SLF001 - its public form serves one method for a whole session
            config=self.config,
            method=call.method,
        )
        try:
            async with await request.run(
                endpoint=call.path + (f"?{urlencode(call.query)}" if call.query else ""),
                data=encode(call.body),
                headers={"Content-Type": "application/json"} if call.body is not None else {},
            ) as response:
                reply = await self._read(response)
        except (aiohttp.ClientError, OSError) as error:
            raise lost(self.nylas, error) from None
        return understand(
            call,
            reply,
            clock=utc_now,
            connection=self.nylas.conn_id,
            secrets=(self.nylas.api_key,),
        )

    async def _read(self, response: aiohttp.ClientResponse) -> Reply:
        body = bytearray()
        async for piece in response.content.iter_chunked(_PIECE):
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise too_long(self.nylas)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, headers, bytes(body))


class NylasAsyncHook(HttpAsyncHook):
    """`NylasHook` for tasks and triggers that work on an event loop, with the same promises.

    Example: `async with NylasAsyncHook(conn_id).open() as sender: await sender.send(call)`.
    """

    conn_name_attr = "nylas_conn_id"
    default_conn_name = "nylas_default"
    conn_type = "nylas"
    hook_name = "Nylas"

    def __init__(self, nylas_conn_id: str = default_conn_name) -> None:
        super().__init__(http_conn_id=nylas_conn_id, retry_limit=1)
        self.nylas_conn_id = nylas_conn_id
        self._nylas: NylasConnection | None = None

    async def nylas(self) -> NylasConnection:
        """The connection, checked, looked up once. Raises Misconfigured."""
        if self._nylas is None:
            self._nylas = await nylas_connection_async(self.nylas_conn_id)
        return self._nylas

    async def config(self) -> SessionConfig:
        """The session's settings from the checked connection alone; no extra becomes a header."""
        nylas = await self.nylas()
        return SessionConfig(
            base_url=nylas.base_url,
            headers={"Authorization": f"Bearer {nylas.api_key}"},
            extra_options={"allow_redirects": False, "check_response": False},
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[_AsyncNylasSender]:
        """A sender over one pool of connections, which may be used by many tasks at once."""
        nylas, config = await self.nylas(), await self.config()
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MOST_IN_FLIGHT),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=nylas.timeout, sock_connect=min(nylas.timeout, _LONGEST_CONNECT)
            ),
            # Not `trust_env`, which would also take a password for the host from a .netrc file.
            proxy=select_proxy(nylas.base_url, get_environ_proxies(nylas.base_url)),
        ) as session:
            yield _AsyncNylasSender(self, nylas, config, session)
