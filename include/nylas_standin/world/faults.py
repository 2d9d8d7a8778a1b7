"""Faults: misbehaviour on request, and which calls it meets how often."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import translate
from random import Random
from typing import ClassVar, Literal

from pydantic import JsonValue

FaultKind = Literal[
    "latency",
    "nylas_429",
    "provider_429",
    "server_error",
    "empty_502",
    "unauthorized",
    "mailbox_error",
    "error",
    "malformed_json",
    "cut_body",
    "reset_before_commit",
    "reset_after_commit",
]


@dataclass(frozen=True, slots=True)
class Match:
    """Which calls a fault may meet; a field that is not given matches every call.

    `path` and `email` are globs. `path_regex` wins over `path`, and matches from the start.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    method: str | None = None
    path: str | None = None
    path_regex: str | None = None
    email: str | None = None


@dataclass(frozen=True, slots=True)
class CustomError:
    """An error answer, word for word."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    status: int
    type: str
    message: str
    provider_error: dict[str, JsonValue] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of misbehaviour, and the calls it is for; the README explains each field."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    kind: FaultKind
    match: Match = field(default_factory=Match)
    times: int | None = None
    """The number of calls it meets before it ends; None means that it never ends."""
    after: int = 0
    """The number of matching calls that pass first."""
    every: int = 1
    """Meets one in this many matching calls, and the first of them."""
    rate: float = 1.0
    """The share of matching calls it meets, from a seeded generator."""
    seconds: float = 0.0
    jitter: float = 0.0
    status: int = 500
    retry_after: int | None = None
    retry_after_form: Literal["seconds", "date"] = "seconds"
    error: str | CustomError | None = None
    after_commit: bool = False
    """Whether the call does its work before the fault replaces its answer."""


def _path_pattern(match: Match) -> re.Pattern[str] | None:
    if match.path_regex is not None:
        return re.compile(match.path_regex)
    return None if match.path is None else re.compile(translate(match.path))


def _email_pattern(match: Match) -> re.Pattern[str] | None:
    return None if match.email is None else re.compile(translate(match.email.lower()))


@dataclass(slots=True)
class ActiveFault:
    """A fault in force, with the number of calls it saw and met."""

    id: str
    fault: Fault
    seen: int = 0
    met: int = 0
    _path: re.Pattern[str] | None = None
    _email: re.Pattern[str] | None = None

    def __post_init__(self) -> None:
        self._path = _path_pattern(self.fault.match)
        self._email = _email_pattern(self.fault.match)

    @property
    def over(self) -> bool:
        """Whether it has met its number of calls."""
        return self.fault.times is not None and self.met >= self.fault.times

    def concerns(self, method: str, path: str, email: Callable[[], str | None]) -> bool:
        """Whether it may meet such a call; `email` is called only if the match needs it."""
        match = self.fault.match
        if match.method is not None and match.method.upper() != method:
            return False
        if self._path is not None and not self._path.match(path):
            return False
        if self._email is None:
            return True
        address = email()
        return address is not None and self._email.match(address.lower()) is not None

    def meets(self, random: Random) -> bool:
        """Counts a call that it may meet, and returns whether it meets it."""
        self.seen += 1
        turn = self.seen - self.fault.after
        if turn <= 0 or (turn - 1) % self.fault.every != 0:
            return False
        if self.fault.rate < 1.0 and random.random() >= self.fault.rate:
            return False
        self.met += 1
        return True


class Faults:
    """The faults in force, oldest first."""

    def __init__(self, seed: int) -> None:
        self._active: list[ActiveFault] = []
        self._random = Random(f"faults {seed}")  # noqa: S311 - chances that repeat
        self._made = 0

    def __bool__(self) -> bool:
        return bool(self._active)

    def active(self) -> list[ActiveFault]:
        """The faults that are not over."""
        return [one for one in self._active if not one.over]

    def add(self, fault: Fault) -> ActiveFault:
        """Puts a fault in force."""
        self._made += 1
        one = ActiveFault(f"fault-{self._made}", fault)
        self._active.append(one)
        return one

    def clear(self, fault_id: str | None = None) -> int:
        """Ends one fault, or all."""
        kept = [one for one in self._active if fault_id is not None and one.id != fault_id]
        ended = len(self._active) - len(kept)
        self._active = kept
        return ended

    def meeting(self, method: str, path: str, email: Callable[[], str | None]) -> list[Fault]:
        """The faults that a call meets: every latency, and the first of the other kinds."""
        met: list[Fault] = []
        spoilt = False
        for one in self._active:
            if one.over or (spoilt and one.fault.kind != "latency"):
                continue
            if one.concerns(method, path, email) and one.meets(self._random):
                met.append(one.fault)
                spoilt = spoilt or one.fault.kind != "latency"
        self._active = [one for one in self._active if not one.over]
        return met

    def delay(self, fault: Fault) -> float:
        """The seconds that a latency lasts this time."""
        if not fault.jitter:
            return fault.seconds
        return max(0.0, fault.seconds + self._random.uniform(-fault.jitter, fault.jitter))
