"""An error in plain sentences: who has to act, what it means, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Who has to act."""

    DECLINED = "declined"
    """The admin, who said no and may change their mind."""
    PASSING = "passing"
    """Nobody: the same may succeed in some minutes."""
    SETUP = "setup"
    """We: the Azure app, the credential or the configuration must change."""
    ADMIN = "admin"
    """The customer's admin, in their tenant."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """An error in plain sentences, all of them our own."""

    code: str
    """What decided, in our spelling: `AADSTS65004`, Nylas' `45002`, `access_denied`; else empty."""
    kind: Kind
    meaning: str
    remedy: str
    """Who changes what, and where."""


def same(codes: str, kind: Kind, meaning: str, remedy: str) -> tuple[Explanation, ...]:
    """The explanations of codes, separated by blanks, that mean the same."""
    return tuple(Explanation(code, kind, meaning, remedy) for code in codes.split())


def table(*groups: Iterable[Explanation]) -> Mapping[str, Explanation]:
    """Explanations by their codes."""
    return {one.code: one for group in groups for one in group}
