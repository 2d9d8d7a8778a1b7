"""One request to the API, with what the handlers read from it."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from nylas_standin.envelopes import ApiError, Page, invalid_query
from nylas_standin.switches import Switches
from nylas_standin.wire import Json, decode

# As many digits as any time or offset has: int() itself would take spaces and underscores too.
_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(slots=True)
class Call:
    """A request whose body and query are looked at only when asked for."""

    method: str
    path: str
    query_string: str = ""
    body: bytes = field(default=b"", repr=False)
    ip: str = ""
    user_agent: str = ""
    params: dict[str, str] = field(default_factory=dict)
    """The variable parts of the path."""

    def json(self) -> Json:
        """The body; malformed JSON is refused as the API does."""
        try:
            return decode(self.body)
        except ValueError:  # the decoder quotes the text it stumbles on, which may be a secret
            raise ApiError(400, ".invalid_request_payload", "The body is not valid JSON.") from None

    def query(self, known: frozenset[str], switches: Switches) -> dict[str, str]:
        """The query parameters, each given once."""
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
    """A query parameter that has to be an integer."""
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


def page(query: dict[str, str], switches: Switches) -> Page:
    """The paging asked for, brought within what the API gives."""
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
