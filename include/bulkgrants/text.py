"""Makes text from outside harmless: one line, printable, bounded."""

from __future__ import annotations

import re

_BLANKS = re.compile(
    r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+"
)
"""Blanks, and what cannot be seen, turns the writing around, or fits no database."""
_EDGES = "".join(map(chr, (*range(0x200B, 0x2010), 0x2060, 0xFEFF)))
"""Invisible characters that copying leaves around a text, beside the blanks that strip() knows."""


def bounded(text: object, limit: int = 200) -> str:
    """Text on one printable line of at most `limit` characters, cut with an ellipsis.

    Everything that a provider, the API or an analyst wrote passes through here before it reaches
    a log, the ledger or an exception.
    """
    line = _BLANKS.sub(" ", str(text)[: limit * 4]).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def trimmed(text: str) -> str:
    """Text without the blanks and invisible characters around it."""
    stripped = text.strip()
    while stripped and (stripped[0] in _EDGES or stripped[-1] in _EDGES):
        stripped = stripped.strip(_EDGES).strip()
    return stripped


def markdown_cell(text: object, limit: int = 200) -> str:
    """`bounded`, with everything escaped that Markdown or HTML would act on in a table cell."""
    escaped = bounded(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#!|~])", r"\\\1", escaped)
