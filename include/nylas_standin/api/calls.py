"""Requests as handlers read them: every field and parameter is known and has its type.

Bodies are read field by field, because the refusals name the field as the API does.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl

from pydantic import JsonValue

from nylas_standin.api.envelopes import ApiError, Page, invalid, invalid_query
from nylas_standin.world.switches import Switches

# Enough digits for any time or offset. int() alone would accept spaces and underscores too.
_INTEGER = re.compile(r"-?[0-9]{1,18}")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def decode(text: bytes) -> JsonValue:
    """The value of a JSON text; ValueError if it is not JSON, which NaN and Infinity are not."""
    value: JsonValue = json.loads(text, parse_constant=_refuse_constant)
    return value


@dataclass(slots=True)
class Call:
    """A request; its body and query are parsed on demand."""

    method: str
    path: str
    query_string: str = ""
    body: bytes = field(default=b"", repr=False)
    ip: str = ""
    user_agent: str = ""
    params: dict[str, str] = field(default_factory=dict)
    """The variable parts of the path."""

    def json(self) -> JsonValue:
        """The body; raises ApiError if it is not JSON."""
        try:
            return decode(self.body)
        except ValueError:  # from None: the decoder quotes the text, which may be a secret
            raise ApiError(400, ".invalid_request_payload", "The body is not valid JSON.") from None

    def query(self, known: frozenset[str], switches: Switches) -> dict[str, str]:
        """The known query parameters; raises ApiError for one that is given twice.

        `unknown_query` decides whether others are refused or ignored.
        """
        found: dict[str, str] = {}
        for name, value in parse_qsl(self.query_string, keep_blank_values=True):
            if name not in known:
                if switches.unknown_query == "refuse":
                    raise invalid_query(f"Unknown query parameter '{name}'.")
                continue
            if name in found:
                raise invalid_query(f"Query parameter '{name}' is given twice.")
            found[name] = value
        return found


def whole_number(query: dict[str, str], name: str) -> int | None:
    """A query parameter that must be an integer."""
    text = query.get(name)
    if text is None:
        return None
    if not _INTEGER.fullmatch(text):
        raise invalid_query(f"Query parameter '{name}' must be an integer.")
    return int(text)


def one_of(query: dict[str, str], name: str, values: frozenset[str]) -> str | None:
    """A query parameter with a closed list of values."""
    text = query.get(name)
    if text is not None and text not in values:
        expected = ", ".join(sorted(values))
        raise invalid_query(f"Query parameter '{name}' must be one of: {expected}.")
    return text


def sorting(query: dict[str, str], switches: Switches) -> Literal["created_at", "updated_at"]:
    """The field to sort by; `unknown_query` decides whether another is refused or ignored."""
    text = query.get("sort_by")
    if text not in {None, "created_at", "updated_at"} and switches.unknown_query == "refuse":
        raise invalid_query("Query parameter 'sort_by' must be one of: created_at, updated_at.")
    return "updated_at" if text == "updated_at" else "created_at"


def page(query: dict[str, str], switches: Switches) -> Page:
    """The paging that was requested, within the limits of the API."""
    limit = whole_number(query, "limit")
    offset = whole_number(query, "offset") or 0
    if offset < 0:
        raise invalid_query("Query parameter 'offset' must not be negative.")
    if limit is None:
        return Page(switches.limit_default, offset)
    within = max(1, min(limit, switches.limit_max))
    if within != limit and switches.limit_outside == "refuse":
        raise invalid_query(f"Query parameter 'limit' must be within 1..{switches.limit_max}.")
    return Page(within, offset)


@dataclass(frozen=True, slots=True)
class Fields:
    """An object in the body, and its path there; all methods raise ApiError for a bad value."""

    values: dict[str, JsonValue]
    where: str = ""

    def _name(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def only(self, known: Collection[str], switches: Switches) -> "Fields":
        """The known fields; `unknown_fields` decides whether others are refused or ignored."""
        unknown = [key for key in self.values if key not in known]
        if unknown and switches.unknown_fields == "refuse":
            raise invalid(f"Unknown field '{self._name(unknown[0])}'.")
        return Fields({k: v for k, v in self.values.items() if k in known}, self.where)

    def text(self, key: str) -> str:
        """A required string, which must not be empty."""
        found = self.optional_text(key)
        if not found:
            raise invalid(f"Field '{self._name(key)}' is required.")
        return found

    def optional_text(self, key: str) -> str | None:
        """A string, or None if the field is missing."""
        found = self.values.get(key)
        if key in self.values and not isinstance(found, str):
            raise invalid(f"Field '{self._name(key)}' must be a string.")
        return found if isinstance(found, str) else None

    def optional_texts(self, key: str) -> list[str] | None:
        """A list of strings, or None if the field is missing."""
        if key not in self.values:
            return None
        found = self.values[key]
        if not isinstance(found, list):
            raise invalid(f"Field '{self._name(key)}' must be a list of strings.")
        texts = [item for item in found if isinstance(item, str) and item]
        if len(texts) != len(found):
            raise invalid(f"Field '{self._name(key)}' must be a list of strings.")
        return texts

    def fields(self, key: str) -> "Fields":
        """A required object."""
        found = self.values.get(key)
        if key not in self.values:
            raise invalid(f"Field '{self._name(key)}' is required.")
        return as_fields(found, self._name(key))

    def optional_fields(self, key: str) -> "Fields | None":
        """An object, or None if the field is missing."""
        return self.fields(key) if key in self.values else None


def as_fields(value: JsonValue, where: str = "") -> Fields:
    """A JSON object; raises ApiError for any other value."""
    if not isinstance(value, dict):
        raise invalid(f"{where or 'The body'} must be a JSON object.")
    return Fields(value, where)
