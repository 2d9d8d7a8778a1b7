"""The page for analysts about the roster agrees with the code."""

import re
from pathlib import Path

import pytest

from bulkgrants.model import RejectReason
from bulkgrants.rosters.warehouse import OPTIONAL, REQUIRED, SourceKind
from bulkgrants.text import normalise_address

DOCS = (Path(__file__).parents[3] / "docs" / "roster.md").read_text(encoding="utf-8")


def section(title):
    level, _ = title.split(" ", 1)
    return re.split(rf"^{level} ", DOCS.split(f"\n{title}\n", 1)[1], flags=re.MULTILINE)[0]


def table(title):
    rows = re.findall(r"^\| (.*) \|$", section(title), flags=re.MULTILINE)
    return [row.split(" | ") for row in rows]


def test_every_reason_is_explained_once_in_the_order_of_the_code():
    written = [row[0].strip("`") for row in table("## Why a row is rejected")[1:]]
    assert written == [reason.value for reason in RejectReason]


@pytest.mark.parametrize(
    ("title", "kind"),
    [("## Columns", SourceKind.ROSTER), ("## The tenants table", SourceKind.TENANTS)],
)
def test_the_columns_are_those_that_are_read(title, kind):
    rows = {row[0].strip("`"): row[1] for row in table(title)[1:]}
    assert set(rows) == {*REQUIRED[kind], *OPTIONAL[kind]}
    assert {name for name, needed in rows.items() if needed == "yes"} == set(REQUIRED[kind])


def test_the_examples_of_spelling_are_true():
    examples = table("## One spelling for each address")[1:]
    assert len(examples) == 4
    for written, spelling in examples:
        assert normalise_address(written.strip("`")) == spelling.strip("`")
