"""The demo's output, each line with the time since the start, and the error that ends the demo."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

_FILE_WIDTH = 150
"""The width of output that goes to a file instead of a terminal."""


class DemoError(Exception):
    """The demo cannot continue. The message says why, and where to look."""


class Terminal:
    """The terminal, and a record of everything that was printed."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._console = Console(record=True, highlight=False, soft_wrap=False)
        if not self._console.is_terminal:
            self._console.width = _FILE_WIDTH

    @property
    def seconds(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._started

    def chapter(self, title: str) -> None:
        """Begin a new part of the story."""
        self._console.print()
        self._console.print(Text(title, style="bold"))

    def say(self, text: str, style: str = "") -> None:
        """Print one line."""
        minutes, seconds = divmod(int(self.seconds), 60)
        self._console.print(Text.assemble((f"{minutes:2d}:{seconds:02d}  ", "dim"), (text, style)))

    def table(self, title: str, head: Sequence[str], rows: Iterable[Sequence[Text | str]]) -> None:
        """Print a table; its last two columns wrap, the others keep their width."""
        table = Table(title=title, title_justify="left", header_style="bold", show_lines=False)
        for name in head:
            table.add_column(name, overflow="fold", no_wrap=name not in head[-2:])
        for row in rows:
            table.add_row(*row)
        self._console.print()
        self._console.print(table)

    def everything_said(self) -> str:
        """All output so far, as plain text."""
        return self._console.export_text(clear=False)
