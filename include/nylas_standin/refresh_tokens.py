"""Refresh tokens, the way to a grant for one person and a provider application."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from nylas_standin.google import IDENTITY_SCOPES


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """Whose mailbox a refresh token opens, and for what."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    email: str
    scopes: tuple[str, ...]

    def identifies(self, provider: str) -> bool:
        """Whether the API could learn from it whose token it is: Google tells only if asked to."""
        return provider != "google" or set(self.scopes).issuperset(IDENTITY_SCOPES)


@dataclass(slots=True)
class RefreshTokens:
    """The tokens that providers gave out, as the control plane says: all others are refused."""

    _owners: dict[str, TokenOwner] = field(default_factory=dict, repr=False)

    def owner(self, token: str) -> TokenOwner | None:
        """Who gave it, if it is one."""
        return self._owners.get(token)

    def put(self, owners: Mapping[str, TokenOwner | None]) -> int:
        """Adds tokens, and takes back those without an owner; returns how many there are."""
        for token, owner in owners.items():
            if owner is None:
                self._owners.pop(token, None)
            else:
                self._owners[token] = owner
        return len(self._owners)
