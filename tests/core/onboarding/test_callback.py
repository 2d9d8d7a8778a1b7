"""What a redirect says, and the verdict on it: every rule, without a database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkgrants.model import Consent, ConsentStatus, OAuthError
from bulkgrants.onboarding.callback import LONGEST_QUERY, Redirect, Verdict, judge, read_redirect
from bulkgrants.onboarding.links import RANDOM_BYTES, Binding, make_state, state_hash, state_key

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = state_key("nyk_1")
GUID = "11111111-2222-4333-8444-555555555555"
OTHER_GUID = "99999999-2222-4333-8444-555555555555"
BINDING = Binding(
    application="app-1",
    tenant="acme",
    credential_id="cred-1",
    redirect_uri="https://airflow.example.com/bulkgrants/consent",
    expires_at=NOW + timedelta(days=14),
)
STATE = make_state(BINDING, KEY, bytes(RANDOM_BYTES))
CONSENT = Consent(
    consent_id=1,
    application="app-1",
    tenant="acme",
    credential_id="cred-1",
    microsoft_tenant=GUID,
    redirect_uri=BINDING.redirect_uri,
    state_hash=state_hash(STATE),
    status=ConsentStatus.PENDING,
    requested_at=NOW,
    expires_at=BINDING.expires_at,
    answered_at=None,
    error=OAuthError(),
)


def read(**fields):
    return read_redirect(urlencode({"state": STATE, **fields}))


def verdict(redirect, consent=CONSENT, **changed):
    assert isinstance(redirect, Redirect)
    about = {"application": "app-1", "credential_id": "cred-1", "key": KEY, "now": NOW}
    return judge(redirect, consent, **(about | changed))


YES, NO = {"admin_consent": "true"}, {"error": "access_denied"}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "&",
        "admin_consent=true",
        "state=",
        f"state={STATE}x&admin_consent=true",
        f"state={STATE[:-1]}&admin_consent=true",
        f"state={STATE}&state={STATE}&admin_consent=true",
        f"state={STATE}&admin_consent=true&admin_consent=true",
        f"state={STATE}&error=a&error=b",
        f"state={STATE}&next=a&next=b",
        f"state={STATE};admin_consent=true",
        f"state={STATE}%00&admin_consent=true",
        f"state={STATE}%0A&admin_consent=true",
        f"state=%20{STATE}&admin_consent=true",
        f"STATE={STATE}&admin_consent=true",
        f"state={STATE}&error=%ED%A0%80",
        f"state={STATE}&error=%C0%BCscript",
        f"state={STATE}&error=%FF",
        f"state={STATE}&admin_consent=true&error=%00",
        f"state={STATE}&admin_consent=true&error=%E2%80%8B",
        f"state={STATE}&admin_consent=true&error_code=+",
        f"state={STATE}&admin_consent=true&x=é",
        f"state={STATE}&admin_consent=true&x=\ufffd",
        f"state={STATE}&admin_consent=true" + "&x" * 20,
    ],
)
def test_what_nylas_would_not_send_is_malformed(query):
    assert read_redirect(query) is Verdict.MALFORMED


def test_a_query_is_read_up_to_its_longest():
    head = f"state={STATE}&admin_consent=true&x="
    longest = head + "a" * (LONGEST_QUERY - len(head))
    assert verdict(read_redirect(longest)) is Verdict.GIVEN
    assert read_redirect(longest + "a") is Verdict.TOO_LONG


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"admin_consent": "true"}, Verdict.GIVEN),
        ({"admin_consent": "True"}, Verdict.GIVEN),
        ({"admin_consent": "TRUE", "tenant": GUID.upper(), "scope": "x"}, Verdict.GIVEN),
        ({"admin_consent": "true", "error": ""}, Verdict.GIVEN),
        ({"admin_consent": "True", "error": "access_denied"}, Verdict.REFUSED),
        ({"error": "access_denied"}, Verdict.REFUSED),
        ({"error_code": "45002"}, Verdict.REFUSED),
        ({"admin_consent": "true", "error_code": "45002"}, Verdict.REFUSED),
        ({}, Verdict.MALFORMED),
        ({"admin_consent": ""}, Verdict.MALFORMED),
        ({"admin_consent": "false"}, Verdict.MALFORMED),
        ({"admin_consent": "1"}, Verdict.MALFORMED),
        ({"admin_consent": "yes"}, Verdict.MALFORMED),
        ({"admin_consent": "true "}, Verdict.MALFORMED),
        ({"admin_consent": "\uff54\uff52\uff55\uff45"}, Verdict.MALFORMED),
        ({"error_description": "a description of nothing"}, Verdict.MALFORMED),
        ({"Admin_Consent": "true"}, Verdict.MALFORMED),
    ],
)
def test_an_error_counts_even_beside_a_consent(fields, said):
    assert verdict(read(**fields)) is said


@pytest.mark.parametrize(
    ("consent", "changed"),
    [
        (None, {}),
        (replace(CONSENT, state_hash=state_hash(STATE + "x")), {}),
        (CONSENT, {"key": state_key("nyk_2")}),
        (CONSENT, {"application": "app-2"}),
        (replace(CONSENT, application="app-2"), {"application": "app-2"}),
        (replace(CONSENT, tenant="globex"), {}),
        (replace(CONSENT, credential_id="cred-2"), {"credential_id": "cred-2"}),
        (replace(CONSENT, redirect_uri="https://elsewhere.example.com/"), {}),
        (replace(CONSENT, expires_at=CONSENT.expires_at + timedelta(days=365)), {}),
    ],
)
@pytest.mark.parametrize("status", [ConsentStatus.PENDING, ConsentStatus.GIVEN])
def test_a_state_that_we_did_not_make_is_unknown_even_if_it_is_in_the_ledger(
    consent, changed, status
):
    consent = consent and replace(consent, status=status)
    assert verdict(read(**YES), consent, **changed) is Verdict.UNKNOWN
    assert verdict(read(), consent, **changed) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("status", "fields", "said"),
    [
        (ConsentStatus.GIVEN, YES, Verdict.REPEATED),
        (ConsentStatus.GIVEN, NO, Verdict.USED),
        (ConsentStatus.LOST, YES, Verdict.REPEATED),
        (ConsentStatus.LOST, NO, Verdict.USED),
        (ConsentStatus.REFUSED, NO, Verdict.REPEATED),
        (ConsentStatus.REFUSED, {"error": "server_error"}, Verdict.REPEATED),
        (ConsentStatus.REFUSED, YES, Verdict.USED),
        (ConsentStatus.EXPIRED, YES, Verdict.EXPIRED),
        (ConsentStatus.EXPIRED, NO, Verdict.EXPIRED),
    ],
)
def test_a_state_is_answered_once(status, fields, said):
    consent = replace(CONSENT, status=status)
    assert verdict(read(**fields), consent) is said
    late = CONSENT.expires_at + timedelta(days=1)
    assert verdict(read(**fields), consent, now=late, credential_id=None) is said


@pytest.mark.parametrize(
    "fields",
    [
        {"error": "server_error"},
        {"error": "temporarily_unavailable", "admin_consent": "True"},
        {"error": "x", "error_description": "AADSTS90006: External service timed out."},
        {"error": "x", "error_description": "AADSTS50087: A transient error."},
    ],
)
def test_an_error_that_passes_is_no_answer(fields):
    assert verdict(read(**fields)) is Verdict.PASSING
    refused = replace(CONSENT, status=ConsentStatus.REFUSED)
    assert verdict(read(**fields), refused) is Verdict.REPEATED
    assert verdict(read(**fields), now=CONSENT.expires_at) is Verdict.EXPIRED


def test_a_link_is_valid_until_the_moment_it_expires():
    just = CONSENT.expires_at - timedelta(microseconds=1)
    assert verdict(read(**YES), now=just) is Verdict.GIVEN
    assert verdict(read(**YES), now=CONSENT.expires_at) is Verdict.EXPIRED
    assert verdict(read(**NO), now=CONSENT.expires_at) is Verdict.EXPIRED


@pytest.mark.parametrize("now_has", [None, "", "cred-2", "CRED-1"])
@pytest.mark.parametrize("fields", [YES, NO])
def test_an_answer_for_a_credential_that_is_no_longer_the_tenants_is_stale(now_has, fields):
    assert verdict(read(**fields), credential_id=now_has) is Verdict.STALE


@pytest.mark.parametrize(
    ("asked", "named", "said"),
    [
        (GUID, GUID, Verdict.GIVEN),
        (GUID, GUID.upper(), Verdict.GIVEN),
        (GUID, "", Verdict.GIVEN),
        (GUID, OTHER_GUID, Verdict.MISMATCHED),
        ("common", OTHER_GUID, Verdict.GIVEN),
        ("acme.example.com", OTHER_GUID, Verdict.GIVEN),
    ],
)
def test_an_answer_of_another_organisation_is_mismatched_if_ids_can_be_compared(asked, named, said):
    consent = replace(CONSENT, microsoft_tenant=asked)
    assert verdict(read(admin_consent="True", tenant=named), consent) is said


@given(st.dictionaries(st.sampled_from(["error", "error_code", "admin_consent"]), st.text()))
@example({"error": "\u200b\x00", "admin_consent": "True"})
def test_only_a_plain_yes_without_any_error_is_a_yes(fields):
    redirect = read(**fields)
    plain = fields.get("admin_consent", "").lower() == "true"
    plain = plain and not fields.get("error") and not fields.get("error_code")
    said = redirect if isinstance(redirect, Verdict) else verdict(redirect)
    assert (said is Verdict.GIVEN) == plain


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=3000))
def test_whatever_an_error_holds_is_bounded_and_on_one_printable_line(text):
    redirect = read(error="e" + text[:50], error_description=text, error_uri=text, tenant=text)
    if isinstance(redirect, Verdict):
        assert redirect is Verdict.TOO_LONG
        return
    error = redirect.error
    for read_as, limit in ((error.error_description, 1000), (error.error_uri, 500)):
        assert len(read_as) <= limit
        assert not set(read_as) & set("\x00\r\n\t\u2028\u202e\u200b")
    assert len(redirect.admin_tenant) <= 300


@given(st.text(max_size=300))
def test_no_query_raises(query):
    assert isinstance(read_redirect(query), Verdict)
    made = read_redirect(f"state={STATE}&error=x&{query}")
    assert isinstance(made, Verdict | Redirect)


def test_what_looks_like_a_secret_in_an_error_is_not_kept():
    said = "AADSTS7000215: Invalid client secret abc8Q%7Eof-the-app-that-is-asked-for."
    shown = read(error="invalid_client", error_description=said).error.error_description
    assert "of-the-app" not in shown
    assert shown.startswith("AADSTS7000215: Invalid client secret")


def test_a_redirect_does_not_show_its_state_in_its_repr():
    assert STATE not in repr(read(admin_consent="True"))
