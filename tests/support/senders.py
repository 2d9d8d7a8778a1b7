"""Senders for tests without Airflow: they use plain httpx and send the same as the hooks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from bulkgrants.errors import Unavailable
from bulkgrants.nylas.answers import Reply, understand
from bulkgrants.ports import utc_now
from nylas_standin.client import Control


class HttpxSender:
    """A sender on an httpx client, with the control plane of the stand-in that it sends to."""

    def __init__(self, base_url: str, api_key: str, timeout: float = 10.0) -> None:
        self.base_url, self.api_key = base_url, api_key
        self.client = httpx.Client(base_url=base_url, timeout=timeout)
        self.control = Control(base_url)

    def send(self, call):
        try:
            answer = self.client.request(**request_of(call, self.api_key))
        except httpx.TransportError as error:
            raise Unavailable(f"No answer: {type(error).__name__}.") from None
        return result_of(call, answer, self.api_key)

    def close(self) -> None:
        self.client.close()
        self.control.close()


class AsyncHttpxSender:
    """An async sender on an httpx client."""

    def __init__(self, client: httpx.AsyncClient, api_key: str) -> None:
        self._client, self._api_key = client, api_key

    async def send(self, call):
        try:
            answer = await self._client.request(**request_of(call, self._api_key))
        except httpx.TransportError as error:
            raise Unavailable(f"No answer: {type(error).__name__}.") from None
        return result_of(call, answer, self._api_key)


@asynccontextmanager
async def open_sender(base_url: str, api_key: str) -> AsyncIterator[AsyncHttpxSender]:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(base_url=base_url, limits=limits, timeout=30) as client:
        yield AsyncHttpxSender(client, api_key)


def request_of(call, api_key: str) -> dict[str, object]:
    """The arguments with which httpx sends a call."""
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
    return {
        "method": call.method,
        "url": call.path,
        "params": dict(call.query),
        "content": call.encoded,
        "headers": headers,
    }


def result_of(call, answer: httpx.Response, api_key: str):
    reply = Reply(answer.status_code, dict(answer.headers), answer.content)
    return understand(call, reply, clock=utc_now, connection="test", secrets=(api_key,))
