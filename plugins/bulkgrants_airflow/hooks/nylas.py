"""Sends API calls from tasks and from the API server, over one TCP connection."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TypeVar
from urllib.parse import urlencode

import requests
import urllib3
from airflow.providers.http.hooks.http import HttpHook
from requests.auth import AuthBase

from bulkgrants.credentials.secrets import fingerprint_key
from bulkgrants.errors import BulkgrantsError
from bulkgrants.nylas.calls import Call, list_connectors
from bulkgrants.nylas.exchange import understand
from bulkgrants.nylas.wire import MAX_BODY_BYTES, Reply, encode
from bulkgrants.ports import utc_now
from bulkgrants_airflow.connections import NylasConnection, nylas_connection
from bulkgrants_airflow.hooks.failures import lost, too_long

T = TypeVar("T")

_PIECE = 64 * 1024
_LONGEST_CONNECT = 15.0


class _Bearer(AuthBase):
    """Sets the header itself: left to themselves, requests would let a .netrc replace it."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


class NylasHook(HttpHook):
    """A sender (`bulkgrants.ports.Sender`) for one Nylas application.

    The connection is looked up once, at the first use. Unlike its base class, it never sends a
    connection's extras as headers, follows no redirect, waits for nothing without a time-out, and
    logs neither what it sends nor what it gets.
    """

    conn_name_attr = "nylas_conn_id"
    default_conn_name = "nylas_default"
    conn_type = "nylas"
    hook_name = "Nylas"

    def __init__(self, nylas_conn_id: str = default_conn_name) -> None:
        super().__init__(http_conn_id=nylas_conn_id)
        self.nylas_conn_id = nylas_conn_id

    @cached_property
    def nylas(self) -> NylasConnection:
        """The connection, checked. Raises Misconfigured."""
        return nylas_connection(self.nylas_conn_id)

    def fingerprint_key(self) -> bytes:
        """The key for fingerprints of credentials (`bulkgrants.credentials.secrets`)."""
        return fingerprint_key(self.nylas.api_key)

    def send(self, call: Call[T]) -> T:
        """One exchange, without retries. Raises the errors of `bulkgrants.errors`."""
        nylas = self.nylas
        self.method = call.method
        try:
            with self.run(
                endpoint=call.path + (f"?{urlencode(call.query)}" if call.query else ""),
                data=encode(call.body),
                headers={"Content-Type": "application/json"} if call.body is not None else {},
            ) as response:
                reply = self._read(response)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise lost(nylas, error) from None
        return understand(
            call,
            reply,
            clock=utc_now,
            connection=nylas.conn_id,
            secrets=(nylas.api_key,),
        )

    def test_connection(self) -> tuple[bool, str]:
        """Whether Nylas accepts the API key, and a sentence; for the button in Airflow's UI."""
        try:
            self.send(list_connectors(limit=1))
        except BulkgrantsError as error:
            # The API server tests under an id of its own invention, which would tell nothing.
            return False, str(error).replace(
                f"Airflow connection '{self.nylas_conn_id}'", "connection"
            )
        return True, f"{self.nylas.host} accepts the API key."

    def get_conn(
        self,
        headers: dict[str, str] | None = None,
        extra_options: dict[str, object] | None = None,  # noqa: ARG002 - nothing of it is wanted
    ) -> requests.Session:
        """A session from the checked connection alone; the base class would read it anew."""
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
        extra_options: dict[str, object],  # noqa: ARG002 - nothing of it is wanted
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
        """The answer with its whole body, as long as both stay within bounds."""
        deadline = time.monotonic() + self.nylas.timeout
        body = bytearray()
        # Not `iter_content`, which waits for a whole piece however slowly it drips in.
        while piece := response.raw.read1(_PIECE, decode_content=True):
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise too_long(self.nylas)
            if time.monotonic() > deadline:
                raise requests.ReadTimeout
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status_code, headers, bytes(body))
