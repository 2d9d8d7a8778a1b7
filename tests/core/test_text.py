"""Each address has one spelling, however it was written and however it is processed."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkgrants.text import (
    _PLAIN,
    BadAddress,
    _normalise_rare,
    address_key,
    bounded,
    markdown_cell,
    missing_scopes,
    normalise_address,
    normalise_addresses,
)

PARTS = st.sampled_from(
    [
        *("ann", "Ann", "o'hara", "a.b", "a+b", "..", ".", "@", "xn--", "-", "--", "ß", "İ", "ﬁ"),
        *("Å", "ä", "ς", "ᾳ", "ϴ", "example.com", "EXAMPLE.com", "bücher.de", "例え.jp", "。"),
        *("test", "local", " ", "\u00a0", "\u200b", "\ufeff", "\u0301", "\u202e", "\ud800"),
        *("\x00", "\u212a", "\u0661", "\uff0e", "\uff20"),
    ]
)
ADDRESSLIKE = st.lists(PARTS, max_size=4).flatmap(
    lambda local: st.lists(PARTS, max_size=4).map(
        lambda domain: "".join(local) + "@" + "".join(domain)
    )
)
ATOM = st.text("aB0!#$%&'*+/=?^_`{|}~-.", min_size=1, max_size=70)
LABEL = st.text("aBx0n-", min_size=1, max_size=66)
PLAINLIKE = st.builds(
    "{}@{}.{}".format,
    ATOM,
    st.lists(LABEL, min_size=1, max_size=5).map(".".join),
    st.sampled_from(["com", "local", "test", "arpa", "c", "x" * 63, "x" * 64, "co-m", "c0m"]),
)
TEXTS = st.one_of(ADDRESSLIKE, PLAINLIKE, st.emails(), st.text(), st.lists(PARTS).map("".join))


def spelled(text):
    try:
        return normalise_address(text)
    except BadAddress:
        return None


@pytest.mark.parametrize(
    ("written", "spelling"),
    [
        ("ann@acme.example.com", "ann@acme.example.com"),
        ("  Ann.Lee+x@ACME.example.COM\t", "ann.lee+x@acme.example.com"),
        ("\ufeffann@acme.example.com\u200b ", "ann@acme.example.com"),
        (
            "\uff41\uff4e\uff4e\uff20\uff41\uff43\uff4d\uff45\uff0eexample\uff0ecom",
            "ann@acme.example.com",
        ),
        ("ann@Bücher.example", "ann@xn--bcher-kva.example"),
        ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
        ("ANN@XN--BCHER-KVA.example", "ann@xn--bcher-kva.example"),
        ("J\u00f6rg@acme.example.com", "j\u00f6rg@acme.example.com"),
        ("Jo\u0308rg@acme.example.com", "j\u00f6rg@acme.example.com"),
        ("straße@acme.example.com", "straße@acme.example.com"),
        ("o'hara@acme.example.com", "o'hara@acme.example.com"),
        ("ann@acme.test", "ann@acme.test"),
        ("a" * 64 + "@acme.example.com", "a" * 64 + "@acme.example.com"),
        ("ann@" + "a" * 63 + ".com", "ann@" + "a" * 63 + ".com"),
        ("ann@1.example.com", "ann@1.example.com"),
    ],
)
def test_an_address_has_one_spelling(written, spelling):
    assert normalise_address(written) == spelling


@pytest.mark.parametrize(
    "written",
    [
        *(
            "",
            " ",
            "ann",
            "@acme.example.com",
            "ann@",
            "ann@@acme.example.com",
            "a b@acme.example.com",
        ),
        *("ann@acme", "ann@acme..com", ".ann@acme.example.com", "ann.@acme.example.com"),
        *("a..b@acme.example.com", "ann@-acme.com", "ann@acme-.com", "ann@ab--cd.com"),
        *(
            "ann@xn--a.com",
            "ann@acme.local",
            "ann@acme.invalid",
            "ann@127.0.0.1",
            "ann@[127.0.0.1]",
        ),
        *(
            "Ann <ann@acme.example.com>",
            '"a b"@acme.example.com',
            "ann@acme.example.com, bob@x.com",
        ),
        *("a" * 65 + "@acme.example.com", "ann@" + "a" * 64 + ".com", "ann@" + "a." * 125 + "com"),
        *("a\u200bnn@acme.example.com", "a\x00nn@acme.example.com", "a\ud800@acme.example.com"),
        *("x" * 5_000_000, "ann@acme.example.com\nbob@acme.example.com", "mailto:ann@a_b.com"),
    ],
)
def test_a_text_that_is_not_an_address_is_refused_in_a_printable_sentence(written):
    with pytest.raises(BadAddress) as caught:
        normalise_address(written)
    assert str(caught.value).encode("utf-8").decode().isprintable()
    assert 10 < len(str(caught.value)) <= 200


@given(TEXTS)
@example("İ@xn--a.com")
def test_spelling_an_address_twice_changes_nothing(text):
    once = spelled(text)
    if once is not None:
        assert normalise_address(once) == once


@given(st.lists(TEXTS))
def test_many_at_once_are_spelled_like_one_by_one(texts):
    found = normalise_addresses(texts)
    assert found.values == [spelled(text) for text in texts]
    assert set(found.problems) == {i for i, value in enumerate(found.values) if value is None}


@given(PLAINLIKE)
def test_what_the_fast_path_accepts_the_slow_path_spells_the_same(text):
    if _PLAIN.fullmatch(text.lower()):
        assert _normalise_rare(text) == text.lower()


@given(TEXTS)
def test_a_key_is_the_normalised_address_if_there_is_one(text):
    if (expected := spelled(text)) is not None:
        assert address_key(text) == expected


@given(TEXTS)
@example("x" * 600)
@example("…" * 600)
@example("a" * 499 + " b")
@example("\ud800@acme。com")
def test_a_key_is_stable_short_and_fit_for_a_database(text):
    key = address_key(text)
    assert address_key(key) == key
    assert len(key) <= 500
    assert "\x00" not in key.encode("utf-8").decode()


def test_a_key_keeps_a_text_that_is_not_an_address_recognisable():
    assert address_key(" Room 4 ") == "room 4"


@given(st.text(max_size=300), st.integers(1, 100))
@example("a\u061cb\u00adc\U000e0041d\ue000\ufff9", 60)
def test_a_bounded_text_is_one_printable_line(text, limit):
    line = bounded(text, limit)
    assert line.isprintable()
    assert len(line) <= limit
    assert bounded(line, limit) == line


@given(st.text(alphabet=st.sampled_from("|`*_[]()#<>&\\\n\x1b\u202e\u061ca! ~"), max_size=300))
def test_a_cell_of_a_table_stays_in_its_cell(text):
    cell = markdown_cell(text)
    assert cell.isprintable()
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*_\[\]<>]", cell)


@pytest.mark.parametrize(
    ("required", "carried", "missing"),
    [
        ("", "", ()),
        ("", "a", ()),
        ("a b", "", ("a", "b")),
        ("a b", "b c", ("a",)),
        ("User.Read.All", "user.read.all", ()),
        ("a", "ab", ("a",)),
    ],
)
def test_what_is_missing_is_told_by_name(required, carried, missing):
    assert missing_scopes(required, carried) == missing
