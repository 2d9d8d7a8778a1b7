"""The stand-in for Nylas, and what its control plane is asked to make true or to tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests

from demo import microsoft
from demo.samples import Samples
from demo.secrets_made import Secrets
from nylas_standin.config import Config
from nylas_standin.server import Running, serve_in_thread


class Nylas:
    """A running stand-in."""

    def __init__(self, running: Running) -> None:
        self.base_url = running.base_url
        self.client_id = running.standin.config.client_id
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy has no business on loopback

    def close(self) -> None:
        """Give its connections back."""
        self._session.close()

    def arrange(self, samples: Samples, secrets: Secrets) -> None:
        """What Google knows: which mailboxes there are, and what each admin has delegated."""
        self._ask("PUT", "/directory", samples.directory())
        scopes = {scope for grant in samples.grants for scope in grant["scopes"].split()}
        accounts = [key_file["client_email"] for key_file in secrets.key_files.values()]
        self._ask("PUT", "/delegations", {account: sorted(scopes) for account in accounts})

    def expect_admins(self, redirect_uri: str) -> None:
        """What Microsoft knows, and where admins are sent back to."""
        self._ask("PUT", "/redirect-uris", [redirect_uri])
        self._ask("PUT", "/microsoft/tenants", {"domains": microsoft.DOMAINS})
        self._ask("PUT", "/microsoft/propagation", {"delay": 6, "some_after": 1})

    def seed(self, samples: Samples, credential_ids: Mapping[str, str]) -> None:
        """The grants that exist beforehand, each under the credential that it names."""
        grants = [
            {
                "email": grant["email"],
                "grant_status": grant["status"],
                "scopes": grant["scopes"].split(),
                "credential_id": credential_ids.get(grant["credential"]),
            }
            for grant in samples.grants
        ]
        self._ask("POST", "/seed", {"grants": grants})

    def slow_down(self, seconds: float, jitter: float) -> None:
        """From now on each custom authentication takes this long, more or less."""
        match = {"path": "/v3/connect/custom"}
        fault = {"kind": "latency", "seconds": seconds, "jitter": jitter, "match": match}
        self._ask("POST", "/faults", fault)

    def count_from_nothing(self) -> None:
        """Forget what was asked of it so far."""
        self._ask("DELETE", "/stats")

    def authentications(self) -> dict[str, int]:
        """How often each mailbox was authenticated since the counts began."""
        counted: dict[str, int] = self._ask("GET", "/stats?mailboxes=true")["custom_by_mailbox"]
        return counted

    def grants(self) -> dict[str, dict[str, Any]]:
        """Every grant there is, by mailbox."""
        listed = self._ask("GET", "/grants?limit=100000")["grants"]
        return {grant["email"].lower(): grant for grant in listed}

    def _ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        url = f"{self.base_url}/_standin{path}"
        answer = self._session.request(method, url, json=body, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@contextmanager
def standing_in(secrets: Secrets) -> Iterator[Nylas]:
    """A stand-in on a free port, in a thread of this process: it can never outlive the demo."""
    config = Config(api_key=secrets.api_key, client_id="demo-application")
    with serve_in_thread(config) as running:
        nylas = Nylas(running)
        try:
            yield nylas
        finally:
            nylas.close()
