"""Gives every mailbox address its one spelling, so that two addresses can be compared as text.

The spelling: without blanks around it, Unicode NFKC, lower case throughout (providers tell no
mailboxes apart by case), the domain as the DNS carries it (IDNA, `xn--…`). Plain ASCII addresses,
nearly all of them, take one regular expression; the rest goes through `email-validator`, which
never asks the DNS. Spelling an address twice changes nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from email_validator import EmailNotValidError, validate_email

from bulkgrants.text import bounded, trimmed

_LONGEST = 254
_LONGEST_KEY = (
    500  # longer than any address, so that no cut makes one; PostgreSQL indexes 2,700 bytes
)
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"(?!..--)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_SPECIAL = r"(?:arpa|invalid|local|localhost|onion)"  # refused by email-validator
_PLAIN = re.compile(
    rf"(?=.{{1,{_LONGEST}}}\Z)(?=[^@]{{1,64}}@){_ATEXT}(?:\.{_ATEXT})*"
    rf"@(?:{_LABEL}\.)+(?!{_SPECIAL}\Z)[a-z]{{2,63}}"
)
"""Addresses, in lower case, that are certainly good as they are; a bad one never matches."""


class BadAddress(ValueError):
    """The text is no mailbox address; the message says why, as a bounded sentence."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Many addresses at once, by position."""

    values: list[str | None]
    """Normalised; None where the text is no address."""
    problems: dict[int, str] = field(default_factory=dict)
    """Why not, for each such position."""


def normalise_address(text: str) -> str:
    """The one spelling of a mailbox address. Raises BadAddress."""
    lower = trimmed(text).lower()
    return lower if _PLAIN.fullmatch(lower) else _normalise_rare(text)


def normalise_addresses(texts: Sequence[str]) -> Addresses:
    """`normalise_address` for many texts, several times as fast."""
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
    """The one spelling of what the API calls an e-mail, even where it is no address.

    Equal to `normalise_address` wherever that succeeds; otherwise trimmed, NFKC, lower case, at
    most 500 characters, and always fit for a database and its indexes.
    """
    try:
        return normalise_address(text)
    except BadAddress:
        harmless = bounded(_folded(text[: _LONGEST_KEY * 4]), _LONGEST_KEY * 20)
        key = trimmed(trimmed(harmless)[:_LONGEST_KEY])
    try:
        return normalise_address(key)  # without what made it harmful it may be an address
    except BadAddress:
        return key


def _folded(text: str) -> str:
    """NFKC in lower case; folded again because lower case can decompose anew."""
    once = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", trimmed(text)).lower())
    return trimmed(once)


def _normalise_rare(text: str) -> str:
    if len(text) > _LONGEST * 4:
        raise BadAddress(f"An address has at most {_LONGEST} characters.")
    try:
        # strict adds the limit of 64 characters before the @; test_environment admits ".test"
        found = validate_email(
            _folded(text), check_deliverability=False, strict=True, test_environment=True
        )
    except EmailNotValidError as error:
        raise BadAddress(bounded(str(error))) from None
    return f"{found.local_part}@{found.ascii_domain}"
