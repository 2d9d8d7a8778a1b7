"""What a fault answers in place of the API, and which mailbox a call is about."""

from email.utils import formatdate
from http import HTTPStatus
from time import time
from urllib.parse import parse_qs

from pydantic import JsonValue

from nylas_standin.api.calls import Call
from nylas_standin.api.envelopes import (
    ApiError,
    Rendered,
    refused_by_provider,
    throttled,
    unauthorized,
)
from nylas_standin.google import workspace
from nylas_standin.microsoft import directory
from nylas_standin.world.faults import CustomError, Fault
from nylas_standin.world.switches import Switches
from nylas_standin.world.world import World

FAILURES = {**workspace.FAILURES, **directory.FAILURES}
"""All refusals of providers, by the names that a fault uses."""

_SERVER_TYPES = {
    HTTPStatus.INTERNAL_SERVER_ERROR: ".internal_error",
    HTTPStatus.GATEWAY_TIMEOUT: ".provider_error",
}


def _retry_after(fault: Fault) -> dict[str, str]:
    if fault.retry_after is None:
        return {}
    if fault.retry_after_form == "seconds":
        return {"retry-after": str(fault.retry_after)}
    # The real time, not the stand-in's: the client compares the header with its own clock.
    return {"retry-after": formatdate(time() + fault.retry_after, usegmt=True)}


def _provider_429(fault: Fault) -> ApiError:
    said: JsonValue = {"error": {"code": 429, "message": "Too many requests for this mailbox."}}
    return ApiError(
        429,
        "rate_limit_error",
        "The provider is limiting requests.",
        provider_error=said,
        headers=_retry_after(fault),
    )


def _nylas_429(fault: Fault, switches: Switches) -> ApiError:
    error = throttled(switches)
    error.headers.update(_retry_after(fault))
    return error


def _server_error(fault: Fault) -> ApiError:
    status = HTTPStatus(fault.status)
    return ApiError(
        status,
        _SERVER_TYPES.get(status, ".internal_error"),
        status.description or status.phrase,
        headers=_retry_after(fault),
    )


def _worded(fault: Fault, switches: Switches) -> ApiError:
    """A provider's refusal by its name, or an answer word for word."""
    if isinstance(fault.error, CustomError):
        own = fault.error
        return ApiError(
            own.status,
            own.type,
            own.message,
            provider_error=own.provider_error,
            headers=_retry_after(fault),
        )
    return refused_by_provider(FAILURES[fault.error or "unknown_mailbox"], switches)


def fault_answer(fault: Fault, switches: Switches) -> ApiError | Rendered | None:
    """The answer of a fault; None if the true answer is made, and then sent late, cut or never."""
    match fault.kind:
        case "nylas_429":
            instead: ApiError | Rendered | None = _nylas_429(fault, switches)
        case "provider_429":
            instead = _provider_429(fault)
        case "server_error":
            instead = _server_error(fault)
        case "empty_502":
            instead = Rendered(502, b"")
        case "unauthorized":
            instead = unauthorized(switches)
        case "mailbox_error" | "error":
            instead = _worded(fault, switches)
        case "malformed_json":
            instead = Rendered(200, b'{"request_id": "cut off in the mid')
        case "latency" | "cut_body" | "reset_before_commit" | "reset_after_commit":
            instead = None
    return instead


def address_of(world: World, call: Call) -> str | None:
    """The mailbox that a call is about: of the grant in the path, in the query or in the body."""
    grant = world.grants.get(call.params.get("grant_id", ""))
    if grant is not None:
        return grant.email
    if call.method == "GET":
        return next(iter(parse_qs(call.query_string).get("email", [])), None)
    return _address_in_body(call)


def _address_in_body(call: Call) -> str | None:
    try:
        body = call.json()
    except ApiError:
        return None
    settings = body.get("settings") if isinstance(body, dict) else None
    if not isinstance(settings, dict):
        return None
    found = settings.get("email_address", settings.get("email"))
    return found if isinstance(found, str) else None
