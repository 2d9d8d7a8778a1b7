"""The work against the stand-in over HTTP, without Airflow."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bulkgrants.errors import Unavailable
from bulkgrants.nylas.exchange import understand
from bulkgrants.nylas.wire import Reply, encode
from bulkgrants.ports import utc_now
from nylas_standin.server import serve_in_thread


class HttpxSender:
    """`bulkgrants.ports.Sender` in a few lines, for a stand-in."""

    def __init__(self, base_url: str, api_key: str, timeout: float = 10.0) -> None:
        self.base_url, self.api_key = base_url, api_key
        self.client = httpx.Client(base_url=base_url, timeout=timeout)
        self.control = httpx.Client(base_url=f"{base_url}/_standin", timeout=10)

    def send(self, call):
        headers = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"}
        try:
            answer = self.client.request(
                call.method,
                call.path,
                params=dict(call.query),
                content=encode(call.body),
                headers=headers,
            )
        except httpx.TransportError as error:
            raise Unavailable(f"No answer: {type(error).__name__}.") from None
        reply = Reply(answer.status_code, dict(answer.headers), answer.content)
        return understand(call, reply, clock=utc_now, connection="test", secrets=(self.api_key,))

    def fault(self, kind: str, **fields: object) -> None:
        self.control.post("/faults", json={"kind": kind, **fields}).raise_for_status()

    def switch(self, **switches: object) -> None:
        self.control.put("/switches", json=switches).raise_for_status()

    def requests(self) -> dict[str, int]:
        routes = self.control.get("/stats").json()["routes"]
        return {route: entry["requests"] for route, entry in routes.items()}

    def close(self) -> None:
        self.client.close()
        self.control.close()


@pytest.fixture(scope="session")
def _served():
    with serve_in_thread() as running:
        yield running


@pytest.fixture
def sender(_served) -> Iterator[HttpxSender]:
    """A sender to a stand-in that has just been reset."""
    one = HttpxSender(_served.base_url, _served.api_key)
    one.control.post("/reset").raise_for_status()
    yield one
    one.close()


def _pem() -> str:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture(scope="session")
def key_files() -> list[dict[str, str]]:
    """Two key files of one service account: before and after a rotation."""
    return [
        {
            "type": "service_account",
            "project_id": "p",
            "private_key_id": f"kid-{number}",
            "private_key": _pem(),
            "client_email": "robot@p.iam.gserviceaccount.com",
        }
        for number in (1, 2)
    ]
