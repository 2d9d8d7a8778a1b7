"""Reads the API's answers into values: strict on what is needed, blind to all else.

Nylas adds keys over time, so unknown ones are no error. An answer that lacks what the work depends
on raises Malformed, with the key's name and never with its content.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from bulkgrants.model import Grant, GrantStatus
from bulkgrants.nylas.wire import Json, JsonObject
from bulkgrants.scopes import canonical

T = TypeVar("T")


class Malformed(ValueError):
    """An answer lacks something that the work depends on; the message names the key."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a listing."""

    items: tuple[T, ...]
    limit: int
    """The page size that Nylas applied, which may be less than the one asked for."""

    @property
    def is_last(self) -> bool:
        """Whether nothing follows: the listings know no total and no cursor."""
        return len(self.items) < self.limit


@dataclass(frozen=True, slots=True)
class Connector:
    """The application's configuration for one provider."""

    provider: str
    active_credential_id: str | None


@dataclass(frozen=True, slots=True)
class Credential:
    """What a connector uses to act without each user; its secret never comes back."""

    credential_id: str
    name: str
    credential_type: str | None
    """None where Nylas leaves it out, as some of its answers do."""


def one(read: Callable[[JsonObject], T]) -> Callable[[JsonObject], T]:
    """A parser for `{"data": {…}}`."""

    def parse(answer: JsonObject) -> T:
        return read(_object(answer, "data"))

    return parse


def page(read: Callable[[JsonObject], T], limit: int) -> Callable[[JsonObject], Page[T]]:
    """A parser for `{"data": […], "limit": n}`; `limit` is the one asked for, if none is echoed."""

    def parse(answer: JsonObject) -> Page[T]:
        items = answer.get("data")
        if not isinstance(items, list):
            raise Malformed("`data` is no list")
        applied = answer.get("limit")
        return Page(
            items=tuple(read(_mapping(item, "data[]")) for item in items),
            limit=applied if isinstance(applied, int) and applied > 0 else limit,
        )

    return parse


def grant(data: JsonObject) -> Grant:
    """A grant; the credential's id from the top level first, then from the settings.

    Before January 2026 only the settings named it. `settings.scopes` is what was asked for, `scope`
    what the token carries; the first one is compared with the roster, where it is given.
    """
    settings = data.get("settings")
    settings = settings if isinstance(settings, Mapping) else {}
    created_at = _integer(data, "created_at")
    return Grant(
        grant_id=_text(data, "id"),
        provider=_text(data, "provider"),
        email=_optional_text(data, "email") or "",
        status=_status(data),
        scopes=_scopes(settings.get("scopes")) or _scopes(data.get("scope")),
        credential_id=_optional_text(data, "credential_id")
        or _optional_text(settings, "credential_id"),
        blocked=data.get("blocked") is True,
        created_at=created_at,
        updated_at=_integer(data, "updated_at") if data.get("updated_at") else created_at,
    )


def connector(data: JsonObject) -> Connector:
    """A connector."""
    return Connector(
        provider=_text(data, "provider"),
        active_credential_id=_optional_text(data, "active_credential_id"),
    )


def credential(data: JsonObject) -> Credential:
    """A credential, without its secret."""
    return Credential(
        credential_id=_text(data, "id"),
        name=_text(data, "name"),
        credential_type=_optional_text(data, "credential_type"),
    )


def _object(data: JsonObject, key: str) -> JsonObject:
    return _mapping(data.get(key), key)


def _mapping(value: Json, key: str) -> JsonObject:
    if not isinstance(value, Mapping):
        raise Malformed(f"`{key}` is no object")
    return value


def _text(data: JsonObject, key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise Malformed(f"`{key}` is no text")
    return value


def _optional_text(data: JsonObject, key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) and value else None


def _integer(data: JsonObject, key: str) -> int:
    value = data.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed(f"`{key}` is no whole number")
    return value


def _status(data: JsonObject) -> GrantStatus:
    try:
        return GrantStatus(_text(data, "grant_status"))
    except ValueError:
        raise Malformed("`grant_status` is neither valid nor invalid") from None


def _scopes(value: Json) -> str:
    if isinstance(value, str):
        return canonical(value)
    if isinstance(value, Sequence):
        return _canonical(tuple(scope for scope in value if isinstance(scope, str)))
    return ""


@lru_cache(maxsize=1024)
def _canonical(scopes: tuple[str, ...]) -> str:
    """A listing says the same few sets a million times."""
    return canonical(scopes)
