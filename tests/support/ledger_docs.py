"""What docs/ledger.md says, taken apart: its sections, columns, values and statements."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEDGER = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
VOCABULARY = (ROOT / "docs" / "vocabulary.md").read_text(encoding="utf-8")


def sections():
    """The text under each heading that is a name in code, up to the next heading of any kind."""
    parts = re.split(r"^#{2,4} (.+)$", LEDGER, flags=re.MULTILINE)
    return {
        heading[1:-1]: body
        for heading, body in zip(parts[1::2], parts[2::2], strict=True)
        if re.fullmatch(r"`[\w.]+`", heading)
    }


def rows(body):
    """The rows of a section's table whose first cell is a name in code."""
    cells = [line.strip("| ").split(" | ") for line in body.splitlines() if line.startswith("| `")]
    return [[first.strip("`"), *others] for first, *others in cells]


def documented_columns():
    return {
        name: [row[0] for row in rows(body)] for name, body in sections().items() if "." not in name
    }


def documented_values():
    found = {
        f"{name}.{row[0]}": set(re.findall(r"`([^`]+)`", row[1]))
        for name, body in sections().items()
        if "." not in name
        for row in rows(body)
        if "`" in row[1]
    }
    lists = {
        name: {row[0] for row in rows(body)} for name, body in sections().items() if "." in name
    }
    assert not set(found) & set(lists)
    return found | lists


def statements():
    blocks = re.findall(r"^```sql\n(.+?)^```$", LEDGER, flags=re.MULTILINE | re.DOTALL)
    return [part.strip() for block in blocks for part in block.split(";\n") if part.strip()]


QUESTIONS = [statement for statement in statements() if statement.startswith("SELECT")]
DELETIONS = [statement for statement in statements() if not statement.startswith("SELECT")]
