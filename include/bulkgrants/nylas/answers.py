"""Turns an answer into the call's value, or into the error to raise.

The HTTP status decides first, then the provider's own error, then Nylas' error type. The type comes
last because it has two spellings, and Nylas' documentation and API disagree about some types.

An error body is not to be trusted: it may repeat the request, a token or a key. Every text from it
passes through `bulkgrants.redaction` before it gets into an error.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Annotated, TypeVar

from pydantic import BaseModel, JsonValue, PlainValidator

from bulkgrants.errors import (
    ApiKeyRefused,
    BulkgrantsError,
    KeyDoubted,
    RateLimited,
    Refused,
    RequestRefused,
    Throttle,
    Unavailable,
)
from bulkgrants.model import Actual, Grant, Onboarding
from bulkgrants.nylas.calls import Call, Json, JsonObject, Malformed, Subject
from bulkgrants.ports import Clock
from bulkgrants.redaction import redacted
from bulkgrants.refusals import BLOCKED, KnownError, grant_error
from bulkgrants.text import address_key, bounded, read_json

T = TypeVar("T")
_log = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 * 1024 * 1024
"""More than a page of 200 grants can have; a sender stops reading there."""
LONGEST_WAIT = 3600.0
"""Seconds. Exchange throttles for about twenty minutes; a much longer wait is not plausible."""

_LONGEST_ERROR_BODY = 64 * 1024
_KEY_TYPES = frozenset({"token.unauthorized_access", "authentication_error"})
_PROVIDER_THROTTLES = frozenset({"quota_exceeded_error", "provider_rate_limit_error"})
_NAMING_FIELDS = frozenset({"error", "code", "error_code", "status", "reason"})
"""Fields of a provider's error that hold the error's name, if their value is a text."""

_SECRET_KEYS = frozenset({"credential_data", "client_secret", "refresh_token"})
_PUBLIC_KEYS = frozenset(
    {
        *("client_id", "tenant", "type", "project_id", "client_email", "universe_domain"),
        *("auth_uri", "token_uri", "auth_provider_x509_cert_url", "client_x509_cert_url"),
    }
)
"""What a credential also holds. It is no secret, and the provider's sentences are about it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = field(repr=False)


def understand(
    call: Call[T], reply: Reply, *, clock: Clock, connection: str, secrets: Collection[str] = ()
) -> T:
    """The call's value, read from a successful answer.

    Raises the error from `error_for` for any other status, and Unavailable for a successful answer
    that cannot be read: the call took effect, and its answer may be readable the next time.
    """
    if not HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
        raise error_for(call, reply, clock=clock, connection=connection, secrets=secrets)
    try:
        return call.parse(reply.body)
    except Malformed as error:
        request_id = redacted(reply.headers.get("x-request-id", ""), secrets, 80) or "unknown"
        raise Unavailable(
            f"Nylas' answer to {call.label} cannot be read: {error} (request id {request_id}).",
            status=reply.status,
        ) from None


def _line(value: object) -> str:
    return value if isinstance(value, str) else ""


def _lines(value: object) -> dict[str, str]:
    return {key: _line(text) for key, text in value.items()} if isinstance(value, dict) else {}


# Plain, because pydantic's `str` refuses half of a character: the whole error would be lost.
_Line = Annotated[str, PlainValidator(_line)]


class _Error(BaseModel):
    """The parts of an error body that are used."""

    type: _Line = ""
    code: _Line = ""
    message: _Line = ""
    validation_errors: Annotated[dict[str, str], PlainValidator(_lines)] = {}
    provider_error: Annotated[JsonValue, PlainValidator(lambda value: value)] = None

    @property
    def name(self) -> str:
        """Nylas' name of the error, in the shorter of its two spellings."""
        return self.type.removeprefix("api.") or self.code

    @property
    def said(self) -> str:
        """Nylas' message, and what it says about each field."""
        fields = (f"{name}: {text}" for name, text in self.validation_errors.items())
        return " ".join((self.message, *fields))

    @property
    def has_provider_error(self) -> bool:
        """Whether the body passes on an error of the provider."""
        return bool(self.provider_error)


class _ErrorBody(BaseModel):
    error: _Error


def error_for(
    call: Call[T], reply: Reply, *, clock: Clock, connection: str, secrets: Collection[str] = ()
) -> BulkgrantsError:
    """The error to raise for an answer that is not a success.

    `connection` is how a sentence names the Airflow connection that a person should check;
    `secrets` are those that the sender put into headers. No secret of theirs or of the call's body
    gets into the error.
    """
    said = _error(reply.body)
    detail = _detail(call, reply, said, {*secrets, *secrets_in(call.body)})
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _throttled(said, detail, retry_after(reply.headers, clock))
    if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR or reply.status in {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
    }:
        after = retry_after(reply.headers, clock)
        sentence = f"Nylas, or the provider behind it, could not answer ({detail})."
        return Unavailable(sentence, after=after, status=reply.status)
    if not said.has_provider_error and _is_about_the_key(reply.status, said):
        sentence = (
            f"Nylas does not accept the API key; check the key and the region of the "
            f"{connection} ({detail})."
        )
        if call.subject is Subject.MAILBOX:
            refusal = Refused(detail, known=_known(said), status=reply.status)
            return KeyDoubted(sentence, refusal=refusal)
        return ApiKeyRefused(sentence)
    if HTTPStatus.MULTIPLE_CHOICES <= reply.status < HTTPStatus.BAD_REQUEST:
        return RequestRefused(
            f"The answer was a redirect, and redirects are not followed; check the host of the "
            f"{connection} ({detail}).",
            status=reply.status,
        )
    if call.subject is Subject.APPLICATION:
        sentence = f"Nylas refused ({detail}); it would refuse the same call again."
        return RequestRefused(sentence, status=reply.status)
    return _refused(reply, said, detail)


def unexpected(grant: Grant, *, grant_id: str | None, email: str, address: str) -> tuple[str, str]:
    """What is odd about the answer to an authentication, as a reason and a sentence.

    Both are empty if nothing is. `grant_id` is the mailbox's grant, None if it had none; `email`
    the mailbox, and `address` the spelling that was sent.
    """
    if grant_id is not None and grant.grant_id != grant_id:
        return "another_grant", (
            f"Nylas answered with the grant {grant.grant_id}, not with {grant_id}; the "
            "mailbox may have two grants now, and a person should delete the one that is not used."
        )
    if grant.email and address_key(grant.email) not in {email, address_key(address)}:
        return "another_address", (
            f"Nylas answered with the address {bounded(grant.email)}: the roster may name an alias "
            "of it. The grant is known under both from now on."
        )
    return "", ""


def unlike_asked(grant: Grant, onboarding: Onboarding, address: str, before: Actual | None) -> str:
    """What is odd about the answer to the canary's authentication, which the log says too."""
    grant_id = before.grant_id if before is not None else None
    _, odd = unexpected(grant, grant_id=grant_id, email=onboarding.canary, address=address)
    if odd:
        _log.warning("The canary of the tenant %s: %s", onboarding.tenant, odd)
    return odd


def retry_after(headers: Mapping[str, str], clock: Clock) -> float | None:
    """The seconds that the header `Retry-After` asks for; its value is seconds or an HTTP date.

    At least 0 and at most LONGEST_WAIT; None if the header is missing or unreadable.
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


def _throttled(said: _Error, detail: str, after: float | None) -> RateLimited:
    if said.has_provider_error or said.name in _PROVIDER_THROTTLES:
        sentence = f"The provider does not accept more calls at the moment ({detail})."
        return RateLimited(sentence, throttle=Throttle.PROVIDER, after=after)
    sentence = f"Nylas does not accept more calls at the moment ({detail})."
    return RateLimited(sentence, throttle=Throttle.NYLAS, after=after)


def _is_about_the_key(status: int, said: _Error) -> bool:
    """Whether it is about the API key: a 401 from Nylas whose type is not about a grant."""
    if said.name in _KEY_TYPES:
        return True
    return status == HTTPStatus.UNAUTHORIZED and not said.name.startswith("grant.")


def _refused(reply: Reply, said: _Error, detail: str) -> Refused | Unavailable:
    known = BLOCKED if reply.status == HTTPStatus.LOCKED else _known(said)
    if known.is_passing:
        sentence = f"The provider could not answer ({detail})."
        return Unavailable(sentence, after=None, status=reply.status)
    return Refused(detail, known=known, status=reply.status)


def _known(said: _Error) -> KnownError:
    """The known error in the provider's error, or in Nylas' message if there is no such error."""
    if said.has_provider_error:
        provider = said.provider_error
        return grant_error(names=_names(provider), texts=[" ".join(texts(provider))])
    return grant_error(names=(), texts=[said.said])


def _names(value: Json, depth: int = 8) -> Iterator[str]:
    """The names of errors in a provider's JSON; Microsoft's bare numbers get their usual prefix."""
    if depth and isinstance(value, Mapping):
        for key, item in value.items():
            if key in _NAMING_FIELDS and isinstance(item, str):
                yield item
            elif key == "error_codes" and isinstance(item, list):
                yield from (f"AADSTS{code}" for code in item if isinstance(code, int))
            else:
                yield from _names(item, depth - 1)


def _error(body: bytes) -> _Error:
    """The error in the body; an empty one if the body is not from Nylas, such as a proxy's page."""
    if len(body) > _LONGEST_ERROR_BODY:
        return _Error()
    try:
        return _ErrorBody.model_validate(read_json(body)).error
    except ValueError:  # pydantic's errors are ValueErrors too
        return _Error()


def _detail(call: Call[T], reply: Reply, said: _Error, secrets: Collection[str]) -> str:
    """The call, what was answered, and the request id that Nylas' support asks for."""
    parts = [f"{call.label}: HTTP {reply.status}"]
    nylas = redacted(f"{said.name} {said.said}".strip(), secrets)
    if nylas:
        parts.append(nylas)
    provider = " ".join(texts(said.provider_error))
    if provider:
        parts.append(f"the provider said: {redacted(provider, secrets)}")
    request_id = redacted(reply.headers.get("x-request-id", ""), secrets, 80)
    if request_id:
        parts.append(f"request id {request_id}")
    return "; ".join(parts)


def secrets_in(body: JsonObject | None) -> frozenset[str]:
    """Every text in a request's body that must not appear in a message."""
    return frozenset(_secrets(body or {}))


def _secrets(value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _SECRET_KEYS:
                yield from texts(_private(item))
            else:
                yield from _secrets(item)


def _private(value: Json) -> Json:
    if not isinstance(value, Mapping):
        return value
    return {key: item for key, item in value.items() if key not in _PUBLIC_KEYS}


def texts(value: Json, depth: int = 8) -> Iterator[str]:
    """Every text in a JSON value except keys; what is nested deeper than `depth` is left out."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, Mapping):
        for item in value.values():
            yield from texts(item, depth - 1)
    elif depth and isinstance(value, Sequence):
        for item in value:
            yield from texts(item, depth - 1)
