"""Takes secrets out of what the other side wrote, before anything else reads it.

An error body is hostile: it may echo the request, a token or a key. Known secrets are taken out
wherever they stand, in the spellings that JSON and URLs give them; what merely looks like a key is
taken out as well, because nobody needs it to understand a refusal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from bulkgrants.nylas.wire import Json, JsonObject, texts
from bulkgrants.text import bounded

MASK = "[redacted]"

_SECRET_KEYS = frozenset({"credential_data", "client_secret", "refresh_token"})
_SHORTEST = 4  # below that, a mask would shred the sentence and hide nothing
_LONGEST_TEXT = 20_000
_LIKE_A_SECRET = re.compile(
    r"-----BEGIN.*?(?:-----END[^-]*-----|$)"  # PEM, also when cut off
    r"|\b(?:bearer|basic)\s+[\w.~+/=-]{12,}"
    r"|\bnyk_\w+"  # Nylas' API keys
    r"|\beyJ[\w-]+\.[\w.-]+"  # JSON web tokens
    r"|[A-Za-z0-9+/_=-]{40,}",  # longer than a UUID
    re.IGNORECASE,
)


def secrets_in(body: JsonObject | None) -> frozenset[str]:
    """Every text of a request's body that must not come back in a message."""
    return frozenset(_secrets(body or {}))


def _secrets(value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _SECRET_KEYS:
                yield from texts(item)
            else:
                yield from _secrets(item)


def redacted(text: str, secrets: Iterable[str], limit: int = 200) -> str:
    """`text` on one printable line of at most `limit` characters, without any of the secrets."""
    line = _flat(text)
    known = sorted(_spellings(secrets), key=len, reverse=True)
    for secret in known:
        line = line.replace(secret, MASK)
    line = _LIKE_A_SECRET.sub(MASK, line)
    # A mask may have joined what stood apart; then nothing of the text is worth the risk.
    return "" if any(secret in line for secret in known) else bounded(line, limit)


def _flat(text: str) -> str:
    """The text as a reader sees it: printable, with single blanks."""
    return " ".join(bounded(text, _LONGEST_TEXT).split())


def _spellings(secrets: Iterable[str]) -> set[str]:
    """The secrets as they are, line by line, escaped by JSON or a URL, and made printable."""
    spellings: set[str] = set()
    for secret in secrets:
        for part in (secret, *secret.splitlines()):
            spellings |= {
                _flat(part),
                json.dumps(part)[1:-1],
                json.dumps(part, ensure_ascii=False)[1:-1],
                quote(part, safe=""),
                quote_plus(part),
            }
    return {spelling for spelling in spellings if len(spelling) >= _SHORTEST}
