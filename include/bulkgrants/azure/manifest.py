"""Reads an exported Azure app manifest, in either of the two forms that Azure has used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, TypeVar
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
)

from bulkgrants.azure.permissions import Permission
from bulkgrants.errors import Misconfigured
from bulkgrants.text import bounded, first_fault, read_json

M = TypeVar("M")

MAX_BYTES = 1024 * 1024
"""Many times the size of a real manifest."""


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """What a manifest says about a client secret; the secret's value and hint are not read."""

    label: str
    """Its secret id if it has one, otherwise its place in the list."""
    expires: datetime | None
    """In UTC; None if the manifest does not say."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parts of an Azure app that the preflight checks."""

    token_version: int | None
    audience: str | None
    permissions: frozenset[Permission]
    web_redirects: frozenset[str]
    other_redirects: frozenset[str]
    """Redirect URIs of single-page, mobile and desktop apps."""
    secrets: tuple[ClientSecret, ...]


class _Part(BaseModel):
    """A part of a manifest. Azure writes null for what is not set; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")


def _absent(value: object) -> object:
    return {} if value is None else value


def _empty(value: object) -> object:
    return [] if value is None else value


_List = Annotated[list[M], BeforeValidator(_empty)]


class _Platform(_Part):
    redirect_uris: _List[StrictStr] = Field(default=[], alias="redirectUris")


class _Api(_Part):
    token_version: StrictInt | None = Field(default=None, alias="requestedAccessTokenVersion")


class _Reply(_Part):
    url: StrictStr
    type: StrictStr


class _Access(_Part):
    id: StrictStr
    type: StrictStr


class _Resource(_Part):
    resource_app_id: StrictStr = Field(alias="resourceAppId")
    accesses: _List[_Access] = Field(default=[], alias="resourceAccess")


class _Password(_Part):
    key_id: StrictStr | None = Field(default=None, alias="keyId")
    ends: StrictStr | None = Field(default=None, alias="endDateTime")
    older_ends: StrictStr | None = Field(default=None, alias="endDate")


class _Exported(_Part):
    """An exported manifest: the newer form nests what the older one has at the top level."""

    audience: StrictStr | None = Field(default=None, alias="signInAudience")
    resources: _List[_Resource] = Field(default=[], alias="requiredResourceAccess")
    api: Annotated[_Api, BeforeValidator(_absent)] = _Api()
    older_token_version: StrictInt | None = Field(default=None, alias="accessTokenAcceptedVersion")
    web: Annotated[_Platform, BeforeValidator(_absent)] = _Platform()
    spa: Annotated[_Platform, BeforeValidator(_absent)] = _Platform()
    public_client: Annotated[_Platform, BeforeValidator(_absent)] = Field(
        default=_Platform(), alias="publicClient"
    )
    replies: _List[_Reply] = Field(default=[], alias="replyUrlsWithType")
    passwords: _List[_Password] = Field(default=[], alias="passwordCredentials")


class _Unusable(Exception):
    """The manifest cannot be used; the message says why."""


def read_manifest(text: str, *, name: str) -> Manifest:
    """The manifest in the text of an exported file; unknown fields are ignored.

    Raises Misconfigured, with the file's `name`, if the text is too large, is not a JSON object, is
    not an app manifest, or has a field of the wrong type.
    """
    try:
        return _manifest(_exported(text))
    except _Unusable as wrong:
        raise Misconfigured(
            f"The Azure app manifest '{bounded(name)}' cannot be used: {wrong}. "
            "Download it again from the app's Manifest page in the Azure portal."
        ) from None


def _exported(text: str) -> _Exported:
    size = len(text.encode(errors="surrogatepass"))
    if size > MAX_BYTES:
        raise _Unusable(f"it has {size:,} bytes, but at most {MAX_BYTES:,} are allowed")
    try:
        exported = _Exported.model_validate(read_json(text))
    except ValidationError as error:
        where, what = first_fault(error)
        why = f"its `{where}` is wrong: {what}" if where else "it is not a JSON object"
        raise _Unusable(why) from None
    except ValueError:
        raise _Unusable("it is not a JSON object") from None
    if not exported.model_fields_set & {"audience", "resources"}:
        raise _Unusable("it has neither `signInAudience` nor `requiredResourceAccess`")
    return exported


def _manifest(exported: _Exported) -> Manifest:
    version = exported.api.token_version
    return Manifest(
        token_version=exported.older_token_version if version is None else version,
        audience=exported.audience,
        permissions=frozenset(_permissions(exported)),
        web_redirects=frozenset(
            [
                *exported.web.redirect_uris,
                *(one.url for one in exported.replies if one.type == "Web"),
            ]
        ),
        other_redirects=frozenset(
            [
                *exported.spa.redirect_uris,
                *exported.public_client.redirect_uris,
                *(one.url for one in exported.replies if one.type != "Web"),
            ]
        ),
        secrets=tuple(_secret(one, place) for place, one in enumerate(exported.passwords, start=1)),
    )


def _permissions(exported: _Exported) -> Iterator[Permission]:
    for resource in exported.resources:
        for one in resource.accesses:
            yield Permission(resource.resource_app_id.lower(), one.id.lower(), one.type)


def _secret(one: _Password, place: int) -> ClientSecret:
    try:
        label = str(UUID(one.key_id or ""))
    except ValueError:
        # Only an id is shown, because people have put the secret itself into other fields.
        label = f"number {place}"
    ends = one.ends or one.older_ends
    return ClientSecret(label, _moment(ends) if ends else None)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Unusable(
            f"'{bounded(text, 40)}' is not a date and time at which a secret can end"
        ) from None
