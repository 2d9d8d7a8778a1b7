"""Turns an answer that is no success into the error to raise, classed by what to do next.

The HTTP status decides first, the provider's own error second, Nylas' error type last: its types
come in two spellings and its docs and its wire disagree on some of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar

from bulkgrants.errors import (
    ApiKeyRefused,
    BulkgrantsError,
    RateLimited,
    Refusal,
    Refused,
    RequestRefused,
    Throttle,
    Unavailable,
)
from bulkgrants.nylas.calls import Call, Subject
from bulkgrants.nylas.reasons import Transient, reason_in
from bulkgrants.nylas.redaction import redacted, secrets_in
from bulkgrants.nylas.wire import Json, JsonObject, Reply, decode, texts
from bulkgrants.ports import Clock

T = TypeVar("T")

LONGEST_WAIT = 3600.0
"""Seconds; Exchange throttles for about twenty minutes, and nobody means more than an hour."""

_LONGEST_ERROR_BODY = 64 * 1024
_KEY_TYPES = frozenset({"token.unauthorized_access", "authentication_error"})
_PROVIDER_THROTTLES = frozenset({"quota_exceeded_error", "provider_rate_limit_error"})

_ADVICE = {
    Refusal.MAILBOX_UNKNOWN: "The provider knows no such mailbox, or it is suspended",
    Refusal.DELEGATION_MISSING: (
        "Google does not let the service account act for this domain with these scopes; "
        "check its domain-wide delegation"
    ),
    Refusal.SECRET_INVALID: (
        "The provider does not accept the credential's key or secret; "
        "renew it in its Airflow connection and register the credential again"
    ),
    Refusal.CONSENT_MISSING: "The tenant's admin has not consented, or has withdrawn the consent",
    Refusal.TENANT_MISCONFIGURED: (
        "Microsoft knows no such tenant, or needs its id where the credential says `common`; "
        "correct it in the Airflow connection, or make the Azure app multi-tenant"
    ),
    Refusal.GRANT_BLOCKED: "Nylas has blocked this grant; only Nylas' support can release it",
    Refusal.OTHER: "This mailbox was refused",
}


@dataclass(frozen=True, slots=True)
class _Said:
    """The parts of an error body that anything depends on."""

    type: str
    message: str
    provider: str | None
    """The provider's own words, or None where the provider said nothing."""


def error_for(
    call: Call[T], reply: Reply, *, clock: Clock, connection: str, secrets: Collection[str] = ()
) -> BulkgrantsError:
    """The error to raise for an answer that is no success.

    `connection` is the id of the Airflow connection that a person should look at; `secrets` is what
    the sender put into headers. Neither they nor any secret of the call's body get into the error.
    """
    said = _said(reply.body)
    detail = _detail(call, reply, said, {*secrets, *secrets_in(call.body)})
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _throttled(said, detail, retry_after(reply.headers, clock))
    if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR or reply.status in {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
    }:
        after = retry_after(reply.headers, clock)
        sentence = f"Nylas, or the provider behind it, could not answer {detail}."
        return Unavailable(sentence, after=after, status=reply.status)
    if said.provider is None and _speaks_of_the_key(reply.status, said):
        return ApiKeyRefused(
            f"Nylas does not accept the API key; check the key and the region of the Airflow "
            f"connection '{connection}' {detail}."
        )
    if HTTPStatus.MULTIPLE_CHOICES <= reply.status < HTTPStatus.BAD_REQUEST:
        return RequestRefused(
            f"The answer was a redirect, which is never followed; check the host of the Airflow "
            f"connection '{connection}' {detail}.",
            status=reply.status,
        )
    if call.subject is Subject.APPLICATION:
        sentence = f"Nylas refused {detail}; it would refuse the same call again."
        return RequestRefused(sentence, status=reply.status)
    return _refused(reply, said, detail)


def retry_after(headers: Mapping[str, str], clock: Clock) -> float | None:
    """The seconds that `Retry-After` asks for, given as seconds or as an HTTP date.

    At least 0 and at most LONGEST_WAIT; None where the header is missing or unreadable.
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,12}(\.\d{1,6})?", value, re.ASCII):
        return min(float(value), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return min(max((_aware(moment) - clock()).total_seconds(), 0.0), LONGEST_WAIT)


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _throttled(said: _Said, detail: str, after: float | None) -> RateLimited:
    if said.provider is not None or said.type in _PROVIDER_THROTTLES:
        sentence = f"The provider allows no more calls at the moment {detail}."
        return RateLimited(sentence, throttle=Throttle.PROVIDER, after=after)
    sentence = f"Nylas allows no more calls at the moment {detail}."
    return RateLimited(sentence, throttle=Throttle.NYLAS, after=after)


def _speaks_of_the_key(status: int, said: _Said) -> bool:
    """A 401 of Nylas' own; `grant.*` types speak of one grant even then."""
    if said.type in _KEY_TYPES:
        return True
    return status == HTTPStatus.UNAUTHORIZED and not said.type.startswith("grant.")


def _refused(reply: Reply, said: _Said, detail: str) -> Refused | Unavailable:
    if reply.status == HTTPStatus.LOCKED:
        reason = Refusal.GRANT_BLOCKED
    else:
        known = reason_in(said.message if said.provider is None else said.provider)
        if isinstance(known, Transient):
            sentence = f"The provider could not answer {detail}."
            return Unavailable(sentence, after=None, status=reply.status)
        reason = known or Refusal.OTHER
    return Refused(f"{_ADVICE[reason]} {detail}.", refusal=reason, status=reply.status)


def _said(body: bytes) -> _Said:
    """What the body says; nothing, where it is no error of Nylas' own, such as a proxy's page."""
    answer = decode(body) if len(body) <= _LONGEST_ERROR_BODY else None
    error = (answer or {}).get("error")
    if not isinstance(error, Mapping):
        return _Said(type="", message="", provider=None)
    provider = error.get("provider_error")
    return _Said(
        type=_line(error.get("type")).removeprefix("api.") or _line(error.get("code")),
        message=" ".join((_line(error.get("message")), *_validation(error))),
        provider=" ".join(texts(provider)) if provider else None,
    )


def _line(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _validation(error: JsonObject) -> list[str]:
    """The names of the fields that Nylas complains about, with what it says of each."""
    fields = error.get("validation_errors")
    if not isinstance(fields, Mapping):
        return []
    return [f"{name}: {_line(text)}" for name, text in fields.items()]


def _detail(call: Call[T], reply: Reply, said: _Said, secrets: Collection[str]) -> str:
    """Which call, what was said, and the request id that Nylas' support asks for; in brackets."""
    parts = [f"{call.label}: HTTP {reply.status}"]
    nylas = redacted(f"{said.type} {said.message}".strip(), secrets)
    if nylas:
        parts.append(nylas)
    if said.provider:
        parts.append(f"the provider said: {redacted(said.provider, secrets)}")
    request_id = redacted(reply.headers.get("x-request-id", ""), secrets, 80)
    if request_id:
        parts.append(f"request id {request_id}")
    return f"({'; '.join(parts)})"
