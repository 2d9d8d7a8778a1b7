"""One spelling for a set of scopes, so that two sets can be compared as text."""

from __future__ import annotations

import re
from collections.abc import Iterable

IDENTITY_SCOPES = frozenset(
    {
        "openid",
        "https://www.googleapis.com/auth/userinfo.email",
        "https://www.googleapis.com/auth/userinfo.profile",
    }
)
"""What Nylas adds to every Google grant by itself (nylas-api.md §6.1); never compared."""

_SEPARATORS = re.compile(r"[\s,;]+")


def canonical(scopes: str | Iterable[str] | None) -> str:
    """The scopes sorted, once each, without the identity scopes, joined by single spaces.

    Takes what analysts and APIs write: a list, or a text separated by blanks, commas or semicolons.
    """
    if scopes is None:
        return ""
    parts = _SEPARATORS.split(scopes) if isinstance(scopes, str) else scopes
    return " ".join(sorted({part.strip() for part in parts if part.strip()} - IDENTITY_SCOPES))


def split(scopes: str) -> list[str]:
    """The single scopes of a canonical text."""
    return scopes.split(" ") if scopes else []
