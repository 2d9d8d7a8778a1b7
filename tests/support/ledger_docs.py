"""The handwritten parts of docs/ledger.md: its text without the generated parts, and its SQL."""

from __future__ import annotations

import re

from scripts.make_docs import PART, ROOT

LEDGER = PART.sub("", (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8"))
VOCABULARY = (ROOT / "docs" / "vocabulary.md").read_text(encoding="utf-8")


def statements():
    blocks = re.findall(r"^```sql\n(.+?)^```$", LEDGER, flags=re.MULTILINE | re.DOTALL)
    return [part.strip() for block in blocks for part in block.split(";\n") if part.strip()]


QUESTIONS = [statement for statement in statements() if statement.startswith("SELECT")]
DELETIONS = [statement for statement in statements() if not statement.startswith("SELECT")]
