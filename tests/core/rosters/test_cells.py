"""Cells are read in the same way, whatever types the driver or pandas use for them."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from bulkgrants.rosters.cells import (
    NotText,
    UnreadableScopes,
    distinct,
    lists_as_json,
    objects,
    raw_column,
    read_cell,
    read_cells,
    read_scopes,
)
from bulkgrants.text import trimmed

CALENDAR = "https://www.googleapis.com/auth/calendar"
GMAIL = "https://www.googleapis.com/auth/gmail.readonly"


@pytest.mark.parametrize(
    "null",
    [
        None,
        float("nan"),
        np.float64("nan"),
        pd.NA,
        pd.NaT,
        Decimal("nan"),
        Decimal("snan"),
        np.datetime64("NaT"),
        np.timedelta64("NaT"),
    ],
)
def test_every_null_is_none(null):
    assert read_cell(null) is None


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (0, "int"), (1.5, "float"), (True, "bool"), (Decimal(1), "decimal"), (b"a@b.com", "bytes"),
        (dt.date(2026, 1, 1), "date"), (dt.datetime(2026, 1, 1), "datetime"),  # noqa: DTZ001 - as drivers return it
        (["a"], "list"), ({"a": 1}, "dict"), (np.int64(3), "int64"), (np.array(["a"]), "ndarray"),
        (pd.Timestamp(2026, 1, 1), "timestamp"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_text_is_reported_as_such(value, kind):
    cell = read_cell(value)
    assert isinstance(cell, NotText)
    assert cell.kind == kind


@pytest.mark.parametrize("dtype", ["object", "str", "string", "category"])
def test_a_text_column_reads_alike_in_every_dtype(dtype):
    frame = pd.DataFrame({"tenant": pd.Series(["a", None, "b", "a"], dtype=dtype)})
    found = distinct(read_cells(raw_column(frame, "tenant")))
    assert [found.cells[code] for code in found.codes] == ["a", None, "b", "a"]


def test_a_column_of_everything_reads_cell_by_cell():
    values = ["a", None, 1, [1], float("nan"), b"x", {"k": []}, "a"]
    found = distinct(read_cells(objects(values)))
    cells = [found.cells[code] for code in found.codes]
    expected = ["a", None, NotText("int", "1"), NotText("list", "[1]"), None]
    expected += [NotText("bytes", "b'x'"), NotText("dict", "{'k': []}"), "a"]
    assert cells == expected


def test_lists_of_equal_length_stay_cells():
    assert list(lists_as_json(objects([["a", "b"], ("c", "d"), None]))) == [
        '["a", "b"]', '["c", "d"]', None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "scopes"),
    [
        ("", ""),
        ("  ", ""),
        ("[]", ""),
        (CALENDAR, CALENDAR),
        (f" {GMAIL},{CALENDAR} ; {GMAIL}", f"{CALENDAR} {GMAIL}"),
        (f"openid {CALENDAR}", CALENDAR),
        (f'["{GMAIL}", "{CALENDAR}"]', f"{CALENDAR} {GMAIL}"),
        ("https://mail.google.com/", "https://mail.google.com/"),
    ],
)
def test_scopes_are_read_however_they_are_separated(written, scopes):
    assert read_scopes(written) == scopes


@pytest.mark.parametrize(
    "written",
    [
        "openid",
        '["a"',
        '{"a": 1}',
        '"a"',
        "[1]",
        '["a", null]',
        '[["a"]]',
        "a|b",
        "a 1",
        "<a>",
        "[" * 100000,
        "ä",
    ],
)
def test_scopes_that_cannot_be_read_say_why(written):
    with pytest.raises(UnreadableScopes) as caught:
        read_scopes(written)
    assert 10 < len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ([GMAIL, CALENDAR], f"{CALENDAR} {GMAIL}"),
        ((GMAIL,), GMAIL),
        ({GMAIL}, GMAIL),
        (np.array([GMAIL, CALENDAR]), f"{CALENDAR} {GMAIL}"),
    ],
)
def test_lists_are_read_as_scopes(value, written):
    assert read_scopes(lists_as_json(objects([value]))[0]) == written


@pytest.mark.parametrize("value", [[1], [None], [dt.date(2026, 1, 1)], [["a"]], [float("nan")]])
def test_lists_of_other_values_are_not_scopes(value):
    with pytest.raises(UnreadableScopes):
        read_scopes(lists_as_json(objects([value]))[0])


def test_invisible_edges_are_trimmed_and_the_middle_is_kept():
    assert trimmed("\ufeff \u200bacme\u200b corp \u00a0\u2060") == "acme\u200b corp"
