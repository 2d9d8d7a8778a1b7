"""A client for the control plane: tests, the demo and the benchmarks steer a stand-in with it."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import requests

Json = dict[str, Any]
Sets = Mapping[str, Sequence[str] | None]
"""Names by owner; None lifts the restriction for that owner."""

_TIMEOUT_SECONDS = 60.0  # a reset that seeds 200,000 grants takes a while


class ControlError(Exception):
    """The control plane refused a request. The text is its answer."""


class Control:
    """One stand-in's control plane. Every method raises ControlError if the request is refused.

    README.md names the values that each request takes; a method with `**` passes them on by name.
    """

    def __init__(self, base_url: str) -> None:
        self._prefix = f"{base_url}/_standin"
        self._session = requests.Session()
        self._session.trust_env = False  # a stand-in is on loopback, where no proxy belongs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    # The stand-in as a whole

    def reset(self) -> None:
        """Return everything to the state at the start."""
        self._ask("POST", "/reset")

    def set_switches(self, **switches: object) -> None:
        """Change how the stand-in answers where the real API's behaviour is a guess."""
        self._ask("PUT", "/switches", switches)

    def set_limiter(self, *, policy: str | None = None, per_second: int | None = None) -> None:
        """Change the form of the rate limit (`none` lifts it), or how much it allows."""
        limits = {"policy": policy, "per_second": per_second}
        self._ask("PUT", "/limiter", {k: v for k, v in limits.items() if v is not None})

    def freeze_clock(self, moment: int) -> None:
        """Stop the clock at this Unix time."""
        self._ask("PUT", "/clock", {"frozen_at": moment})

    def advance_clock(self, seconds: float) -> None:
        """Move the clock on, whether it is stopped or running."""
        self._ask("PUT", "/clock", {"advance": round(seconds)})

    def add_fault(self, kind: str, **fields: object) -> None:
        """Put a fault in force for the requests that it matches."""
        self._ask("POST", "/faults", {"kind": kind, **fields})

    def clear_faults(self) -> None:
        """End all faults."""
        self._ask("DELETE", "/faults")

    # What was asked of the API

    def stats(self, *, mailboxes: bool = False) -> Json:
        """Counts since the reset or since `clear_stats`; with `mailboxes` also by mailbox."""
        found: Json = self._ask("GET", "/stats", mailboxes="true" if mailboxes else "false")
        return found

    def clear_stats(self) -> None:
        """Count from zero again."""
        self._ask("DELETE", "/stats")

    def requests_by_route(self) -> dict[str, int]:
        """The number of requests for each route, such as `POST /v3/connectors`."""
        return {route: counts["requests"] for route, counts in self.stats()["routes"].items()}

    def authentications(self) -> dict[str, int]:
        """The number of custom authentications of each mailbox."""
        counts: dict[str, int] = self.stats(mailboxes=True)["custom_by_mailbox"]
        return counts

    # Grants

    def seed(self, grants: int | Sequence[Mapping[str, object]], **crowd: object) -> None:
        """Make exactly these grants, or a number of them with the properties in `crowd`."""
        self._ask("POST", "/seed", {"grants": grants, **crowd})

    def grants(self) -> list[Json]:
        """All grants, oldest first."""
        found: list[Json] = self._ask("GET", "/grants")["grants"]
        return found

    def grants_by_mailbox(self) -> dict[str, Json]:
        """All grants, by address in lower case."""
        return {grant["email"].lower(): grant for grant in self.grants()}

    def change_grant(self, grant_id: str, **changes: object) -> None:
        """Change `grant_status` or `blocked` of a grant without a request to the API."""
        self._ask("PATCH", f"/grants/{grant_id}", changes)

    # What the providers know

    def set_directory(self, addresses: Sets) -> None:
        """Say which mailboxes exist in each domain."""
        self._ask("PUT", "/directory", addresses)

    def set_aliases(self, primary: Mapping[str, str]) -> None:
        """Say which primary address each alias belongs to."""
        self._ask("PUT", "/aliases", primary)

    def set_delegations(self, scopes: Sets) -> None:
        """Say which scopes a Google admin has delegated to each service account."""
        self._ask("PUT", "/delegations", scopes)

    def set_redirect_uris(self, *uris: str) -> None:
        """Register these redirect URIs and no others."""
        self._ask("PUT", "/redirect-uris", uris)

    def set_microsoft_apps(self, apps: Mapping[str, object]) -> None:
        """Describe provider applications at Microsoft, by client id."""
        self._ask("PUT", "/microsoft/apps", apps)

    def set_microsoft_tenants(
        self, domains: Mapping[str, str | None], known: Sequence[str] | None = None
    ) -> None:
        """Set the tenant of each domain, and which other tenants exist; None is all."""
        self._ask("PUT", "/microsoft/tenants", {"domains": domains, "known": known})

    def set_propagation(self, **pace: object) -> None:
        """Set when a consent comes into force: `delay`, `some_after`, `some`, `stage`."""
        self._ask("PUT", "/microsoft/propagation", pace)

    def answer_consent(self, **answer: object) -> str:
        """Answer the latest pending consent request; return where the admin's browser goes."""
        return str(self._ask("POST", "/microsoft/requests/answer", answer)["location"])

    def give_consent(self, tenant: str, client_id: str) -> None:
        """Record a consent that is in force at once, without a link."""
        body = {"tenant": tenant, "client_id": client_id, "given_at": 0}
        self._ask("POST", "/microsoft/consents", body)

    def withdraw_consent(self, tenant: str, client_id: str) -> None:
        """End a tenant's consent."""
        self._ask("DELETE", "/microsoft/consents", tenant=tenant, client_id=client_id)

    def consents(self) -> list[Json]:
        """The consents in force."""
        found: list[Json] = self._ask("GET", "/microsoft/consents")
        return found

    def _ask(self, method: str, path: str, body: object = None, **query: str) -> Any:  # noqa: ANN401 - JSON
        answer = self._session.request(
            method, self._prefix + path, json=body, params=query, timeout=_TIMEOUT_SECONDS
        )
        if not answer.ok:
            raise ControlError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()
