"""Searches everything that was written for secrets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def leaks(traces: Mapping[str, Iterable[bytes]], folder: Path, said: str) -> tuple[list[str], int]:
    """A sentence for each place that holds a secret, and how many places were searched.

    Files are searched byte for byte: logs, both databases with their journals, configuration.
    """
    places = {"the terminal": said.encode()}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            places[str(path.relative_to(folder))] = path.read_bytes()
    found = [
        f"{place} holds {secret}."
        for place, content in places.items()
        for secret, marks in traces.items()
        if any(mark in content for mark in marks)
    ]
    return found, len(places)
