"""What the API answers, as values: a reply, or an error in the documented envelope."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nylas_standin.switches import Switches
from nylas_standin.wire import Json, encode


@dataclass(frozen=True, slots=True)
class Page:
    """The paging a list really used, which it echoes."""

    limit: int
    offset: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A success; without data it is the bare envelope that a deletion gets."""

    status: int = 200
    data: Json = None
    page: Page | None = None
    location: str | None = None
    """Where a redirect leads, which is all it says."""


class ApiError(Exception):
    """A refusal; a type that starts with a dot takes whichever prefix is switched on."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        provider_error: Json = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.provider_error = provider_error
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Rendered:
    """Status, headers and bytes, ready to be sent."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def invalid(message: str) -> ApiError:
    """The body says something the API does not take."""
    return ApiError(400, ".invalid_request_error", message)


def invalid_query(message: str) -> ApiError:
    """The query string says something the API does not take."""
    return ApiError(400, ".invalid_query_params", message)


def not_found(message: str, status: int = 404) -> ApiError:
    """Nothing is there."""
    return ApiError(status, ".not_found_error", message)


def unauthorized(switches: Switches) -> ApiError:
    """The key is missing or unknown."""
    return ApiError(
        switches.unauthorized_status, switches.unauthorized_type, "Bearer token invalid"
    )


def throttled(switches: Switches) -> ApiError:
    """The API's own limit was met, which says neither why nor for how long."""
    wait = switches.rate_limit_retry_after
    headers = {} if wait is None else {"retry-after": str(wait)}
    message = "Too many requests. Try again shortly."
    return ApiError(429, switches.rate_limit_type, message, headers=headers)


def render_reply(reply: Reply, request_id: str) -> Rendered:
    """The success envelope, or a redirect."""
    if reply.location is not None:
        return Rendered(reply.status, b"", {"location": reply.location})
    envelope: dict[str, Json] = {"request_id": request_id}
    if reply.data is not None:
        envelope["data"] = reply.data
    if reply.page is not None:
        envelope["limit"] = reply.page.limit
        envelope["offset"] = reply.page.offset
    return Rendered(reply.status, encode(envelope))


def render_error(error: ApiError, request_id: str, switches: Switches) -> Rendered:
    """The error envelope."""
    kind = error.kind
    if kind.startswith("."):
        kind = switches.error_type_prefix + kind[1:]
    details: dict[str, Json] = {"type": kind, "message": error.message}
    if error.kind == switches.unauthorized_type and switches.unauthorized_code:
        details["code"] = kind
    if error.provider_error is not None:
        details["provider_error"] = error.provider_error
    return Rendered(
        error.status, encode({"request_id": request_id, "error": details}), error.headers
    )
