"""Which handler answers which method and path, and whose rate limit it counts against."""

from collections.abc import Callable
from dataclasses import dataclass

from nylas_standin import connect_auth, connectors, credentials, custom_auth, grants
from nylas_standin.calls import Call
from nylas_standin.envelopes import Reply
from nylas_standin.world import World

Handler = Callable[[World, Call], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the API."""

    method: str
    template: str
    group: str
    """Its group in the documented table of limits; custom authentication's is a guess."""
    handler: Handler
    keyless: bool = False
    """Whether it is for browsers, which have no key."""
    by_mailbox: bool = False
    """Whether each call is about one mailbox, and counted for it."""

    @property
    def name(self) -> str:
        """How statistics call it."""
        return f"{self.method} {self.template}"


_CREDS = "/v3/connectors/{provider}/creds"
ROUTES = (
    Route("GET", "/v3/connectors", "connectors", connectors.list_all),
    Route("POST", "/v3/connectors", "connectors", connectors.create),
    Route("GET", "/v3/connectors/{provider}", "connectors", connectors.get),
    Route("PATCH", "/v3/connectors/{provider}", "connectors", connectors.update),
    Route("DELETE", "/v3/connectors/{provider}", "connectors", connectors.delete),
    Route("GET", _CREDS, "connectors", credentials.list_all),
    Route("POST", _CREDS, "connectors", credentials.create),
    Route("GET", f"{_CREDS}/{{credential_id}}", "connectors", credentials.get),
    Route("PATCH", f"{_CREDS}/{{credential_id}}", "connectors", credentials.update),
    Route("DELETE", f"{_CREDS}/{{credential_id}}", "connectors", credentials.delete),
    Route("GET", "/v3/connect/auth", "authentication", connect_auth.begin, keyless=True),
    Route(
        "POST", "/v3/connect/custom", "authentication", custom_auth.authenticate, by_mailbox=True
    ),
    Route("GET", "/v3/grants", "grants", grants.list_all),
    Route("GET", "/v3/grants/{grant_id}", "grants", grants.get),
    Route("PATCH", "/v3/grants/{grant_id}", "grants", grants.update),
    Route("DELETE", "/v3/grants/{grant_id}", "grants", grants.delete),
)


def _by_length() -> dict[tuple[str, int], list[tuple[Route, list[str]]]]:
    found: dict[tuple[str, int], list[tuple[Route, list[str]]]] = {}
    for route in ROUTES:
        parts = route.template.split("/")
        found.setdefault((route.method, len(parts)), []).append((route, parts))
    return found


_TABLE = _by_length()


def _params(parts: list[str], wanted: list[str]) -> dict[str, str] | None:
    params: dict[str, str] = {}
    for part, want in zip(parts, wanted, strict=True):
        if want.startswith("{"):
            params[want[1:-1]] = part
        elif part != want:
            return None
    return params


def find(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The route of a call and the variable parts of its path."""
    parts = path.split("/")
    for route, wanted in _TABLE.get((method, len(parts)), ()):
        params = _params(parts, wanted)
        if params is not None and all(params.values()):
            return route, params
    return None
