"""The table of known errors: what each code means, who acts, and how an answer is recognised."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkgrants.errors import Refused, Unavailable
from bulkgrants.model import Provider
from bulkgrants.nylas.answers import Reply, error_for
from bulkgrants.nylas.calls import authenticate
from bulkgrants.refusals import (
    GRANTS,
    MICROSOFT,
    NYLAS,
    OAUTH,
    TABLE,
    UNKNOWN_CONSENT_ERROR,
    UNKNOWN_REFUSAL,
    Actor,
    Concerns,
    Refusal,
    Seen,
    consent_error,
    grant_error,
    recorded_refusal,
)

OURS = [*TABLE, UNKNOWN_CONSENT_ERROR, UNKNOWN_REFUSAL]
CODES = [one.code for one in TABLE]

DOSSIER = {
    Actor.DECLINED: "65004",
    Actor.PASSING: "650051 90006 90024 90012 50087",
    Actor.SETUP: "50011 50194 650056 650057 7000215 7000222 70002 90002 9001023",
    Actor.ADMIN: (
        "50020 90072 50034 50105 53003 50076 50079 65001 650052 700016 70001 700011 90094"
    ),
}
NUMBERS = [(number, actor) for actor, numbers in DOSSIER.items() for number in numbers.split()]


def raised(status, said, **more):
    """The error that is really raised for this answer."""
    error = {"type": "api.provider_error", "message": "Authentication failed."} | more
    body = {"error": error | ({} if said is None else {"provider_error": said})}
    return error_for(
        authenticate(Provider.GOOGLE, "ann@acme.example", "cred-1", "a"),
        Reply(status, {"x-request-id": "r-1"}, json.dumps(body).encode()),
        clock=lambda: datetime(2026, 11, 21, tzinfo=UTC),
        connection="Airflow connection 'nylas_default'",
    )


def oauth(name, description):
    return {"error": name, "error_description": description}


@pytest.mark.parametrize(("number", "actor"), NUMBERS)
def test_each_number_says_who_acts(number, actor):
    found = consent_error(
        error="access_denied",
        description=f"AADSTS{number}: Something in English.\r\nTrace ID: 1-2-3",
        code="45002",
    )
    assert (found.code, found.actor) == (f"AADSTS{number}", actor)
    assert grant_error(names=["invalid_grant"], texts=[f"AADSTS{number}: no."]) is found
    assert grant_error(names=["invalid_grant", f"AADSTS{number}"], texts=[]) is found


def test_no_other_number_is_in_the_table():
    assert {one.code for one in MICROSOFT} == {f"AADSTS{number}" for number, _ in NUMBERS}


@pytest.mark.parametrize(("number", "actor"), NUMBERS)
def test_passing_errors_are_those_that_the_client_retries(number, actor):
    error = raised(400, oauth("x", f"AADSTS{number}: x"))
    assert isinstance(error, Unavailable) is (actor is Actor.PASSING)


def test_each_code_is_in_its_part_of_the_table_once():
    for part in ([*MICROSOFT, *NYLAS, *OAUTH], [*MICROSOFT, *GRANTS]):
        assert len({one.code for one in part}) == len(part)


@pytest.mark.parametrize("one", OURS, ids=lambda one: one.code or "unknown")
def test_a_refusal_concerns_the_tenant_unless_the_mailbox_is_the_reason(one):
    own = {Refusal.MAILBOX_UNKNOWN, Refusal.GRANT_BLOCKED, Refusal.NOT_SERVED}
    is_own = one.refusal in own or (one.code, one.seen) == ("invalid_grant", Seen.GRANT)
    assert (one.concerns is Concerns.MAILBOX) is is_own


@pytest.mark.parametrize("one", [*MICROSOFT, *GRANTS, UNKNOWN_REFUSAL], ids=lambda one: one.code)
def test_a_recorded_refusal_is_found_again(one):
    assert recorded_refusal(one.refusal, one.code) == one


@pytest.mark.parametrize("code", ["", "AADSTS1", "access_denied_of_yesterday"])
def test_a_recorded_code_that_is_no_longer_in_the_table_keeps_its_reason(code):
    found = recorded_refusal("secret_invalid", code)
    assert (found.refusal, found.code) == (Refusal.SECRET_INVALID, code)
    assert found.meaning == UNKNOWN_REFUSAL.meaning


def test_a_recorded_reason_that_the_table_has_no_more_is_other():
    assert recorded_refusal("reason_of_yesterday", "x").refusal is Refusal.OTHER


def test_a_record_of_the_release_before_has_neither_reason_nor_code():
    assert recorded_refusal("", "") == UNKNOWN_REFUSAL


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
        ("AADSTS90006", "Wait a few minutes"),
    ],
)
def test_the_remedy_names_the_fix(code, words):
    assert words in consent_error(description=f"{code}: x").remedy


@pytest.mark.parametrize(
    ("given_", "code", "actor"),
    [
        ({"error": "provider_code_request_failed", "code": "45001"}, "45001", Actor.SETUP),
        ({"error": "oauth_failed", "code": "45002"}, "45002", Actor.DECLINED),
        ({"error": "oauth_failed"}, "oauth_failed", Actor.DECLINED),
        ({"error": "invalid_request", "code": " 25003 "}, "25003", Actor.SETUP),
        ({"code": "25016"}, "25016", Actor.SETUP),
        ({"error": "access_denied", "code": "702"}, "702", Actor.SETUP),
        ({"error": "access_denied"}, "access_denied", Actor.DECLINED),
        ({"error": " Access_Denied\n"}, "access_denied", Actor.DECLINED),
        ({"error": "access_denied", "code": "99"}, "access_denied", Actor.DECLINED),
        ({"error": "consent_required"}, "consent_required", Actor.ADMIN),
        ({"error": "interaction_required"}, "interaction_required", Actor.ADMIN),
        ({"error": "invalid_client"}, "invalid_client", Actor.SETUP),
        ({"error": "unauthorized_client"}, "unauthorized_client", Actor.SETUP),
        ({"error": "invalid_request"}, "invalid_request", Actor.SETUP),
        ({"error": "invalid_scope"}, "invalid_scope", Actor.SETUP),
        ({"error": "server_error"}, "server_error", Actor.PASSING),
        ({"error": "temporarily_unavailable"}, "temporarily_unavailable", Actor.PASSING),
        ({"error": "server_error", "description": "aadsts65004"}, "AADSTS65004", Actor.DECLINED),
        ({"error": "AADSTS65004"}, "AADSTS65004", Actor.DECLINED),
        ({"code": "AADSTS65004"}, "AADSTS65004", Actor.DECLINED),
        ({"description": "AADSTS1 AADSTS90094 AADSTS65004"}, "AADSTS90094", Actor.ADMIN),
    ],
)
def test_a_number_decides_before_a_code_and_a_code_before_a_name(given_, code, actor):
    found = consent_error(**given_)
    assert (found.code, found.actor) == (code, actor)


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
        {"code": "access_denied"},
        {"description": "x" * 4096 + "AADSTS65004"},
    ],
)
def test_an_unknown_error_gets_the_general_answer(given_):
    assert consent_error(**given_) is UNKNOWN_CONSENT_ERROR


@pytest.mark.parametrize("digits", range(7))
def test_a_number_that_the_limit_cuts_is_not_read_as_a_shorter_one(digits):
    before = " " * (4096 - len("AADSTS") - digits)
    assert consent_error(description=f"{before}AADSTS7000215") is UNKNOWN_CONSENT_ERROR


def test_a_number_is_read_up_to_the_limit():
    before = " " * (4096 - len("AADSTS7000215"))
    assert consent_error(description=f"{before}AADSTS7000215").code == "AADSTS7000215"
    assert consent_error(description=f"{before}AADSTS7000215").actor is Actor.SETUP


@pytest.mark.parametrize(
    ("status", "said", "code", "actor"),
    [
        (401, oauth("unauthorized_client", "Client is …"), "unauthorized_client", Actor.ADMIN),
        (403, oauth("access_denied", "Requested client …"), "access_denied", Actor.ADMIN),
        (
            400,
            oauth("invalid_grant", "Invalid JWT Signature."),
            "invalid_grant: Invalid JWT",
            Actor.SETUP,
        ),
        (
            400,
            oauth("invalid_grant", "Invalid email or User ID"),
            "invalid_grant: Invalid email",
            Actor.ADMIN,
        ),
        (400, "Not a valid email", "invalid_grant: Invalid email", Actor.ADMIN),
        (401, oauth("disabled_client", "Disabled."), "invalid_client", Actor.SETUP),
        (
            404,
            {"error": {"code": "MailboxNotEnabledForRESTAPI"}},
            "MailboxNotEnabledForRESTAPI",
            Actor.ADMIN,
        ),
        *(
            (404, {"error": {"code": name, "message": "…"}}, name, Actor.ADMIN)
            for name in ("Request_ResourceNotFound", "ErrorInvalidUser", "ResourceNotFound")
        ),
        (
            400,
            {"error": "invalid_grant", "provider_error": "Bad Request"},
            "invalid_grant",
            Actor.SETUP,
        ),
        (
            403,
            {"error": {"code": "Authorization_RequestDenied"}},
            "Authorization_RequestDenied",
            Actor.SETUP,
        ),
        (423, None, "HTTP 423", Actor.SETUP),
        (400, oauth("invalid_grant", "AADSTS65001: none."), "AADSTS65001", Actor.ADMIN),
        (401, oauth("invalid_client", "AADSTS7000222: old."), "AADSTS7000222", Actor.SETUP),
        (400, oauth("invalid_request", "AADSTS90002: none."), "AADSTS90002", Actor.SETUP),
        (400, oauth("invalid_request", "AADSTS9001023: no."), "AADSTS9001023", Actor.SETUP),
    ],
)
def test_what_the_client_raises_is_a_known_error(status, said, code, actor):
    error = raised(status, said)
    assert isinstance(error, Refused)
    assert (error.known.code, error.known.actor) == (code, actor)


@pytest.mark.parametrize("said", [None, "AADSTS99999", oauth("invalid_grant", "AADSTS99999: …")])
def test_a_refusal_that_says_nothing_known_is_unknown(said):
    assert raised(400, said).known is UNKNOWN_REFUSAL


@pytest.mark.parametrize(
    "said",
    [
        {"error": {"code": "ErrorInvalidUser", "message": "The user 'x' is invalid."}},
        "ResourceNotFound: Resource could not be discovered.",
        oauth("invalid_grant", "Bad Request"),
    ],
)
def test_a_refusal_of_one_mailbox_is_no_word_about_its_tenant(said):
    assert raised(404, said).known.concerns is Concerns.MAILBOX


def test_nylas_own_types_are_not_words_of_a_provider():
    error = raised(403, None, message="grant.access_denied: no", type="grant.access_denied")
    assert error.known is UNKNOWN_REFUSAL


def test_googles_passing_errors_are_passing():
    assert grant_error(names=(), texts=["internal_failure: Backend Error"]).actor is Actor.PASSING


def test_a_structured_field_decides_before_a_word_of_the_text():
    texts = ["unauthorized_client", "the mailbox's user said access_denied"]
    assert grant_error(names=["access_denied"], texts=texts).code == "access_denied"
    assert grant_error(names=[], texts=texts).code == "unauthorized_client"


@pytest.mark.parametrize("text", ["AADSTS7000222; AADSTS65001", "AADSTS65001; AADSTS7000222"])
def test_of_two_numbers_the_secret_decides_whichever_comes_first(text):
    assert grant_error(names=(), texts=[text]).code == "AADSTS7000222"


def test_every_number_is_ranked_by_what_it_is_to_a_mailbox():
    ranks = [
        Refusal.SECRET_INVALID,
        Refusal.CONSENT_MISSING,
        Refusal.TENANT_MISCONFIGURED,
        Refusal.MAILBOX_UNKNOWN,
        Refusal.OTHER,
    ]
    places = [ranks.index(one.refusal) for one in MICROSOFT]
    assert places == sorted(places)


def test_words_decide_only_where_no_name_of_a_sign_fits():
    assert (
        grant_error(names=["x"], texts=["invalid_grant: the JWT is fine"]).code == "invalid_grant"
    )


def test_a_number_decides_before_any_name():
    found = grant_error(names=["access_denied"], texts=["AADSTS7000222: expired"])
    assert found.code == "AADSTS7000222"


pieces = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from([*CODES, "AADSTS", "invalid_grant jwt", "email", ":"]),
    ),
    max_size=8,
).map("".join)


@given(error=pieces, description=pieces, code=pieces)
@example(error="access_denied", description="<b>AADSTS65004</b>" * 9999, code="AADSTS" * 9999)
def test_the_result_is_always_a_row_of_the_table(error, description, code):
    found = consent_error(error=error, description=description, code=code)
    refusal = grant_error(names=[error, code], texts=[f"{error} {description} {code}"])
    for one in (found, refusal):
        assert any(one is ours for ours in OURS)


@given(marker=st.text("QZqz#\u00e9<&", min_size=13, max_size=40), around=pieces)
def test_nothing_from_outside_is_repeated(marker, around):
    text = f"{around} {marker} AADSTS65004"
    for one in (
        consent_error(error=text, description=text, code=text),
        consent_error(error=marker),
        grant_error(names=[text], texts=[text]),
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
