"""Sends API calls to Nylas: one after the other, or many at a time on an event loop.

Both hooks send each call once, without retries, and raise the errors of `bulkgrants.errors`.
Neither sends a connection's extras as headers, follows a redirect, waits without a time-out, or
logs what it sends or receives.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar
from urllib.parse import urlencode

import aiohttp
import requests
import urllib3
from airflow.providers.http.hooks.http import (
    AsyncHttpSession,
    HttpAsyncHook,
    HttpHook,
    SessionConfig,
)
from requests.auth import AuthBase
from requests.utils import get_environ_proxies, select_proxy

from bulkgrants.errors import BulkgrantsError, Unavailable
from bulkgrants.nylas.answers import MAX_BODY_BYTES, Reply, understand
from bulkgrants.nylas.calls import Call, list_connectors
from bulkgrants.ports import utc_now
from bulkgrants_airflow.connections import NylasConnection, nylas_connection, nylas_connection_async
from bulkgrants_airflow.provider import OPTIONS

T = TypeVar("T")

MOST_IN_FLIGHT = 128
"""Connections of one async sender. At 40 calls a second, each call may take three seconds."""
DEFAULT_CONN_ID = OPTIONS["nylas_conn_id"]["default"]

_PIECE_BYTES = 64 * 1024
_LONGEST_CONNECT = 15.0
"""Seconds; a host that is up accepts a connection sooner."""


class NylasHook(HttpHook):
    """A `bulkgrants.nylas.sending.Sender` for one Nylas application, over one TCP connection.

    The Airflow connection is looked up once, at the first use.
    """

    conn_name_attr = "nylas_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "nylas"
    hook_name = "Nylas"

    def __init__(self, nylas_conn_id: str = default_conn_name) -> None:
        super().__init__(http_conn_id=nylas_conn_id)
        self.nylas_conn_id = nylas_conn_id

    @cached_property
    def nylas(self) -> NylasConnection:
        """The connection, checked. Raises Misconfigured."""
        return nylas_connection(self.nylas_conn_id)

    def send(self, call: Call[T]) -> T:
        """Send the call once, without retries. Raises the errors of `bulkgrants.errors`."""
        nylas = self.nylas
        self.method = call.method
        try:
            with self.run(
                endpoint=_endpoint(call), data=call.encoded, headers=_headers(call)
            ) as response:
                reply = self._read(response)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _lost(nylas, error) from None
        return _understand(call, reply, nylas)

    def test_connection(self) -> tuple[bool, str]:
        """Whether the API key is accepted and the application's; for the Test button in Airflow."""
        from bulkgrants.credentials.application import confirm_application  # noqa: PLC0415 - heavy

        try:
            # The API server tests under an id that it makes up, which means nothing to the reader.
            self.nylas = nylas_connection(self.nylas_conn_id, name="connection")
            self.send(list_connectors(limit=1))
            confirm_application(self, application=self.nylas.client_id, connection=self.nylas.name)
        except BulkgrantsError as error:
            return False, str(error)
        return True, f"{self.nylas.host} accepts the API key."

    def get_conn(
        self,
        headers: dict[str, str] | None = None,
        extra_options: dict[str, object] | None = None,  # noqa: ARG002 - none of them is wanted
    ) -> requests.Session:
        """A session from the checked connection alone; the base class would read it again."""
        self.base_url = self.nylas.base_url
        self._base_url_initialized = True
        session = requests.Session()
        session.auth = _Bearer(self.nylas.api_key)
        session.stream = True
        session.headers.update(headers or {})
        return self._configure_session_from_mount_adapters(session)

    def run_and_check(
        self,
        session: requests.Session,
        prepped_request: requests.PreparedRequest,
        extra_options: dict[str, object],  # noqa: ARG002 - none of them is wanted
    ) -> requests.Response:
        """The exchange; the base class would log addresses and promise a retry it does not make."""
        settings = session.merge_environment_settings(
            prepped_request.url,
            proxies=session.proxies,
            stream=session.stream,
            verify=session.verify,
            cert=session.cert,
        )
        timeout = self.nylas.timeout
        return session.send(
            prepped_request,
            timeout=(min(timeout, _LONGEST_CONNECT), timeout),
            allow_redirects=False,
            **settings,
        )

    def _read(self, response: requests.Response) -> Reply:
        """The answer with its whole body, within the time-out and `MAX_BODY_BYTES`."""
        deadline = time.monotonic() + self.nylas.timeout
        body = bytearray()
        # Not `iter_content`, which waits for a whole piece however slowly it arrives.
        while piece := response.raw.read1(_PIECE_BYTES, decode_content=True):
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise _too_long(self.nylas)
            if time.monotonic() > deadline:
                raise requests.ReadTimeout
        return _reply(response.status_code, response.headers, body)


class _Bearer(AuthBase):
    """Sets the header itself; without it, requests would let a .netrc file replace the header."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


class NylasAsyncHook(HttpAsyncHook):
    """`NylasHook` for tasks and triggers on an event loop, with the same promises.

    Example: `async with NylasAsyncHook(conn_id).open() as sender: await sender.send(call)`.
    """

    conn_name_attr = "nylas_conn_id"
    default_conn_name = DEFAULT_CONN_ID
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
        """A sender over one pool of connections, which many tasks may use at once."""
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


@dataclass(frozen=True, slots=True)
class _AsyncNylasSender:
    """A `bulkgrants.nylas.sending.AsyncSender`, for as long as its session is open."""

    hook: NylasAsyncHook
    nylas: NylasConnection
    config: SessionConfig = field(repr=False)
    """Has the header with the API key."""
    session: aiohttp.ClientSession = field(repr=False)

    async def send(self, call: Call[T]) -> T:
        """Send the call once, without retries. Raises the errors of `bulkgrants.errors`.

        There is one exception: aiohttp repeats a GET once if the server had closed an idle
        connection.
        """
        request = AsyncHttpSession(
            hook=self.hook,
            request=self.hook._get_request_func(self.session, call.method),  # noqa: SLF001 - its public form serves one method for a whole session
            config=self.config,
            method=call.method,
        )
        try:
            async with await request.run(
                endpoint=_endpoint(call), data=call.encoded, headers=_headers(call)
            ) as response:
                reply = await self._read(response)
        except (aiohttp.ClientError, OSError) as error:
            raise _lost(self.nylas, error) from None
        return _understand(call, reply, self.nylas)

    async def _read(self, response: aiohttp.ClientResponse) -> Reply:
        body = bytearray()
        async for piece in response.content.iter_chunked(_PIECE_BYTES):
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise _too_long(self.nylas)
        return _reply(response.status, response.headers, body)


def _endpoint(call: Call[T]) -> str:
    return call.path + (f"?{urlencode(call.query)}" if call.query else "")


def _headers(call: Call[T]) -> dict[str, str]:
    return {} if call.body is None else {"Content-Type": "application/json"}


def _reply(status: int, headers: Mapping[str, str], body: bytearray) -> Reply:
    return Reply(status, {name.lower(): value for name, value in headers.items()}, bytes(body))


def _understand(call: Call[T], reply: Reply, nylas: NylasConnection) -> T:
    return understand(call, reply, clock=utc_now, connection=nylas.name, secrets=(nylas.api_key,))


_TIMED_OUT = (
    TimeoutError,
    asyncio.TimeoutError,
    requests.Timeout,
    urllib3.exceptions.ReadTimeoutError,
    aiohttp.ServerTimeoutError,
)
_NOT_FOUND = (
    socket.gaierror,
    urllib3.exceptions.NameResolutionError,
    aiohttp.ClientConnectorDNSError,
)
_NOT_TRUSTED = (
    ssl.SSLError,
    ssl.CertificateError,
    requests.exceptions.SSLError,
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ClientSSLError,
)


def _lost(nylas: NylasConnection, error: BaseException) -> Unavailable:
    """What to raise for a library's error. It names the host and the connection, quotes nothing."""
    return Unavailable(f"No answer from {nylas.host} ({nylas.name}): {_cause(nylas, error)}.")


def _too_long(nylas: NylasConnection) -> Unavailable:
    """What to raise for a body that is longer than any answer Nylas has reason to send."""
    return Unavailable(
        f"{nylas.host} ({nylas.name}) sent an answer of more than {MAX_BODY_BYTES // 2**20} MiB."
    )


def _cause(nylas: NylasConnection, error: BaseException) -> str:
    chain = list(_chain(error))
    if any(isinstance(one, _TIMED_OUT) for one in chain):
        return f"it took longer than {nylas.timeout:g} s"
    if any(isinstance(one, _NOT_FOUND) for one in chain):
        return "the host's name is unknown; check the connection's host and this machine's DNS"
    if any(isinstance(one, _NOT_TRUSTED) for one in chain):
        return "this machine does not trust its TLS certificate, or the host does not use TLS"
    if any(isinstance(one, ConnectionRefusedError) for one in chain):
        return "it does not accept connections"
    return f"the connection was lost ({type(error).__name__})"


def _chain(error: BaseException | None, depth: int = 8) -> Iterator[BaseException]:
    """The error, what it wraps, what it was raised from: libraries differ in where they put it."""
    if error is None or depth == 0:
        return
    yield error
    for inner in (error.__cause__, error.__context__, getattr(error, "reason", None), *error.args):
        if isinstance(inner, BaseException):
            yield from _chain(inner, depth - 1)
