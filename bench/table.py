"""Prints figures as Markdown tables, line by line as they come."""

from __future__ import annotations

from collections.abc import Sequence


def head(title: str, columns: Sequence[str]) -> None:
    """A title and the names of the columns."""
    print(f"\n### {title}\n")
    line(columns)
    line(["---" if number == 0 else "---:" for number in range(len(columns))])


def line(cells: Sequence[str]) -> None:
    """One row, shown at once."""
    print("| " + " | ".join(cells) + " |", flush=True)
