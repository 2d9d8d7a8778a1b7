"""The stand-in in a process of its own, on loopback, steered over its control plane."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

API_KEY = "bench-key"
_STOP_WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class Standin:
    """A stand-in that accepts connections."""

    base_url: str
    client_id: str
    http: requests.Session = field(default_factory=requests.Session)

    @property
    def connection(self) -> str:
        """Airflow's connection to it, as JSON for the environment."""
        extra = {"client_id": self.client_id}
        return json.dumps(
            {"conn_type": "nylas", "host": self.base_url, "password": API_KEY, "extra": extra}
        )

    def reset(self, *, latency: float, policy: str) -> None:
        """Everything as at the start, with this latency and this form of the rate limit."""
        self._control("POST", "/reset")
        self._control("PUT", "/switches", {"latency_seconds": latency})
        self._control("PUT", "/limiter", {"policy": policy, "per_second": 50})

    def stats(self) -> dict[str, int]:
        """What was asked of the API since the counts began."""
        found: dict[str, int] = self._control("GET", "/stats")
        return found

    def forget_stats(self) -> None:
        """Count from nothing."""
        self._control("DELETE", "/stats")

    def make_credential(self) -> str:
        """A Google connector with a service account; gives the credential's id."""
        self._api("/connectors", {"provider": "google", "settings": _OAUTH_APP})
        data = {
            "type": "service_account",
            "project_id": "bench",
            "private_key_id": "key-1",
            "private_key": _throw_away_key(),
            "client_email": "robot@bench.iam.gserviceaccount.com",
        }
        body = {"name": "sa", "credential_type": "serviceaccount", "credential_data": data}
        return str(self._api("/connectors/google/creds", body)["data"]["id"])

    def _api(self, path: str, body: object) -> dict[str, dict[str, object]]:
        headers = {"Authorization": f"Bearer {API_KEY}"}
        answer = self.http.post(f"{self.base_url}/v3{path}", json=body, headers=headers, timeout=30)
        answer.raise_for_status()
        found: dict[str, dict[str, object]] = answer.json()
        return found

    def _control(self, method: str, path: str, body: object = None) -> dict[str, int]:
        url = f"{self.base_url}/_standin{path}"
        answer = self.http.request(method, url, json=body, timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else {}


_OAUTH_APP = {"client_id": "id", "client_secret": "made up"}


def _throw_away_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


@contextmanager
def standin(seed_grants: int = 0) -> Iterator[Standin]:
    """A stand-in with so many grants, for as long as the block."""
    command = [sys.executable, "-m", "nylas_standin", "--api-key", API_KEY]
    process = subprocess.Popen(
        [*command, "--seed-grants", str(seed_grants)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        told = json.loads(process.stdout.readline())
        with requests.Session() as session:
            yield Standin(told["base_url"], told["client_id"], session)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
