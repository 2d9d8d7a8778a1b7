"""Makes text from outside harmless: one line, printable, bounded."""

from __future__ import annotations

import re

_UNPRINTABLE = re.compile(r"[^\S ]|[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")


def bounded(text: object, limit: int = 200) -> str:
    """Text on one printable line of at most `limit` characters, cut with an ellipsis.

    Everything that a provider, the API or an analyst wrote passes through here before it reaches
    a log, the ledger or an exception.
    """
    line = " ".join(_UNPRINTABLE.sub(" ", str(text)[: limit * 4]).split(" ")).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def markdown_cell(text: object, limit: int = 200) -> str:
    """`bounded`, with everything escaped that Markdown or HTML would act on in a table cell."""
    escaped = bounded(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#!|~])", r"\\\1", escaped)
