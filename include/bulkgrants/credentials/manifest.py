"""Reads an exported Azure app manifest, in either of the two forms that Azure has given it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from bulkgrants.credentials.graph_permissions import Permission
from bulkgrants.errors import Misconfigured
from bulkgrants.nylas.wire import Json, JsonObject, decode
from bulkgrants.text import bounded

MAX_BYTES = 1024 * 1024
"""Many times what an exported manifest weighs."""


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """What a manifest tells of a client secret; its value and hint are not read."""

    label: str
    """Its secret id where it has one, else its place in the list."""
    expires: datetime | None
    """In UTC; None where the manifest does not say."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the preflight looks at of an Azure app."""

    token_version: int | None
    audience: str | None
    permissions: frozenset[Permission]
    web_redirects: frozenset[str]
    other_redirects: frozenset[str]
    """Those of single-page, mobile and desktop apps."""
    secrets: tuple[ClientSecret, ...]


class _Shape(Exception):
    """What is wrong with a field."""


def read_manifest(text: str, *, name: str) -> Manifest:
    """The manifest in the text of an exported file; fields it does not know are passed over.

    Raises Misconfigured, naming the file `name`, where the text is too large, no JSON object, no
    app manifest, or has a field of another type than Azure writes.
    """
    try:
        return _manifest(_data(text))
    except _Shape as wrong:
        raise Misconfigured(
            f"The Azure app manifest '{bounded(name)}' cannot be used: {wrong}. "
            "Download it anew from the app's Manifest page in the Azure portal."
        ) from None


def _data(text: str) -> JsonObject:
    body = text.encode(errors="surrogatepass")
    if len(body) > MAX_BYTES:
        raise _Shape(f"it has {len(body):,} bytes, and {MAX_BYTES:,} is the most")
    data = decode(body)
    if data is None:
        raise _Shape("it is no JSON object")
    if not data.keys() & {"signInAudience", "requiredResourceAccess"}:
        raise _Shape("it has neither `signInAudience` nor `requiredResourceAccess`")
    return data


def _manifest(data: JsonObject) -> Manifest:
    api, web = _object(data, "api"), _object(data, "web")
    version = _number(api, "requestedAccessTokenVersion")
    replies = [_text_fields(one, "url", "type") for one in _objects(data, "replyUrlsWithType")]
    others = [_object(data, "spa"), _object(data, "publicClient")]
    return Manifest(
        token_version=_number(data, "accessTokenAcceptedVersion") if version is None else version,
        audience=_text(data, "signInAudience"),
        permissions=frozenset(_permissions(data)),
        web_redirects=frozenset(
            [*_texts(web, "redirectUris"), *(url for url, kind in replies if kind == "Web")]
        ),
        other_redirects=frozenset(
            [
                *(url for one in others for url in _texts(one, "redirectUris")),
                *(url for url, kind in replies if kind != "Web"),
            ]
        ),
        secrets=tuple(
            _secret(one, place)
            for place, one in enumerate(_objects(data, "passwordCredentials"), start=1)
        ),
    )


def _permissions(data: JsonObject) -> Iterator[Permission]:
    for api in _objects(data, "requiredResourceAccess"):
        (resource,) = _text_fields(api, "resourceAppId")
        for one in _objects(api, "resourceAccess"):
            permission_id, kind = _text_fields(one, "id", "type")
            yield Permission(resource.lower(), permission_id.lower(), kind)


def _secret(one: JsonObject, place: int) -> ClientSecret:
    ends = _text(one, "endDateTime") or _text(one, "endDate")
    try:
        label = str(UUID(_text(one, "keyId") or ""))
    except ValueError:
        # Only an id is ever shown: people have put the secret itself into other fields.
        label = f"number {place}"
    return ClientSecret(label, None if ends is None else _moment(ends))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Shape(f"'{bounded(text, 40)}' is no date and time of a secret's end") from None


def _object(data: JsonObject, key: str) -> JsonObject:
    value = data.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _Shape(f"its `{key}` is no object")
    return value


def _list(data: JsonObject, key: str) -> Sequence[Json]:
    value = data.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _Shape(f"its `{key}` is no list")
    return value


def _objects(data: JsonObject, key: str) -> Iterator[JsonObject]:
    for one in _list(data, key):
        if not isinstance(one, dict):
            raise _Shape(f"its `{key}` holds something that is no object")
        yield one


def _texts(data: JsonObject, key: str) -> Iterator[str]:
    for one in _list(data, key):
        if not isinstance(one, str):
            raise _Shape(f"its `{key}` holds something that is no text")
        yield one


def _text(data: JsonObject, key: str) -> str | None:
    value = data.get(key)
    if value is not None and not isinstance(value, str):
        raise _Shape(f"its `{key}` is no text")
    return value


def _text_fields(data: JsonObject, *keys: str) -> tuple[str, ...]:
    found = tuple(_text(data, key) for key in keys)
    if None in found:
        raise _Shape(f"it has an entry without `{'` or `'.join(keys)}`")
    return tuple(text for text in found if text is not None)


def _number(data: JsonObject, key: str) -> int | None:
    value = data.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise _Shape(f"its `{key}` is no whole number")
    return value
