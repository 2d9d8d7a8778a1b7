"""Senders for tests of the work without Airflow: plain httpx, the same exchange as the hooks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from bulkgrants.errors import Unavailable
from bulkgrants.nylas.exchange import understand
from bulkgrants.nylas.wire import Reply
from bulkgrants.ports import utc_now


class HttpxSender:
    """An AsyncSender on an httpx client."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def send(self, call):
        content = None if call.body is None else json.dumps(call.body)
        headers = {"Content-Type": "application/json"} if content else {}
        try:
            answer = await self._client.request(
                call.method, call.path, params=call.query, content=content, headers=headers
            )
        except httpx.TransportError as error:
            raise Unavailable(f"no answer: {type(error).__name__}") from None
        reply = Reply(answer.status_code, answer.headers, answer.content)
        return understand(call, reply, clock=utc_now, connection="test")


@asynccontextmanager
async def open_sender(base_url: str, api_key: str) -> AsyncIterator[HttpxSender]:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    headers = {"Authorization": f"Bearer {api_key}"}
    async with httpx.AsyncClient(
        base_url=base_url, headers=headers, limits=limits, timeout=30
    ) as client:
        yield HttpxSender(client)
