"""The documentation says what the code says."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from nylas_standin.world.switches import Switches
from scripts.make_docs import outdated

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
CITED = re.compile(r"`((?:include|plugins|dags|demo|bench|scripts|tests|docs)/[\w./-]+\.\w+)`")


def test_the_generated_parts_are_up_to_date():
    if outdated():
        pytest.fail("run make docs", pytrace=False)


@pytest.mark.parametrize("switch", [one.name for one in fields(Switches)])
def test_each_guess_about_nylas_is_on_the_page_of_what_we_know(switch):
    assert f"`{switch}`" in (ROOT / "docs" / "nylas-api.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_leads_only_to_files_that_exist(page):
    text = page.read_text(encoding="utf-8")
    linked = {page.parent / target for target in LINK.findall(text)}
    cited = {ROOT / path for path in CITED.findall(text)}
    assert [str(path) for path in sorted(linked | cited) if not path.exists()] == []
