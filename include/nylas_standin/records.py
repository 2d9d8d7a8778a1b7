"""What the stand-in remembers; grants are small, for a million of them have to fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nylas_standin.wire import Json

GrantStatus = Literal["valid", "invalid"]

PROVIDERS = frozenset(
    {"google", "microsoft", "imap", "icloud", "yahoo", "ews", "virtual-calendar", "zoom", "nylas"}
)


@dataclass(slots=True)
class Connector:
    """The application's configuration for one provider."""

    provider: str
    name: str
    settings: dict[str, Json]
    scope: list[str]
    active_credential_id: str | None


@dataclass(slots=True)
class Credential:
    """What a connector uses to act. No reply and no text is ever made from its data."""

    id: str
    provider: str
    name: str
    type: str
    data: Mapping[str, str]
    created_at: int
    updated_at: int

    def __repr__(self) -> str:
        return f"Credential({self.id}, {self.provider}, {self.type})"


@dataclass(frozen=True, slots=True)
class Shape:
    """The part of a grant that whole tenants share, so that it is kept once."""

    provider: str
    scope: list[Json]
    settings: dict[str, Json]
    credential_id: str | None
    ip: str
    user_agent: str


@dataclass(slots=True, eq=False)
class Grant:
    """Permission for one mailbox."""

    id: str
    email: str
    shape: Shape
    created_at: int
    updated_at: int
    status: GrantStatus = "valid"
    blocked: bool = False
    state: str | None = None
    number: int = 0
    """The order of making, which decides between grants of one second."""
