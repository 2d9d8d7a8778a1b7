"""One sentence for every way in which an exchange can fail before there is an answer."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator

import aiohttp
import requests
import urllib3

from bulkgrants.errors import Unavailable
from bulkgrants_airflow.connections import NylasConnection

TIMED_OUT = (
    TimeoutError,
    asyncio.TimeoutError,
    requests.Timeout,
    urllib3.exceptions.ReadTimeoutError,
    aiohttp.ServerTimeoutError,
)
NOT_FOUND = (
    socket.gaierror,
    urllib3.exceptions.NameResolutionError,
    aiohttp.ClientConnectorDNSError,
)
NOT_TRUSTED = (
    ssl.SSLError,
    ssl.CertificateError,
    requests.exceptions.SSLError,
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ClientSSLError,
)


def lost(nylas: NylasConnection, error: BaseException) -> Unavailable:
    """What to raise for a library's error; names the host and the connection, quotes nothing."""
    return Unavailable(
        f"No answer from {nylas.host} (Airflow connection '{nylas.conn_id}'): "
        f"{_cause(nylas, error)}."
    )


def too_long(nylas: NylasConnection) -> Unavailable:
    """What to raise for a body that no sensible answer has."""
    return Unavailable(
        f"{nylas.host} (Airflow connection '{nylas.conn_id}') sent an answer of more than 16 MiB."
    )


def _cause(nylas: NylasConnection, error: BaseException) -> str:
    chain = list(_chain(error))
    if any(isinstance(one, TIMED_OUT) for one in chain):
        return f"it took longer than {nylas.timeout:g} s"
    if any(isinstance(one, NOT_FOUND) for one in chain):
        return "the host's name is unknown; check the connection's host and this machine's DNS"
    if any(isinstance(one, NOT_TRUSTED) for one in chain):
        return "its TLS certificate is not trusted here, or it speaks no TLS"
    if any(isinstance(one, ConnectionRefusedError) for one in chain):
        return "it accepts no connection"
    return f"the connection was lost ({type(error).__name__})"


def _chain(error: BaseException | None, depth: int = 8) -> Iterator[BaseException]:
    """The error, what it wraps, what it was raised from: libraries differ in where they put it."""
    if error is None or depth == 0:
        return
    yield error
    for inner in (error.__cause__, error.__context__, getattr(error, "reason", None), *error.args):
        if isinstance(inner, BaseException):
            yield from _chain(inner, depth - 1)
