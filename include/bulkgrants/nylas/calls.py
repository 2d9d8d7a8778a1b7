"""Every API call that the project makes, as a value: what to send, and how to read the answer.

Nothing is sent here. A sender (`nylas.sending`) sends a call once; `nylas.answers` turns the answer
into the call's value or into an error.

Reading is strict about the fields that the project uses and lenient about all others: Nylas adds
keys over time, so unknown keys are ignored.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Generic, Literal, TypeAlias, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, Field, PlainValidator, ValidationError
from pydantic.dataclasses import dataclass as validated

from bulkgrants.model import CredentialType, Grant, GrantStatus, Provider, UnreadableGrant
from bulkgrants.text import bounded, canonical_scopes, first_fault, read_json, split_scopes

T = TypeVar("T")
M = TypeVar("M")

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = Mapping[str, Json]
ListedGrant: TypeAlias = Grant | UnreadableGrant

PAGE_SIZE = 200
"""The largest page that Nylas returns."""
_LONGEST_ID = 100
# As long as the ledger's columns, and in the characters that ids consist of: one id that PostgreSQL
# does not take would cost the whole listing.
_ID = re.compile(r"[!-~]{1,100}")
_PROVIDER = re.compile(r"[!-~]{1,20}")
_LATEST = 2**62


class Malformed(ValueError):
    """An answer lacks a field that is needed; the message names its key, never its value."""


class Subject(StrEnum):
    """What a refusal of the call is about."""

    APPLICATION = "application"
    MAILBOX = "mailbox"


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One API call. Its repr does not show the body, which may hold a secret."""

    method: Literal["GET", "POST", "PATCH"]
    path: str
    parse: Callable[[bytes], T] = field(repr=False)
    """Reads the body of a successful answer; raises Malformed."""
    query: Mapping[str, str] = field(default_factory=dict)
    body: JsonObject | None = field(default=None, repr=False)
    subject: Subject = Subject.APPLICATION
    replayable: bool = True
    """Whether it may be sent again if it is unknown whether the first one took effect."""

    @property
    def label(self) -> str:
        """The name of the call in a sentence."""
        return f"{self.method} {self.path}"

    @property
    def encoded(self) -> str | None:
        """The body as JSON in ASCII, or None if the call has none."""
        return None if self.body is None else json.dumps(self.body, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a listing."""

    items: tuple[T, ...]
    limit: int
    """The page size that Nylas applied, which may be less than the one asked for."""

    @property
    def is_short(self) -> bool:
        """Whether it has fewer items than it may have, as the last page of a listing has.

        There is no total and no cursor, and a page in the middle may be short by mistake.
        """
        return len(self.items) < self.limit


def _text_or_none(value: object) -> str | None:
    if not isinstance(value, str) or not value.isprintable():
        return None
    return value if 0 < len(value) <= _LONGEST_ID else None


def _seconds(value: object) -> int:
    """A time in Unix seconds; 0 if it is missing, or not such a number."""
    if not isinstance(value, int) or isinstance(value, bool):
        return 0
    return value if 0 < value < _LATEST else 0


def _scopes(value: object) -> str:
    if isinstance(value, str):
        return _canonical(tuple(split_scopes(canonical_scopes(value))))
    if isinstance(value, list):
        return _canonical(tuple(scope for scope in value if isinstance(scope, str)))
    return ""


@lru_cache(maxsize=1024)
def _canonical(scopes: tuple[str, ...]) -> str:
    """Cached, because a listing repeats the same few sets of scopes a million times."""
    return canonical_scopes(scope for scope in scopes if scope.isprintable())


_Text = Annotated[str, Field(strict=True, min_length=1)]
_Id = Annotated[str, Field(strict=True, pattern=f"^{_ID.pattern}$")]
_Provider = Annotated[str, Field(strict=True, pattern=f"^{_PROVIDER.pattern}$")]
# Plain, because pydantic's `str` refuses half of a character: that would cost the whole page.
_OptionalText = Annotated[str | None, PlainValidator(_text_or_none)]
_AnyText = Annotated[str, PlainValidator(lambda value: value if isinstance(value, str) else "")]
_Scopes = Annotated[str, PlainValidator(_scopes)]


@validated(frozen=True)
class Connector:
    """The application's configuration for one provider."""

    provider: _Text
    active_credential_id: _OptionalText = None


@validated(frozen=True)
class Credential:
    """What a connector uses to act without each user; Nylas never returns its secret."""

    credential_id: Annotated[_Text, Field(alias="id")]
    name: _Text
    credential_type: _OptionalText = None
    """None if Nylas leaves it out, as some of its answers do."""


class _GrantSettings(BaseModel):
    credential_id: _OptionalText = None
    scopes: _Scopes = ""


class _Grant(BaseModel):
    """What a grant must have is only what the comparison needs; times are not promised."""

    id: _Id
    provider: _Provider
    email: _AnyText = ""
    grant_status: GrantStatus
    scope: _Scopes = ""
    credential_id: _OptionalText = None
    settings: Annotated[
        _GrantSettings, BeforeValidator(lambda value: value if isinstance(value, dict) else {})
    ] = _GrantSettings()
    blocked: Annotated[bool, BeforeValidator(lambda value: value is True)] = False
    created_at: Annotated[int, PlainValidator(_seconds)] = 0
    updated_at: Annotated[int, PlainValidator(_seconds)] = 0


def _status(value: object) -> GrantStatus:
    return GrantStatus.VALID if value is None or value == GrantStatus.VALID else GrantStatus.INVALID


class _Authenticated(_Grant):
    """The answer to an authentication: it succeeded, even if the answer does not say so.

    A status that is not known is not a reason to ask again; reading back shows what came of it.
    """

    grant_status: Annotated[GrantStatus, PlainValidator(_status)] = GrantStatus.VALID


def _grant(data: _Grant) -> Grant:
    """A grant; its credential's id is read from the top level or, if missing there, the settings.

    Before January 2026 Nylas returned it in the settings only. `settings.scopes` are the scopes
    that were asked for, `scope` those that the token carries. The former are compared with the
    roster if the answer has them.
    """
    other = data.settings.credential_id if data.credential_id else None
    return Grant(
        grant_id=data.id,
        provider=data.provider,
        email=data.email,
        status=data.grant_status,
        scopes=data.settings.scopes or data.scope,
        credential_id=data.credential_id or data.settings.credential_id,
        blocked=data.blocked,
        created_at=data.created_at,
        updated_at=data.updated_at or data.created_at,
        other_credential_id=None if other == data.credential_id else other,
    )


class _One(BaseModel, Generic[M]):
    data: M


class _Item(BaseModel):
    data: object


class _Limit(BaseModel):
    limit: Annotated[
        int, BeforeValidator(lambda value: value if isinstance(value, int) and value > 0 else 0)
    ] = 0


class _Listing(_Limit, Generic[M]):
    data: list[M]


class _Items(_Limit):
    data: list[object]


def _read(model: type[M], body: bytes) -> M:
    try:
        return model.model_validate(read_json(body))  # type: ignore[attr-defined, no-any-return] # M is a pydantic model
    except ValidationError as error:
        where, what = first_fault(error)
        raise Malformed(f"`{where}`: {what}" if where else what) from None
    except ValueError:
        raise Malformed("it is not JSON") from None


def _same(value: T) -> T:
    return value


def _one(model: type[M], convert: Callable[[M], T]) -> Callable[[bytes], T]:
    """A parser for `{"data": {…}}`."""
    envelope = _One[model]  # type: ignore[valid-type] # pydantic makes the model at run time
    return lambda body: convert(_read(envelope, body).data)


def _page(model: type[M], convert: Callable[[M], T], limit: int) -> Callable[[bytes], Page[T]]:
    """A parser for `{"data": […], "limit": n}`; `limit` is used if the answer does not name one."""
    envelope = _Listing[model]  # type: ignore[valid-type] # as above

    def parse(body: bytes) -> Page[T]:
        listing = _read(envelope, body)
        return Page(tuple(map(convert, listing.data)), _applied(listing.limit, limit))

    return parse


def _sole(value: object) -> object:
    """The object itself, or the only one of a list."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, dict) else {}


class _Application(BaseModel):
    application_id: _OptionalText = None


class _ApplicationAnswer(BaseModel):
    data: Annotated[_Application, BeforeValidator(_sole)] = _Application()


def get_application() -> Call[str | None]:
    """The id of the application that the API key belongs to; None if the answer does not have it.

    The path and the field are those of `applications.info()` in the official Python SDK, 6.18.
    """
    return Call(
        "GET", "/v3/applications", lambda body: _read(_ApplicationAnswer, body).data.application_id
    )


def _applied(named: int, asked: int) -> int:
    """The page size that Nylas applied: never more than was asked for."""
    return min(named or asked, asked)


def _grants(body: bytes, limit: int) -> Page[ListedGrant]:
    """A page of grants. Its items are read one by one only if one of them cannot be read."""
    try:
        return _page(_Grant, _read_grant, limit)(body)
    except Malformed:
        listing = _read(_Items, body)
        return Page(tuple(map(_listed, listing.data)), _applied(listing.limit, limit))


def _read_grant(data: _Grant) -> ListedGrant:
    return _grant(data)


def _listed(item: object) -> ListedGrant:
    try:
        return _grant(_Grant.model_validate(item))
    except ValidationError as error:
        where, what = first_fault(error)
        fault = bounded(f"`{where}`: {what}" if where else what)
    known = item if isinstance(item, dict) else {}
    grant_id, email = _fitting(_ID, known.get("id")), known.get("email")
    return UnreadableGrant(
        key=grant_id or hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest(),
        grant_id=grant_id,
        provider=_fitting(_PROVIDER, known.get("provider")),
        email=email if isinstance(email, str) else "",
        fault=fault,
    )


def _fitting(form: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and form.fullmatch(value) else None


def list_connectors(limit: int) -> Call[Page[Connector]]:
    """The application's connectors; there is at most one for each provider."""
    return Call(
        "GET",
        "/v3/connectors",
        _page(Connector, _same, limit),
        query={"limit": str(limit)},
    )


def get_connector(provider: Provider) -> Call[Connector]:
    """The provider's connector; refused with status 404 if there is none."""
    return Call("GET", f"/v3/connectors/{provider}", _one(Connector, _same))


def create_connector(
    provider: Provider, client_id: str, client_secret: str, tenant: str | None = None
) -> Call[Connector]:
    """A new connector for an OAuth app; `tenant` is the Microsoft tenant, None for Google.

    Not replayable: Nylas refuses a second connector for the same provider. If it is unknown whether
    the first call took effect, the caller looks for the connector instead.
    """
    settings: dict[str, Json] = {"client_id": client_id, "client_secret": client_secret}
    if tenant is not None:
        settings["tenant"] = tenant
    return Call(
        "POST",
        "/v3/connectors",
        _one(Connector, _same),
        body={"name": str(provider), "provider": str(provider), "settings": settings},
        replayable=False,
    )


def list_credentials(provider: Provider, offset: int = 0) -> Call[Page[Credential]]:
    """One page of a connector's credentials, oldest first."""
    query = {"limit": str(PAGE_SIZE), "offset": str(offset), "order_by": "asc"}
    path = f"/v3/connectors/{provider}/creds"
    return Call("GET", path, _page(Credential, _same, PAGE_SIZE), query=query)


def create_credential(
    provider: Provider, name: str, credential_type: CredentialType, credential_data: JsonObject
) -> Call[Credential]:
    """A new credential. Replayable: with the same parameters Nylas returns the one it has."""
    return Call(
        "POST",
        f"/v3/connectors/{provider}/creds",
        _one(Credential, _same),
        body={
            "name": name,
            "credential_type": str(credential_type),
            "credential_data": credential_data,
        },
    )


def update_credential(
    provider: Provider, credential_id: str, credential_data: JsonObject
) -> Call[Credential]:
    """New contents for a credential, which keeps its id and its grants.

    Nylas replaces `credential_data` as a whole: fields that are left out are deleted.
    """
    return Call(
        "PATCH",
        f"/v3/connectors/{provider}/creds/{quote(credential_id, safe='')}",
        _one(Credential, _same),
        body={"credential_data": credential_data},
    )


def authenticate(provider: Provider, email: str, credential_id: str, scopes: str) -> Call[Grant]:
    """Create the mailbox's grant, or authenticate the existing one again, which keeps its id.

    `scopes` are canonical; empty if the provider decides, as Microsoft does. Replayable: a mailbox
    has one grant, so a second call finds what the first one made.
    """
    settings: dict[str, Json] = {"credential_id": credential_id, "email_address": email}
    if scopes:
        settings["scopes"] = split_scopes(scopes)
    return Call(
        "POST",
        "/v3/connect/custom",
        _one(_Authenticated, _grant),
        body={"provider": str(provider), "settings": settings},
        subject=Subject.MAILBOX,
    )


def list_grants(
    *,
    limit: int = PAGE_SIZE,
    offset: int = 0,
    sort_by: Literal["created_at", "updated_at"] = "created_at",
    order_by: Literal["asc", "desc"] = "asc",
    email: str | None = None,
    provider: Provider | None = None,
) -> Call[Page[ListedGrant]]:
    """One page of the application's grants, or of those of one address or provider.

    An item that is not a readable grant is an `UnreadableGrant`, so that it does not cost the page.

    By default the oldest come first, so that a grant that is made during the listing comes after
    the pages that were already read.
    """
    query = {"limit": str(limit), "offset": str(offset), "sort_by": sort_by, "order_by": order_by}
    if email is not None:
        query["email"] = email
    if provider is not None:
        query["provider"] = str(provider)
    return Call("GET", "/v3/grants", lambda body: _grants(body, limit), query=query)


def get_grant(grant_id: str) -> Call[ListedGrant]:
    """The grant with this id; refused with status 404 if there is none."""
    return _by_id(grant_id, lambda body: _listed(_read(_Item, body).data))


def find_grant(grant_id: str) -> Call[bool]:
    """Whether the application has the grant: true, or refused with status 404.

    The answer is not read, so a grant that cannot be read is found too.
    """
    return _by_id(grant_id, lambda _body: True)


def _by_id(grant_id: str, parse: Callable[[bytes], T]) -> Call[T]:
    return Call("GET", f"/v3/grants/{quote(grant_id, safe='')}", parse)
