"""The page that follows a row names every file that really runs, and no other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATH = re.compile(r"`((?:include|plugins)/[\w/]+\.py)`")


@pytest.fixture(scope="module")
def traced() -> dict:
    """What `scripts/trace_row.py` saw, in a process and a world of its own."""
    command = [sys.executable, ROOT / "scripts" / "trace_row.py"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_the_life_of_a_row_names_the_files_that_really_ran(traced):
    page = (ROOT / "docs" / "life-of-a-row.md").read_text(encoding="utf-8")
    way = page.partition("## On the way")[2].partition("\n## ")[0]
    assert sorted(set(PATH.findall(way))) == sorted(traced["granted"])


def test_a_refusal_is_understood_in_the_files_that_the_page_names(traced):
    page = (ROOT / "docs" / "life-of-a-row.md").read_text(encoding="utf-8")
    knowing = page.partition("## If it is refused")[2].partition("\n## ")[0]
    assert sorted(set(PATH.findall(knowing))) == sorted(traced["knowing what a refusal means"])


def test_the_architecture_tells_the_figures_of_the_script(traced):
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    counts = traced["counts"]
    row, refusal = counts["granted"], counts["knowing what a refusal means"]
    assert f"a row passes {row} files" in page
    assert f"{refusal} files know what a refusal means" in page
