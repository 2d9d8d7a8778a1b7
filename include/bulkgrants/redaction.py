"""Removes secrets from text that other systems wrote, in whatever spelling they are there.

A text may repeat a secret encoded for a URL, HTML or JSON, more than once, cut off, or broken by
blanks and invisible characters. So the text is decoded step by step until nothing is left to
decode. Every step remembers which characters of the original each of its own comes from. At each
step secrets are searched for piece by piece, and what is found is masked in the original.

If a text is encoded more often than any honest one, or still shows a secret after masking, nothing
of it is shown.
"""

from __future__ import annotations

import base64
import html
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from bulkgrants.text import bounded

MASK = "[redacted]"

_LONGEST_TEXT = 4_000
"""Many times what is shown, and short enough for any text to be searched in a moment."""
_MOST_STEPS = 8
_SHORTEST = 4  # masking shorter texts would make the sentence unreadable and hide nothing
_PIECE = 8
"""Letters and digits of a secret in a row that are masked; fewer do not help to guess the rest."""
_ENCODED_PIECE = 16
"""The same for a secret in hexadecimal, in which each character needs two."""
_VISIBLE_PIECE = 12
"""The same for characters of any kind, for secrets that have few letters and digits."""

_LIKE_A_SECRET = re.compile(
    r"-----BEGIN.*?(?:-----END[^-]*-----|$)"  # PEM, even if it is cut off
    r"|\b(?:bearer|basic)\s+[\w.~+/=-]{12,}"
    r"|\bnyk_\w+"  # Nylas' API keys
    r"|\beyJ[\w-]+\.[\w.-]+"  # JSON web tokens
    r"|[\w.~-]{3}\dQ~[\w.~-]{3,}"  # client secrets of Azure, even if they are cut off
    r"|\bGOCSPX-[\w-]+|\bya29\.[\w.-]+"  # client secrets and access tokens of Google
    r"|(?<=://)[^\s/@:]*:[^\s/@]*(?=@)"  # login and password in a URL
    r"|[A-Za-z0-9+/_=-]{40,}",  # longer than a UUID
    re.IGNORECASE,
)
_ARMOUR = re.compile(r"-----[A-Z ]+-----")  # the first and last line of PEM, known to everybody
_ENCODED = re.compile(
    r"(?P<percent>%[0-7][0-9a-f]|(?:%[89a-f][0-9a-f])+)"
    r"|(?:%u|\\u)(?P<four>[0-9a-f]{4})"
    r"|\\x(?P<two>[0-9a-f]{2})"
    r"|\\u\{0*(?P<braces>[0-9a-f]{1,6})\}"
    r"|(?P<blank>\\[nrtbf])"
    r"|\\(?P<escaped>[^a-z0-9\s])"
    r"|(?P<entity>&(?:\#\d{1,12}|\#x[0-9a-f]{1,12}|[a-z][a-z0-9]{1,31});?)",
    re.IGNORECASE,
)
_INVISIBLE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Me", "Mn"})
_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and signs, says Unicode, that look like blanks."""


def redacted(text: str, secrets: Iterable[str], limit: int = 200) -> str:
    """`text` on one printable line of at most `limit` characters, without any of the secrets.

    Whatever looks like a secret is removed too, because it is not needed to understand a refusal.
    """
    text = " ".join(text.split())[:_LONGEST_TEXT]
    known = _Pieces.of(secrets)
    steps = _steps(text)
    if steps is None:
        return ""
    spans = [span for step in steps for span in (*known.found_in(step), *_suspicious(step))]
    if not spans:
        return bounded(text, limit)
    line = bounded(_masked(text, spans), _LONGEST_TEXT)
    # Masking may have joined the parts of a secret that were apart; then show nothing at all.
    again = _steps(line)
    if again is None or any(any(known.found_in(step)) for step in again):
        return ""
    return bounded(line, limit)


@dataclass(frozen=True, slots=True)
class _Step:
    """A text that was decoded some times."""

    text: str
    origins: list[tuple[int, int]]
    """For each character the part of the original text that it comes from: first and past last."""

    def only(self, keeps: Callable[[str], bool]) -> _Step:
        """The same with just some of its characters."""
        kept = [position for position, one in enumerate(self.text) if keeps(one)]
        text = "".join(self.text[position] for position in kept)
        return _Step(text, [self.origins[position] for position in kept])

    def span(self, first: int, past: int) -> tuple[int, int]:
        """The part of the original that these characters come from."""
        return self.origins[first][0], self.origins[past - 1][1]


def _steps(text: str) -> list[_Step] | None:
    """The text as it is, decoded once, twice, and so on; None if there is no end in sight."""
    characters: list[str] = []
    origins: list[tuple[int, int]] = []
    for position, one in enumerate(text):
        for part in _visible(one):
            characters.append(part)
            origins.append((position, position + 1))
    steps = [_Step("".join(characters), origins)]
    while (decoded := _decoded(steps[-1])).text != steps[-1].text:
        if len(steps) > _MOST_STEPS:
            return None
        steps.append(decoded)
    return steps


def _decoded(step: _Step) -> _Step:
    characters: list[str] = []
    origins: list[tuple[int, int]] = []
    end = 0
    for match in _ENCODED.finditer(step.text):
        characters.extend(step.text[end : match.start()])
        origins.extend(step.origins[end : match.start()])
        end = match.end()
        plain = "".join(map(_visible, _plain(match)))
        characters.extend(plain)
        origins.extend([step.span(*match.span())] * len(plain))
    characters.extend(step.text[end:])
    origins.extend(step.origins[end:])
    return _Step("".join(characters), origins)


def _plain(match: re.Match[str]) -> str:
    """The characters that are encoded; bytes that are no text are left out."""
    if octets := match["percent"]:
        return bytes.fromhex(octets.replace("%", "")).decode(errors="ignore")
    if number := match["four"] or match["two"] or match["braces"]:
        code = int(number, 16)
        return chr(code) if code <= 0x10FFFF else ""  # noqa: PLR2004 - the last one of Unicode
    if match["blank"]:
        return " "
    return match["escaped"] or html.unescape(match["entity"])


@lru_cache(maxsize=4096)
def _visible(one: str) -> str:
    """A character as a reader sees it, in its compatible form: nothing for what is invisible."""
    if one.isspace():
        return " "
    parts = unicodedata.normalize("NFKD", one)
    return "".join(
        " " if part.isspace() else part
        for part in parts
        if part not in _FILLERS and (part.isspace() or unicodedata.category(part) not in _INVISIBLE)
    )


def _is_written(one: str) -> bool:
    return one != " "


def _is_plain(one: str) -> bool:
    return one.isascii() and one.isalnum()


@dataclass(frozen=True, slots=True)
class _Pieces:
    """The pieces of secrets by which they are recognised: all of them, of a few lengths."""

    plain: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set), repr=False)
    """In lower case and without anything but letters and digits: what is between them differs from
    one spelling to another."""
    written: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set), repr=False)
    """With everything except blanks."""

    @classmethod
    def of(cls, secrets: Iterable[str]) -> _Pieces:
        """The pieces of these secrets, as they are and in base64 and hexadecimal."""
        pieces = cls()
        for secret in secrets:
            bare = _ARMOUR.sub("", secret)
            steps = _steps(bare)
            for step in (steps[0], steps[-1]) if steps else ():
                _cut(pieces.plain, step.only(_is_plain).text.lower(), _PIECE)
                _cut(pieces.written, step.only(_is_written).text, _VISIBLE_PIECE)
            octets = bare.strip().encode(errors="replace")
            if len(octets) >= _SHORTEST:
                _cut(pieces.plain, octets.hex(), _ENCODED_PIECE)
                for encoded in _base64(octets):
                    _cut(pieces.plain, encoded, _PIECE)
        return pieces

    def found_in(self, step: _Step) -> Iterator[tuple[int, int]]:
        """The parts of the original text that hold a piece."""
        plain = step.only(_is_plain)
        lower = _Step(plain.text.lower(), plain.origins)
        for there, pieces in ((lower, self.plain), (step.only(_is_written), self.written)):
            for size, wanted in pieces.items():
                for first in range(len(there.text) - size + 1):
                    if there.text[first : first + size] in wanted:
                        yield there.span(first, first + size)


def _cut(pieces: dict[int, set[str]], text: str, size: int) -> None:
    """Add every piece of the text of that size; a shorter text is one piece."""
    size = min(size, len(text))
    if size >= _SHORTEST:
        pieces[size].update(text[first : first + size] for first in range(len(text) - size + 1))


def _base64(octets: bytes) -> Iterator[str]:
    """The letters and digits of the base64 of anything that holds these bytes.

    It depends on the number of bytes before them, modulo 3. The characters at both ends are left
    out, because they also depend on the bytes next to these.
    """
    for before, shared in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(bytes(before) + octets).decode()
        padding = encoded.count("=")
        whole = encoded[shared : -padding - 1] if padding else encoded[shared:]
        yield "".join(filter(_is_plain, whole)).lower()


def _suspicious(step: _Step) -> Iterator[tuple[int, int]]:
    for match in _LIKE_A_SECRET.finditer(step.text):
        if match.end() > match.start():
            yield step.span(*match.span())


def _masked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The text with a mask for all parts that overlap or have nothing readable between them."""
    parts: list[str] = []
    end = 0
    for first, past in sorted(spans):
        between = text[end:first]
        if not parts or any(one.isalnum() for one in between):
            parts += [between, MASK]
        end = max(end, past)
    return "".join([*parts, text[end:]])
