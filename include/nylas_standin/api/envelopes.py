"""What the API answers: a reply or an error, and how both become JSON.

The envelopes and the types of errors are those of `docs/nylas-api.md`, Errors.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from nylas_standin.world.records import ProviderFailure
from nylas_standin.world.switches import Switches

_NOT_FOUND = 404


def _encode(obj: object) -> bytes:
    return json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode()


# msgspec makes a page of 200 grants several times as fast, but the stand-in does not require it.
try:
    from msgspec.json import encode as _fast_encode
except ImportError:
    encode: Callable[[object], bytes] = _encode
else:
    encode = _fast_encode


@dataclass(frozen=True, slots=True)
class Page:
    """The paging that a list used, which its answer repeats."""

    limit: int
    offset: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A success; without data it is the bare envelope that answers a deletion."""

    status: int = 200
    data: JsonValue = None
    page: Page | None = None
    location: str | None = None
    """The target of a redirect, which has no body."""


class ApiError(Exception):
    """A refusal; a type that starts with a dot gets the prefix of `error_type_prefix`."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        provider_error: JsonValue = None,
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
    """The body has something that the API does not accept."""
    return ApiError(400, ".invalid_request_error", message)


def invalid_query(message: str) -> ApiError:
    """The query string has something that the API does not accept."""
    return ApiError(400, ".invalid_query_params", message)


def not_found(message: str, status: int = 404) -> ApiError:
    """The record or the route does not exist."""
    return ApiError(status, ".not_found_error", message)


def unauthorized(switches: Switches) -> ApiError:
    """The key is missing or unknown."""
    return ApiError(
        switches.unauthorized_status, switches.unauthorized_type, "Bearer token invalid"
    )


def throttled(switches: Switches) -> ApiError:
    """The API's own limit was reached; by default the answer does not say for how long."""
    wait = switches.rate_limit_retry_after
    headers = {} if wait is None else {"retry-after": str(wait)}
    message = "Too many requests. Try again shortly."
    return ApiError(429, switches.rate_limit_type, message, headers=headers)


def refused_by_provider(failure: ProviderFailure, switches: Switches) -> ApiError:
    """The API's answer to a refusal by Google or Microsoft."""
    if failure.transient:
        message = "Provider request failed. Please try again."
        return ApiError(504, ".provider_error", message, provider_error=failure.provider_error)
    missing = failure.status == _NOT_FOUND
    passed_on = missing or switches.provider_failure_status == "provider"
    return ApiError(
        failure.status if passed_on else 400,
        ".not_found_error" if missing else switches.provider_failure_type,
        "Authentication with the provider failed.",
        provider_error=failure.provider_error,
    )


def render_reply(reply: Reply, request_id: str) -> Rendered:
    """The success envelope, or a redirect."""
    if reply.location is not None:
        return Rendered(reply.status, b"", {"location": reply.location})
    envelope: dict[str, JsonValue] = {"request_id": request_id}
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
    details: dict[str, JsonValue] = {"type": kind, "message": error.message}
    if error.kind == switches.unauthorized_type and switches.unauthorized_code:
        details["code"] = kind
    if error.provider_error is not None:
        details["provider_error"] = error.provider_error
    return Rendered(
        error.status, encode({"request_id": request_id, "error": details}), error.headers
    )
