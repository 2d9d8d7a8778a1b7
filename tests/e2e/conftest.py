"""One whole demo for all end-to-end tests: starting a real Airflow is what takes the time."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from demo.__main__ import demo
from demo.stage import Stage
from support.kills import Killed, Outlived, kill_a_batch_half_way, kill_the_triggerer


@dataclass
class Played:
    """What is left of a demo that is over."""

    exit_code: int = -1
    said: str = ""
    folder: Path = field(default_factory=Path)
    base_urls: list[str] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    killed: Killed = field(default_factory=Killed)
    outlived: Outlived = field(default_factory=Outlived)


@pytest.fixture(scope="session")
def played() -> Iterator[Played]:
    """A demo whose epilogue kills a batch half-way and reconciles to the end."""
    found = Played()

    def epilogue(stage: Stage) -> list[str]:
        found.base_urls = [stage.nylas.base_url, stage.airflow.base_url]
        kill_a_batch_half_way(stage, found.killed)
        kill_the_triggerer(stage, found.outlived)
        found.pids = [process.pid for process in stage.standalone.processes()]
        return []

    before = dict(os.environ)
    with TemporaryDirectory(prefix="bulkgrants-demo-") as folder:
        found.folder = Path(folder)
        with redirect_stdout(io.StringIO()) as said:
            found.exit_code = demo(path=found.folder, epilogue=epilogue)
        found.said = said.getvalue()
        assert dict(os.environ) == before
        yield found
