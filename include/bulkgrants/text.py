"""Makes text from outside harmless, and brings it to one spelling so that it can be compared.

Text from a provider, the API or an analyst passes through `bounded` before it reaches a log, the
ledger or an exception. Addresses and scopes have one spelling each:

- an address: without blanks around it, Unicode NFKC, all in lower case (providers do not
  distinguish mailboxes by case), the domain as in the DNS (IDNA, `xn--…`);
- scopes: sorted, once each, without the identity scopes, joined by single spaces.

Applying these functions to their own result changes nothing.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from email_validator import EmailNotValidError, validate_email
from pydantic import ValidationError

IDENTITY_SCOPES = frozenset(
    {
        "openid",
        "https://www.googleapis.com/auth/userinfo.email",
        "https://www.googleapis.com/auth/userinfo.profile",
    }
)
"""The scopes that Nylas adds to every Google grant (docs/nylas-api.md, Custom authentication)."""

_BLANKS = re.compile(
    r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+"
)
"""Blanks, and characters that are invisible, reverse the text, or cannot be stored in a database.
"""
_EDGES = "".join(map(chr, (*range(0x200B, 0x2010), 0x2060, 0xFEFF)))
"""Invisible characters that copying leaves around a text; `strip()` does not remove them."""
_SEPARATORS = re.compile(r"[\s,;]+")

_LONGEST = 254
# Longer than any address, so that a cut text is never one; PostgreSQL indexes up to 2,700 bytes.
_LONGEST_KEY = 500
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"(?!..--)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_SPECIAL = r"(?:arpa|invalid|local|localhost|onion)"  # refused by email-validator
_PLAIN = re.compile(
    rf"(?=.{{1,{_LONGEST}}}\Z)(?=[^@]{{1,64}}@){_ATEXT}(?:\.{_ATEXT})*"
    rf"@(?:{_LABEL}\.)+(?!{_SPECIAL}\Z)[a-z]{{2,63}}"
)
"""Matches addresses, in lower case, that are certainly valid as they are; nearly all addresses do.
What does not match goes through `email-validator`, which does not ask the DNS here."""


def bounded(text: object, limit: int = 200) -> str:
    """The text on one printable line of at most `limit` characters; a cut is marked with `…`."""
    line = str(text)[: limit * 4]
    if not line.isprintable():
        line = "".join(one if one.isprintable() else " " for one in line)
    return _on_a_line(line, limit)


def _on_a_line(text: str, limit: int) -> str:
    line = _BLANKS.sub(" ", text).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def read_json(text: str | bytes) -> object:
    """The value of a JSON text, with or without a byte order mark.

    Half of a character, which is JSON but not Unicode, may stand in its texts. Raises ValueError.
    """
    try:
        return json.loads(text.removeprefix("\ufeff") if isinstance(text, str) else text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Where a value first differs from its model, as `data.0.id`, and how; never the value."""
    first = error.errors(include_input=False, include_url=False)[0]
    what = "Input should be an object" if first["type"] == "model_type" else first["msg"]
    return ".".join(str(part) for part in first["loc"]), what


def trimmed(text: str) -> str:
    """The text without the blanks and invisible characters around it."""
    stripped = text.strip()
    while stripped and (stripped[0] in _EDGES or stripped[-1] in _EDGES):
        stripped = stripped.strip(_EDGES).strip()
    return stripped


def markdown_cell(text: object, limit: int = 200) -> str:
    """The bounded text for a table cell; everything that Markdown or HTML acts on is escaped."""
    escaped = bounded(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#!|~])", r"\\\1", escaped)


def quoted(text: str) -> str:
    """A cell's text for use in a sentence: in quotes, printable, bounded."""
    return f'"{bounded(text, 80)}"'


def canonical_scopes(scopes: str | Iterable[str] | None) -> str:
    """The one spelling of a set of scopes.

    Accepts a list, or a text that is separated by blanks, commas or semicolons.
    """
    if scopes is None:
        return ""
    parts = _SEPARATORS.split(scopes) if isinstance(scopes, str) else scopes
    return " ".join(sorted({part.strip() for part in parts if part.strip()} - IDENTITY_SCOPES))


def split_scopes(scopes: str) -> list[str]:
    """The scopes in a canonical text, one by one."""
    return scopes.split(" ") if scopes else []


_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def missing_scopes(required: str, carried: str) -> tuple[str, ...]:
    """The required scopes that a grant does not carry. Both are canonical; case does not matter."""
    there = {scope.casefold() for scope in split_scopes(carried)}
    return tuple(scope for scope in split_scopes(required) if scope.casefold() not in there)


def is_guid(text: str) -> bool:
    """Whether the text has the form of a GUID, which Microsoft uses for ids."""
    return _GUID.fullmatch(text) is not None


def is_loopback(hostname: str) -> bool:
    """Whether a host name or IP address means this machine."""
    try:
        return ip_address(hostname).is_loopback
    except ValueError:
        return hostname == "localhost"


class BadAddress(ValueError):
    """The text is not a mailbox address; the message says why, in one bounded sentence."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """The result of normalising many addresses, by position."""

    values: list[str | None]
    """Normalised; None if the text is not an address."""
    problems: dict[int, str] = field(default_factory=dict)
    """What is wrong with the texts at these positions."""


def normalise_address(text: str) -> str:
    """The one spelling of a mailbox address. Raises BadAddress."""
    lower = trimmed(text).lower()
    return lower if _PLAIN.fullmatch(lower) else _normalise_rare(text)


def normalise_addresses(texts: Sequence[str]) -> Addresses:
    """`normalise_address` for many texts; several times faster than one by one."""
    lower = [text.strip().lower() for text in texts]
    match = _PLAIN.fullmatch
    found = Addresses([text if match(text) else None for text in lower])
    for position, value in enumerate(found.values):
        if value is None:
            try:
                found.values[position] = normalise_address(texts[position])
            except BadAddress as error:
                found.problems[position] = str(error)
    return found


def address_key(text: str) -> str:
    """The one spelling of what the API calls an e-mail, even if it is not an address.

    The same as `normalise_address` if that succeeds. If not, it is trimmed, NFKC, lower case and at
    most 500 characters long, so that a database can store and index it.
    """
    try:
        return normalise_address(text)
    except BadAddress:
        # Not `bounded`: which characters are printable differs from one Python to another.
        harmless = _on_a_line(_folded(text[: _LONGEST_KEY * 4]), _LONGEST_KEY * 20)
        key = trimmed(trimmed(harmless)[:_LONGEST_KEY])
    try:
        return normalise_address(key)  # without the harmful characters it may be an address
    except BadAddress:
        return key


def _folded(text: str) -> str:
    """NFKC in lower case; NFKC is applied again because lower-casing can decompose characters."""
    once = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", trimmed(text)).lower())
    return trimmed(once)


def _normalise_rare(text: str) -> str:
    if len(text) > _LONGEST * 4:
        raise BadAddress(f"An address has at most {_LONGEST} characters.")
    try:
        # strict adds the limit of 64 characters before the @; test_environment allows ".test"
        found = validate_email(
            _folded(text), check_deliverability=False, strict=True, test_environment=True
        )
    except EmailNotValidError as error:
        raise BadAddress(bounded(str(error))) from None
    return f"{found.local_part}@{found.ascii_domain}"
