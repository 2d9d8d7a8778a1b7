"""What a fault puts in the place of an answer."""

from email.utils import formatdate
from http import HTTPStatus
from time import time

from nylas_standin.envelopes import ApiError, Rendered, throttled, unauthorized
from nylas_standin.faults import CustomError, Fault
from nylas_standin.provider_errors import FAILURES, refused_by_provider
from nylas_standin.switches import Switches
from nylas_standin.wire import Json

_SERVER_TYPES = {
    HTTPStatus.INTERNAL_SERVER_ERROR: ".internal_error",
    HTTPStatus.GATEWAY_TIMEOUT: ".provider_error",
}


def _retry_after(fault: Fault) -> dict[str, str]:
    if fault.retry_after is None:
        return {}
    if fault.retry_after_form == "seconds":
        return {"retry-after": str(fault.retry_after)}
    # The wall clock, not the stand-in's: the header is read by a client that lives by it.
    return {"retry-after": formatdate(time() + fault.retry_after, usegmt=True)}


def _provider_429(fault: Fault) -> ApiError:
    said: Json = {"error": {"code": 429, "message": "Too many requests for this mailbox."}}
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
    """A provider's refusal by its name, or an answer given word by word."""
    if isinstance(fault.error, CustomError):
        own = fault.error
        said: Json = None
        if own.provider_error is not None:
            said = {key: _plain(value) for key, value in own.provider_error.items()}
        return ApiError(
            own.status, own.type, own.message, provider_error=said, headers=_retry_after(fault)
        )
    return refused_by_provider(FAILURES[fault.error or "unknown_mailbox"], switches)


def _plain(value: object) -> Json:
    """A value that came in as JSON, seen as JSON again."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) else None


def answer(fault: Fault, switches: Switches) -> ApiError | Rendered | None:
    """What is said instead; None if the true answer goes out, late or cut or not at all."""
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
