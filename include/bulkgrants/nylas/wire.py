"""What travels over the wire: JSON as a type, and one answer before anybody has judged it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = Mapping[str, Json]

MAX_BODY_BYTES = 16 * 1024 * 1024
"""More than any page of 200 can weigh; a sender reads no further."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


def encode(body: JsonObject | None) -> str | None:
    """The body as JSON in ASCII, or None where the call has none."""
    return None if body is None else json.dumps(body, separators=(",", ":"))


def decode(body: bytes) -> JsonObject | None:
    """The JSON object in a body, or None where it holds anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def texts(value: Json, depth: int = 8) -> Iterator[str]:
    """Every text in a JSON value, keys excepted; what lies deeper than `depth` is passed over."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, Mapping):
        for item in value.values():
            yield from texts(item, depth - 1)
    elif depth and isinstance(value, Sequence):
        for item in value:
            yield from texts(item, depth - 1)
