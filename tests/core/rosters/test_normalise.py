"""Every row of a chunk becomes an entry or a reject that tells an analyst what to change."""

import datetime as dt
from datetime import timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkgrants.model import Provider, RejectReason, Tenant
from bulkgrants.rosters.normalise import normalise_chunk

CALENDAR = "https://www.googleapis.com/auth/calendar"
GMAIL = "https://www.googleapis.com/auth/gmail.readonly"
DAYS = timedelta(days=7)
TENANTS = {
    tenant.tenant: tenant
    for tenant in (
        Tenant("acme", Provider.GOOGLE, "acme-sa", "google_acme", CALENDAR, DAYS, enabled=True),
        Tenant("globex", Provider.GOOGLE, "globex-sa", "google_globex", GMAIL, DAYS, enabled=False),
        Tenant("umbra", Provider.MICROSOFT, "umbra-ac", "azure_umbra", "", DAYS, enabled=True),
    )
}
IDS = {("google", "acme-sa"): "id-acme", ("microsoft", "umbra-ac"): "id-umbra"}
ENTRY = ["provider", "email", "tenant", "scopes", "credential_id", "row_number"]
REJECT = ["row_number", "tenant", "email", "provider", "mailbox", "reason", "sentence"]


def chunk(*rows, dtype="object"):
    frame = pd.DataFrame(
        {
            name: pd.Series([row.get(name) for row in rows], dtype=dtype)
            for name in ("tenant", "email", "provider", "credential", "scopes", "unreadable_date")
            if any(name in row for row in rows) or name in {"tenant", "email"}
        }
    )
    frame["row_number"] = range(1, len(rows) + 1)
    return frame


def row(tenant="acme", email="ann@acme.example.com", **others):
    return {"tenant": tenant, "email": email, **others}


def normalised(*rows, dtype="object"):
    return normalise_chunk(chunk(*rows, dtype=dtype), TENANTS, IDS)


def only_entry(*rows):
    found = normalised(*rows)
    assert found.rejects.empty
    [entry] = found.entries.to_dict("records")
    return entry


def only_reject(*rows):
    found = normalised(*rows)
    assert found.entries.empty
    [reject] = found.rejects.to_dict("records")
    return reject


def test_a_row_takes_scopes_and_credential_from_its_tenant():
    assert only_entry(row(" acme ", " Ann@ACME.example.com ")) == {
        "provider": "google",
        "email": "ann@acme.example.com",
        "tenant": "acme",
        "scopes": CALENDAR,
        "credential_id": "id-acme",
        "row_number": 1,
    }


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (row(scopes=f"{GMAIL}, {CALENDAR}"), {"scopes": f"{CALENDAR} {GMAIL}"}),
        (row(scopes=[GMAIL]), {"scopes": GMAIL}),
        (row(scopes=f'["{GMAIL}"]'), {"scopes": GMAIL}),
        (row(scopes=" "), {"scopes": CALENDAR}),
        (row(scopes=[]), {"scopes": CALENDAR}),
        (row(scopes=float("nan")), {"scopes": CALENDAR}),
        (row(credential="acme-sa"), {"credential_id": "id-acme"}),
        (row(credential=pd.NA), {"credential_id": "id-acme"}),
        (row(credential="globex-sa"), {"credential_id": None}),
        (row("globex"), {"credential_id": None, "scopes": GMAIL}),
        (row(provider=" Google "), {"provider": "google"}),
        (row("umbra"), {"provider": "microsoft", "scopes": "", "credential_id": "id-umbra"}),
        (row("umbra", scopes=[]), {"scopes": ""}),
        (row("umbra", scopes=""), {"scopes": ""}),
    ],
)
def test_a_row_may_say_more(written, expected):
    entry = only_entry(written)
    assert {name: entry[name] for name in expected} == expected


BAD = [
    (row(None), "empty_tenant", None, "ann@acme.example.com", "tenant cell is empty"),
    (row("  "), "empty_tenant", None, "ann@acme.example.com", "tenant cell is empty"),
    (row(float("nan")), "empty_tenant", None, "ann@acme.example.com", "tenant cell is empty"),
    (row("nobody"), "unknown_tenant", None, "ann@acme.example.com", '"nobody"'),
    (row("Acme"), "unknown_tenant", None, "ann@acme.example.com", 'write "acme"'),
    (row(42), "not_text", None, "ann@acme.example.com", '"42" (int)'),
    (row(["acme"]), "not_text", None, "ann@acme.example.com", "(list)"),
    (row(email=None), "empty_email", "google", None, "email cell is empty"),
    (row(email=" \u200b"), "empty_email", "google", None, "email cell is empty"),
    (row(email=pd.NaT), "empty_email", "google", None, "email cell is empty"),
    (row(email="ann"), "bad_address", "google", None, '"ann" is not a mailbox address'),
    (row(email="a b@x.com"), "bad_address", "google", None, '"a b@x.com"'),
    (row(email="x" * 9999), "bad_address", "google", None, "…"),
    (row(email=7.5), "not_text", "google", None, '"7.5" (float)'),
    (row(email=b"ann@acme.example.com"), "not_text", "google", None, "(bytes)"),
    (row(email=dt.date(2026, 1, 31)), "not_text", "google", None, "(date)"),
    (row(email="ann@gmail.com"), "provider_mismatch", "google", "ann@gmail.com", "personal"),
    (row("umbra", "ann@hotmail.co.uk"), "provider_mismatch", "microsoft", "ann@hotmail.co.uk",
     "own domain"),
    (row(provider="microsoft"), "provider_mismatch", "google", "ann@acme.example.com",
     '"microsoft"'),
    (row(provider="yahoo"), "provider_mismatch", "google", "ann@acme.example.com", '"yahoo"'),
    (row(provider=1), "not_text", "google", "ann@acme.example.com", "provider cell"),
    (row(credential="nobody-sa"), "unknown_credential", "google", "ann@acme.example.com",
     '"nobody-sa"'),
    (row(credential="umbra-ac"), "unknown_credential", "google", "ann@acme.example.com",
     'leave the cell empty for "acme-sa"'),
    (row(credential=True), "not_text", "google", "ann@acme.example.com", '"True" (bool)'),
    (row("umbra", scopes=GMAIL), "scopes_not_allowed", "microsoft", "ann@acme.example.com",
     "admin's consent"),
    (row(scopes='["x'), "unreadable_scopes", "google", "ann@acme.example.com", "JSON"),
    (row(scopes=3), "unreadable_scopes", "google", "ann@acme.example.com", '"3" (int)'),
    (row(scopes=[1]), "unreadable_scopes", "google", "ann@acme.example.com", "array of texts"),
    (row(scopes={"a": 1}), "unreadable_scopes", "google", "ann@acme.example.com", "(dict)"),
    (row(scopes="openid"), "unreadable_scopes", "google", "ann@acme.example.com", "identity"),
    (row(unreadable_date=""), "unreadable_date", "google", "ann@acme.example.com", "cell is empty"),
    (row(unreadable_date="5 Feb"), "unreadable_date", "google", "ann@acme.example.com", '"5 Feb"'),
]  # fmt: skip


@pytest.mark.parametrize(("written", "reason", "provider", "mailbox", "said"), BAD)
def test_a_wrong_row_is_rejected_with_what_to_change(written, reason, provider, mailbox, said):
    reject = only_reject(written)
    assert reject["reason"] == reason
    assert said in reject["sentence"]
    assert len(reject["sentence"]) <= 600
    assert (reject["provider"], reject["mailbox"]) == (provider, mailbox)


def test_every_reason_that_a_single_row_can_have_is_tried():
    of_pairs = {RejectReason.DUPLICATE, RejectReason.CONFLICTING_DUPLICATE}
    assert {RejectReason(reason) for _, reason, *_ in BAD} == set(RejectReason) - of_pairs


def test_a_row_with_several_faults_names_its_date_first_and_then_its_tenant():
    undated = only_reject(row("nobody", None, scopes=3, unreadable_date="5 Feb"))
    assert (undated["reason"], undated["provider"]) == ("unreadable_date", None)
    assert only_reject(row(None, None, scopes=3))["reason"] == "empty_tenant"
    assert only_reject(row(email=None, credential="x"))["reason"] == "unknown_credential"


def test_a_reject_shows_its_cells_bounded_and_printable():
    reject = only_reject(row("no\nbody\x00\ud800" + "x" * 5000, "a\tb"))
    assert reject["tenant"].startswith("no body xxx")
    assert len(reject["tenant"]) == 200
    assert reject["email"] == "a b"


def test_entries_and_rejects_keep_their_row_numbers():
    found = normalised(row(), row("nobody"), row(email="bob@acme.example.com"), row(email=""))
    assert found.entries["row_number"].tolist() == [1, 3]
    assert found.rejects["row_number"].tolist() == [2, 4]
    assert found.rejects["tenant"].tolist() == ["nobody", "acme"]


def test_the_frames_have_the_documented_columns_and_dtypes_even_when_empty():
    for found in (normalised(), normalised(row()), normalised(row(None))):
        assert sorted(found.entries.columns) == sorted(ENTRY)
        assert sorted(found.rejects.columns) == sorted(REJECT)
        for frame in (found.entries, found.rejects):
            assert frame["row_number"].dtype == "int64"
            assert all(frame[name].dtype == object for name in frame if name != "row_number")


@pytest.mark.parametrize("dtype", ["object", "str", "string", "category"])
def test_the_dtype_of_text_columns_changes_nothing(dtype):
    rows = [row(scopes=None), row(email="bob@acme.example.com", scopes=GMAIL), row(None)]
    found = normalised(*rows, dtype=dtype)
    expected = normalised(*rows)
    pd.testing.assert_frame_equal(found.entries, expected.entries)
    pd.testing.assert_frame_equal(found.rejects, expected.rejects)


def test_the_frames_index_does_not_matter():
    frame = chunk(row(), row(None))
    frame.index = pd.Index([7, 7])
    found = normalise_chunk(frame, TENANTS, IDS)
    assert (len(found.entries), len(found.rejects)) == (1, 1)


WORDS = ["acme", "umbra", "acme-sa", CALENDAR, "google", "ann@acme.example.com"]
CELLS = st.one_of(
    *(st.none(), st.just(pd.NA), st.sampled_from(WORDS), st.text(max_size=5)),
    *(st.integers(), st.floats(), st.decimals(), st.booleans(), st.binary(max_size=3), st.dates()),
    st.lists(st.one_of(st.text(max_size=3), st.none()), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)


@given(
    st.lists(
        st.fixed_dictionaries(
            dict.fromkeys(("tenant", "email", "provider", "credential", "scopes"), CELLS)
        )
    )
)
def test_no_row_is_lost_whatever_its_cells_hold(rows):
    found = normalised(*rows)
    numbers = [*found.entries["row_number"], *found.rejects["row_number"]]
    assert sorted(numbers) == list(range(1, len(rows) + 1))
    for name in REJECT[1:]:
        for cell in found.rejects[name]:
            assert cell is None or isinstance(cell, str)
            assert not {"\x00", "\n"} & set((cell or "").encode("utf-8").decode("utf-8"))
