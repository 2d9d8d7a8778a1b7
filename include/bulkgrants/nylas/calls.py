"""Every API call that the project makes, as a value: what to send, and how to read the answer.

Nothing is sent here. A sender (`bulkgrants.ports`) takes a call, exchanges it once, and gives back
what `bulkgrants.nylas.exchange` makes of the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, Literal, TypeVar
from urllib.parse import quote

from bulkgrants.model import CredentialType, Grant, Provider
from bulkgrants.nylas import replies
from bulkgrants.nylas.replies import Connector, Credential, Page
from bulkgrants.nylas.wire import Json, JsonObject
from bulkgrants.scopes import split

T = TypeVar("T")

PAGE_SIZE = 200
"""The largest page that Nylas gives."""


class Subject(StrEnum):
    """Whom a refusal of the call concerns."""

    APPLICATION = "application"
    MAILBOX = "mailbox"


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One API call. Its repr shows no body, since a body may hold a secret."""

    method: Literal["GET", "POST", "PATCH"]
    path: str
    parse: Callable[[JsonObject], T] = field(repr=False)
    """Reads the whole answer; raises `replies.Malformed`."""
    query: Mapping[str, str] = field(default_factory=dict)
    body: JsonObject | None = field(default=None, repr=False)
    subject: Subject = Subject.APPLICATION
    replayable: bool = True
    """Whether it may be sent again when nobody knows if the first one took effect."""

    @property
    def label(self) -> str:
        """How a sentence names the call."""
        return f"{self.method} {self.path}"


def list_connectors(limit: int) -> Call[Page[Connector]]:
    """The application's connectors; there is at most one for each provider."""
    return Call(
        "GET",
        "/v3/connectors",
        replies.page(replies.connector, limit),
        query={"limit": str(limit)},
    )


def get_connector(provider: Provider) -> Call[Connector]:
    """One connector; refused with status 404 where there is none."""
    return Call("GET", f"/v3/connectors/{provider}", replies.one(replies.connector))


def create_connector(
    provider: Provider, client_id: str, client_secret: str, tenant: str | None = None
) -> Call[Connector]:
    """A new connector, made from an OAuth application of the provider; `tenant` is Microsoft's.

    Not replayable: Nylas refuses a second connector for the same provider, so whoever does not
    know whether the first call took effect reads before asking again.
    """
    settings: dict[str, Json] = {"client_id": client_id, "client_secret": client_secret}
    if tenant is not None:
        settings["tenant"] = tenant
    return Call(
        "POST",
        "/v3/connectors",
        replies.one(replies.connector),
        body={"name": str(provider), "provider": str(provider), "settings": settings},
        replayable=False,
    )


def list_credentials(provider: Provider, offset: int = 0) -> Call[Page[Credential]]:
    """One page of a connector's credentials, oldest first."""
    query = {"limit": str(PAGE_SIZE), "offset": str(offset), "order_by": "asc"}
    path = f"/v3/connectors/{provider}/creds"
    return Call("GET", path, replies.page(replies.credential, PAGE_SIZE), query=query)


def create_credential(
    provider: Provider, name: str, credential_type: CredentialType, credential_data: JsonObject
) -> Call[Credential]:
    """A new credential. Replayable: with the same parameters Nylas gives back the one it has."""
    return Call(
        "POST",
        f"/v3/connectors/{provider}/creds",
        replies.one(replies.credential),
        body={
            "name": name,
            "credential_type": str(credential_type),
            "credential_data": credential_data,
        },
    )


def update_credential(
    provider: Provider, credential_id: str, credential_data: JsonObject
) -> Call[Credential]:
    """Another secret for a credential that keeps its id, and with it its grants.

    Nylas replaces `credential_data` whole: what is left out is gone.
    """
    return Call(
        "PATCH",
        f"/v3/connectors/{provider}/creds/{quote(credential_id, safe='')}",
        replies.one(replies.credential),
        body={"credential_data": credential_data},
    )


def authenticate(provider: Provider, email: str, credential_id: str, scopes: str) -> Call[Grant]:
    """Create the mailbox's grant, or re-authenticate the one it has, which keeps its id.

    `scopes` is canonical text; empty where the provider decides, as Microsoft does. Replayable: one
    mailbox has one grant, so a second call finds what the first one made.
    """
    settings: dict[str, Json] = {"credential_id": credential_id, "email_address": email}
    if scopes:
        settings["scopes"] = split(scopes)
    return Call(
        "POST",
        "/v3/connect/custom",
        replies.one(replies.grant),
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
    since: int | None = None,
) -> Call[Page[Grant]]:
    """One page of the application's grants.

    Oldest first, so that a grant made meanwhile lands behind the pages already read. `since` bounds
    `created_at` (Unix seconds, inclusive), and nothing else.
    """
    query = {"limit": str(limit), "offset": str(offset), "sort_by": sort_by, "order_by": order_by}
    if email is not None:
        query["email"] = email
    if since is not None:
        query["since"] = str(since)
    return Call("GET", "/v3/grants", replies.page(replies.grant, limit), query=query)


def get_grant(grant_id: str) -> Call[Grant]:
    """One grant; refused with status 404 where there is none."""
    return Call(
        "GET",
        f"/v3/grants/{quote(grant_id, safe='')}",
        replies.one(replies.grant),
        subject=Subject.MAILBOX,
    )
