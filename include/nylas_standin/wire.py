"""JSON as it travels: the fastest encoder at hand, and a reader that takes nothing but JSON."""

import json
from collections.abc import Callable
from typing import TypeAlias

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


def _encode(obj: object) -> bytes:
    return json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode()


# A page of 200 grants costs several times as much without it, which is no reason to require it.
try:
    from msgspec.json import encode as _fast_encode
except ImportError:
    encode: Callable[[object], bytes] = _encode
else:
    encode = _fast_encode


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def decode(text: bytes) -> Json:
    """The value that `text` spells; ValueError if it is not JSON (NaN and Infinity are not)."""
    value: Json = json.loads(text, parse_constant=_refuse_constant)
    return value
