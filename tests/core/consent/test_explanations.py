from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkgrants.consent.consent_errors import MICROSOFT, NYLAS, OAUTH
from bulkgrants.consent.explanations import (
    GENERAL,
    GENERAL_REFUSAL,
    Kind,
    explain,
    explain_refusal,
)
from bulkgrants.consent.refusal_errors import REFUSALS
from bulkgrants.errors import Refused
from bulkgrants.model import Provider
from bulkgrants.nylas.calls import authenticate
from bulkgrants.nylas.reasons import TRANSIENT, reason_in
from bulkgrants.nylas.refusals import error_for
from bulkgrants.nylas.wire import Reply

PAGE = (Path(__file__).parents[3] / "docs" / "consent-errors.md").read_text(encoding="utf-8")
SIGNS = [sign.explanation for sign in REFUSALS]
OURS = [*MICROSOFT.values(), *NYLAS.values(), *OAUTH.values(), GENERAL, *SIGNS, GENERAL_REFUSAL]

DOSSIER = {
    Kind.DECLINED: "65004",
    Kind.PASSING: "650051 90006 90024 90012 50087",
    Kind.SETUP: "50011 50194 650056 650057 7000215 7000222 70002 90002 9001023",
    Kind.ADMIN: (
        "50020 90072 50034 50105 53003 50076 50079 65001 650052 700016 70001 700011 90094"
    ),
}
NUMBERS = [(number, kind) for kind, numbers in DOSSIER.items() for number in numbers.split()]


def refused(status, said, **more):
    """The message of what the client really raises for this answer."""
    error = {"type": "api.provider_error", "message": "Authentication failed."} | more
    body = {"error": error | ({} if said is None else {"provider_error": said})}
    raised = error_for(
        authenticate(Provider.GOOGLE, "ann@acme.example", "cred-1", "a"),
        Reply(status, {"x-request-id": "r-1"}, json.dumps(body).encode()),
        clock=lambda: datetime(2026, 11, 21, tzinfo=UTC),
        connection="nylas_default",
    )
    assert isinstance(raised, Refused)
    return str(raised)


def oauth(name, description):
    return {"error": name, "error_description": description}


@pytest.mark.parametrize(("number", "kind"), NUMBERS)
def test_each_number_says_who_acts(number, kind):
    found = explain(
        error="access_denied",
        description=f"AADSTS{number}: Something in English.\r\nTrace ID: 1-2-3",
        code="45002",
    )
    assert (found.code, found.kind) == (f"AADSTS{number}", kind)
    assert explain_refusal(f"Refused ({number}; invalid_grant AADSTS{number}: no.)") == found


def test_no_other_number_is_in_the_table():
    assert set(MICROSOFT) == {f"AADSTS{number}" for number, _ in NUMBERS}


@pytest.mark.parametrize(("number", "kind"), NUMBERS)
def test_what_passes_by_itself_is_what_the_client_tries_again(number, kind):
    assert (reason_in(f"AADSTS{number}: x") is TRANSIENT) is (kind is Kind.PASSING)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AADSTS50011", "redirect URI of the platform Web"),
        ("AADSTS50020", "an account of that tenant"),
        ("AADSTS50105", "assign the account"),
        ("AADSTS50194", "any organisation's directory"),
        ("AADSTS53003", "change the policy"),
        ("AADSTS50076", "complete it"),
        ("AADSTS65001", "consent link and accept"),
        ("AADSTS65004", "what holds them back"),
        ("AADSTS650051", "Wait a minute"),
        ("AADSTS650052", "subscribe to that service"),
        ("AADSTS650056", "User.Read.All"),
        ("AADSTS700016", "enable the app"),
        ("AADSTS7000215", "value, not its id"),
        ("AADSTS7000222", "Make a new client secret"),
        ("AADSTS70002", "value, not its id"),
        ("AADSTS90002", "Correct the tenant"),
        ("AADSTS90094", "consent for the whole tenant"),
        ("AADSTS9001023", "Put the tenant's id"),
        ("AADSTS90006", "Wait some minutes"),
    ],
)
def test_the_remedy_names_the_fix(code, words):
    assert words in explain(description=f"{code}: x").remedy


@pytest.mark.parametrize(
    ("given_", "code", "kind"),
    [
        ({"error": "provider_code_request_failed", "code": "45001"}, "45001", Kind.SETUP),
        ({"error": "oauth_failed", "code": "45002"}, "45002", Kind.DECLINED),
        ({"error": "oauth_failed"}, "oauth_failed", Kind.DECLINED),
        ({"error": "invalid_request", "code": " 25003 "}, "25003", Kind.SETUP),
        ({"code": "25016"}, "25016", Kind.SETUP),
        ({"error": "access_denied", "code": "702"}, "702", Kind.SETUP),
        ({"error": "access_denied"}, "access_denied", Kind.DECLINED),
        ({"error": " Access_Denied\n"}, "access_denied", Kind.DECLINED),
        ({"error": "access_denied", "code": "99"}, "access_denied", Kind.DECLINED),
        ({"error": "consent_required"}, "consent_required", Kind.ADMIN),
        ({"error": "interaction_required"}, "interaction_required", Kind.ADMIN),
        ({"error": "invalid_client"}, "invalid_client", Kind.SETUP),
        ({"error": "unauthorized_client"}, "unauthorized_client", Kind.SETUP),
        ({"error": "invalid_request"}, "invalid_request", Kind.SETUP),
        ({"error": "invalid_scope"}, "invalid_scope", Kind.SETUP),
        ({"error": "server_error"}, "server_error", Kind.PASSING),
        ({"error": "temporarily_unavailable"}, "temporarily_unavailable", Kind.PASSING),
        ({"error": "server_error", "description": "aadsts65004"}, "AADSTS65004", Kind.DECLINED),
        ({"error": "AADSTS65004"}, "AADSTS65004", Kind.DECLINED),
        ({"code": "AADSTS65004"}, "AADSTS65004", Kind.DECLINED),
        ({"description": "AADSTS1 AADSTS90094 AADSTS65004"}, "AADSTS90094", Kind.ADMIN),
    ],
)
def test_number_before_code_before_name(given_, code, kind):
    found = explain(**given_)
    assert (found.code, found.kind) == (code, kind)


@pytest.mark.parametrize(
    "given_",
    [
        {},
        {"error": "access"},
        {"error": "<script>"},
        {"description": "access_denied"},
        {"description": "AADSTS650040"},
        {"description": "AADSTS65004x"},
        {"description": "AADSTS 65004"},
        {"description": "65004"},
        {"description": "AADSTS\u0666\u0665\u0660\u0660\u0664"},
        {"code": "45001.0"},
        {"description": "x" * 4096 + "AADSTS65004"},
    ],
)
def test_what_no_table_knows_gets_the_general_answer(given_):
    assert explain(**given_) is GENERAL


@pytest.mark.parametrize("digits", range(7))
def test_a_number_that_the_limit_cuts_is_not_taken_for_a_shorter_one(digits):
    before = " " * (4096 - len("AADSTS") - digits)
    assert explain(description=f"{before}AADSTS7000215") is GENERAL


def test_a_number_is_read_up_to_the_limit():
    before = " " * (4096 - len("AADSTS7000215"))
    assert explain(description=f"{before}AADSTS7000215").code == "AADSTS7000215"
    assert explain(description=f"{before}AADSTS7000215").kind is Kind.SETUP


@pytest.mark.parametrize(
    ("status", "said", "code", "kind"),
    [
        (401, oauth("unauthorized_client", "Client is …"), "unauthorized_client", Kind.ADMIN),
        (403, oauth("access_denied", "Requested client …"), "access_denied", Kind.ADMIN),
        (
            400,
            oauth("invalid_grant", "Invalid JWT Signature."),
            "invalid_grant: Invalid JWT",
            Kind.SETUP,
        ),
        (
            400,
            oauth("invalid_grant", "Invalid email or User ID"),
            "invalid_grant: Invalid email",
            Kind.ADMIN,
        ),
        (400, "Not a valid email", "invalid_grant: Invalid email", Kind.ADMIN),
        (401, oauth("disabled_client", "Disabled."), "invalid_client", Kind.SETUP),
        (
            404,
            {"error": {"code": "MailboxNotEnabledForRESTAPI"}},
            "MailboxNotEnabledForRESTAPI",
            Kind.ADMIN,
        ),
        (
            403,
            {"error": {"code": "Authorization_RequestDenied"}},
            "Authorization_RequestDenied",
            Kind.SETUP,
        ),
        (423, None, "HTTP 423", Kind.SETUP),
        (400, oauth("invalid_grant", "AADSTS65001: none."), "AADSTS65001", Kind.ADMIN),
        (401, oauth("invalid_client", "AADSTS7000222: old."), "AADSTS7000222", Kind.SETUP),
        (400, oauth("invalid_request", "AADSTS90002: none."), "AADSTS90002", Kind.SETUP),
        (400, oauth("invalid_request", "AADSTS9001023: no."), "AADSTS9001023", Kind.SETUP),
    ],
)
def test_what_the_client_raises_is_explained(status, said, code, kind):
    found = explain_refusal(refused(status, said))
    assert (found.code, found.kind) == (code, kind)


@pytest.mark.parametrize("said", [None, oauth("invalid_grant", "Bad Request"), "AADSTS99999"])
def test_a_refusal_that_says_nothing_known_gets_the_general_answer(said):
    assert explain_refusal(refused(400, said)) is GENERAL_REFUSAL


def test_nylas_own_types_are_no_words_of_a_provider():
    assert explain_refusal(refused(403, None, type="grant.access_denied")) is GENERAL_REFUSAL


def test_googles_passing_trouble_is_passing():
    assert explain_refusal("internal_failure: Backend Error").kind is Kind.PASSING


pieces = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from([*MICROSOFT, *NYLAS, *OAUTH, "AADSTS", "invalid_grant jwt", "email", ":"]),
    ),
    max_size=8,
).map("".join)


@given(error=pieces, description=pieces, code=pieces)
@example(error="access_denied", description="<b>AADSTS65004</b>" * 9999, code="AADSTS" * 9999)
def test_an_answer_is_always_one_of_our_own(error, description, code):
    found = explain(error=error, description=description, code=code)
    refusal = explain_refusal(f"{error} {description} {code}")
    for one in (found, refusal):
        assert any(one is ours for ours in OURS)


@given(marker=st.text("QZqz#\u00e9<&", min_size=13, max_size=40), around=pieces)
def test_nothing_from_outside_is_repeated(marker, around):
    text = f"{around} {marker} AADSTS65004"
    for one in (
        explain(error=text, description=text, code=text),
        explain(error=marker),
        explain_refusal(text),
    ):
        shown = f"{one.code} {one.meaning} {one.remedy}"
        assert [part for part in windows(marker, 13) if part in shown] == []


def windows(text, size):
    return [text[start : start + size] for start in range(len(text) - size + 1)]


@pytest.mark.parametrize("one", OURS, ids=lambda one: one.code or "general")
def test_meaning_and_remedy_are_sentences(one):
    for sentence in (one.meaning, one.remedy):
        assert re.fullmatch(r"[A-Z][^\n|<>]{15,}\.", sentence)
        assert sentence.isascii()


def listed(heading):
    """The rows below a heading of the page: codes, who acts, meaning, remedy."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    return [
        (code, *rest)
        for codes, *rest in rows[2:]
        for code in re.findall(r"`([^`]+)`", codes) or [""]
    ]


@pytest.mark.parametrize(
    ("heading", "table"),
    [
        ("Microsoft's numbers", MICROSOFT.values()),
        ("Nylas' codes", NYLAS.values()),
        ("Names of OAuth errors", [*OAUTH.values(), GENERAL]),
        ("Refused grants without a number", [*SIGNS, GENERAL_REFUSAL]),
    ],
)
def test_the_page_lists_exactly_the_table(heading, table):
    assert listed(heading) == [(one.code, one.kind, one.meaning, one.remedy) for one in table]


def test_the_page_has_no_other_section_and_explains_every_kind():
    assert len(re.findall(r"^## ", PAGE, re.MULTILINE)) == 4
    assert [kind for kind in Kind if f"\n| {kind} | " not in PAGE] == []
