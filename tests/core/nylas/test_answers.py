from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkgrants.errors import (
    ApiKeyRefused,
    KeyDoubted,
    RateLimited,
    Refused,
    RequestRefused,
    Throttle,
    Unavailable,
)
from bulkgrants.model import CredentialType, Provider
from bulkgrants.nylas.answers import Reply, error_for, retry_after, understand
from bulkgrants.nylas.calls import authenticate, create_credential, list_grants
from bulkgrants.refusals import UNKNOWN_REFUSAL, Refusal

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
MAILBOX = authenticate(Provider.GOOGLE, "ann@acme.example", "cred-1", "a")
LISTING = list_grants()


def clock():
    return NOW


def error(status, error=None, *, call=MAILBOX, headers=(), body=None, secrets=()):
    if body is None:
        body = b"" if error is None else json.dumps({"request_id": "r", "error": error}).encode()
    return error_for(
        call,
        Reply(status, dict(headers), body),
        clock=clock,
        connection="Airflow connection 'nylas_default'",
        secrets=secrets,
    )


def provider_error(status, said):
    return error(status, {"type": "x", "message": "Failed.", "provider_error": said})


def oauth(name, description):
    return {"error": name, "error_description": description}


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        (oauth("unauthorized_client", "Client is unauthorized …"), Refusal.DELEGATION_MISSING),
        (oauth("access_denied", "Requested client not authorized."), Refusal.DELEGATION_MISSING),
        (oauth("invalid_grant", "Invalid JWT: Failed audience check"), Refusal.SECRET_INVALID),
        (oauth("invalid_grant", "Invalid JWT Signature."), Refusal.SECRET_INVALID),
        (oauth("invalid_grant", "Invalid email or User ID"), Refusal.MAILBOX_UNKNOWN),
        (oauth("invalid_grant", "Not a valid email"), Refusal.MAILBOX_UNKNOWN),
        (oauth("invalid_grant", "AADSTS65001: not consented"), Refusal.CONSENT_MISSING),
        (oauth("unauthorized_client", "AADSTS700016: not in …"), Refusal.CONSENT_MISSING),
        (oauth("unauthorized_client", "AADSTS70001: disabled"), Refusal.CONSENT_MISSING),
        (oauth("unauthorized_client", "AADSTS700011: not in …"), Refusal.CONSENT_MISSING),
        (oauth("invalid_request", "AADSTS90002: no tenant"), Refusal.TENANT_MISCONFIGURED),
        (oauth("invalid_request", "AADSTS9001023: /common"), Refusal.TENANT_MISCONFIGURED),
        (oauth("invalid_request", "AADSTS50194: one tenant"), Refusal.TENANT_MISCONFIGURED),
        (oauth("invalid_client", "AADSTS7000215: wrong secret"), Refusal.SECRET_INVALID),
        (oauth("invalid_client", "AADSTS7000222: expired"), Refusal.SECRET_INVALID),
        (oauth("invalid_grant", "AADSTS50020: another tenant"), Refusal.MAILBOX_UNKNOWN),
        (oauth("invalid_grant", "Bad Request"), Refusal.OTHER),
        ({"error": {"code": "MailboxNotEnabledForRESTAPI"}}, Refusal.MAILBOX_UNKNOWN),
        (
            {"error": {"error": oauth("invalid_grant", "Not a valid email")}},
            Refusal.MAILBOX_UNKNOWN,
        ),
        ("invalid_grant: Invalid email or User ID", Refusal.MAILBOX_UNKNOWN),
        (["unauthorized_client"], Refusal.DELEGATION_MISSING),
        ({"error": "AADSTS650010"}, Refusal.OTHER),
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_providers_refusal_of_a_mailbox_is_classed_by_its_reason(said, refusal, status):
    raised = provider_error(status, said)
    assert isinstance(raised, Refused)
    assert (raised.known.refusal, raised.status) == (refusal, status)


@pytest.mark.parametrize(
    "said",
    [oauth("internal_failure", "Backend Error"), oauth("x", "AADSTS90006: try later")],
)
def test_a_passing_error_of_a_provider_may_be_retried(said):
    assert isinstance(provider_error(400, said), Unavailable)


def test_a_message_without_a_provider_error_is_matched_too():
    raised = error(400, {"type": "x", "message": "AADSTS65001: consent is missing"})
    assert isinstance(raised, Refused)
    assert raised.known.refusal is Refusal.CONSENT_MISSING


def test_a_blocked_grant_is_refused_as_blocked():
    raised = error(423, {"type": "api.resource_blocked", "message": "Blocked."})
    assert isinstance(raised, Refused)
    assert raised.known.refusal is Refusal.GRANT_BLOCKED


@pytest.mark.parametrize("call", [MAILBOX, LISTING])
@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, {"type": "unauthorized", "message": "Unauthorized"}),
        (401, {"type": "api.authentication_error", "message": "Bearer token invalid"}),
        (401, None),
        (400, {"type": "token.unauthorized_access", "message": "Invalid API key."}),
    ],
)
def test_a_refused_key_is_distinguished_from_a_refused_mailbox(call, status, said):
    raised = error(status, said, call=call)
    assert isinstance(raised, ApiKeyRefused)
    assert isinstance(raised, KeyDoubted) == (call is MAILBOX)
    assert "'nylas_default'" in str(raised)
    assert "region" in str(raised)
    if isinstance(raised, KeyDoubted):
        assert (raised.refusal.status, raised.refusal.known) == (status, UNKNOWN_REFUSAL)


def test_a_401_about_a_grant_is_not_about_the_key():
    raised = error(401, {"type": "grant.refresh_token_invalid", "message": "Gone."})
    assert isinstance(raised, Refused)


@pytest.mark.parametrize(
    ("said", "throttle"),
    [
        ({"type": "nylas_rate_limit_exceeded"}, Throttle.NYLAS),
        ({"type": "api.rate_limit_error"}, Throttle.NYLAS),
        ({"type": "rate_limit_error"}, Throttle.NYLAS),
        (None, Throttle.NYLAS),
        ({"type": "rate_limit_error", "provider_error": {"error": 429}}, Throttle.PROVIDER),
        ({"type": "rate_limit_error", "provider_error": "slow down"}, Throttle.PROVIDER),
        ({"type": "quota_exceeded_error", "message": "Activity limit"}, Throttle.PROVIDER),
    ],
)
def test_a_429_shows_whose_limit_was_reached(said, throttle):
    raised = error(429, said, headers={"retry-after": "7"})
    assert isinstance(raised, RateLimited)
    assert (raised.throttle, raised.after) == (throttle, 7.0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("2", 2.0),
        (" 1.5 ", 1.5),
        ("99999999", 3600.0),
        ("Fri, 20 Nov 2026 12:00:30 GMT", 30.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        ("Sat, 20 Nov 2027 12:00:00 GMT", 3600.0),
        ("-3", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("\u0661\u0662", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert retry_after({"retry-after": header}, clock) == seconds


def test_without_retry_after_the_other_side_asks_for_no_wait():
    assert retry_after({}, clock) is None


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
@pytest.mark.parametrize("call", [MAILBOX, LISTING])
def test_an_error_of_the_server_may_be_retried(status, call):
    raised = error(status, call=call, headers={"retry-after": "4"})
    assert isinstance(raised, Unavailable)
    assert (raised.status, raised.after) == (status, 4.0)


@pytest.mark.parametrize("status", [400, 403, 404, 409])
def test_a_refused_call_of_the_application_is_fatal(status):
    raised = error(status, {"type": "api.not_found_error", "message": "No."}, call=LISTING)
    assert isinstance(raised, RequestRefused)
    assert raised.status == status


@pytest.mark.parametrize("call", [MAILBOX, LISTING])
def test_a_redirect_is_not_followed_and_the_error_names_the_host(call):
    raised = error(302, call=call, headers={"location": "https://elsewhere.example"})
    assert isinstance(raised, RequestRefused)
    assert "elsewhere" not in str(raised)
    assert "'nylas_default'" in str(raised)


def test_the_message_has_the_call_the_status_the_words_and_the_request_id():
    raised = error(
        400,
        {"type": "t.y", "message": "Wrong.", "validation_errors": {"settings": "is odd"}},
        headers={"x-request-id": "1-abc"},
    )
    for part in ("POST /v3/connect/custom", "400", "t.y", "Wrong.", "settings: is odd", "1-abc"):
        assert part in str(raised)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>nginx</html>",
        b"[]",
        b'"text"',
        b'{"error": "invalid_request"}',
        b'{"error": {"type": 7, "message": ["x"], "provider_error": 8}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"error": {"message": "' + b"x" * 100_000 + b'"}}',
    ],
)
def test_a_hostile_or_foreign_body_is_classed_by_its_status(body):
    raised = error(400, body=body)
    assert isinstance(raised, Refused)
    assert len(str(raised)) < 300


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_half_a_character_or_a_byte_order_mark_hides_no_reason(mark):
    said = {"message": "cut \ud83d", "provider_error": "AADSTS65001: none \udc00"}
    raised = error(400, body=mark + json.dumps({"error": said}).encode())
    assert isinstance(raised, Refused)
    assert raised.known.refusal is Refusal.CONSENT_MISSING
    assert str(raised).encode()


def test_a_number_far_behind_in_a_long_answer_decides():
    raised = provider_error(400, {"trace": "at Module.Call; " * 2000, "why": "AADSTS65001: none"})
    assert raised.known.refusal is Refusal.CONSENT_MISSING


def test_what_the_other_side_wrote_is_bounded_and_printable():
    raised = error(400, {"type": "t", "message": "a\n\x1b[31m\u202e" + "x " * 5000})
    assert len(str(raised)) < 400
    assert str(raised).isprintable()


secret = st.text(
    alphabet=st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=8, max_size=40
).filter(lambda text: len(" ".join(text.split())) >= 8)


@given(
    secrets=st.lists(secret, min_size=1, max_size=3),
    parts=st.lists(st.text(max_size=20), min_size=4, max_size=4),
    place=st.sampled_from(["message", "type", "provider_error", "x-request-id"]),
    wrap=st.sampled_from([str, json.dumps, lambda text: "\x00".join(text.split(" "))]),
)
def test_no_secret_that_was_sent_comes_back(secrets, parts, place, wrap):
    data = {f"key{number}": value for number, value in enumerate(secrets)}
    call = create_credential(
        Provider.GOOGLE, "acme", CredentialType.SERVICE_ACCOUNT, {"nested": [data]}
    )
    echo = parts[0] + "".join(
        wrap(value) + part for value, part in zip(secrets, parts[1:], strict=False)
    )
    headers = {"x-request-id": echo} if place == "x-request-id" else {}
    said = {"type": "t", "message": "m"} | ({} if headers else {place: echo})
    text = str(error(400, said, call=call, headers=headers))
    ours = str(error(400, {"type": "t", "message": "m"}, call=call))
    for value in secrets:
        assert value not in text or value in ours
        # Nor as a reader sees it without control characters.
        assert " ".join(value.split()) not in text or " ".join(value.split()) in ours


def test_the_senders_own_secret_does_not_come_back():
    raised = error(401, {"message": "key s3cr3t-key is wrong"}, secrets=["s3cr3t-key"])
    assert "s3cr3t-key" not in str(raised)
    assert "[redacted] is wrong" in str(raised)


def test_a_successful_answer_is_parsed():
    reply = Reply(200, {}, b'{"data": [], "limit": 200}')
    page = understand(LISTING, reply, clock=clock, connection="Airflow connection 'nylas_default'")
    assert page.items == ()


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data": 7}', b'{"request_id": "cut'])
def test_a_call_whose_answer_cannot_be_read_may_be_repeated(body):
    with pytest.raises(Unavailable, match=r"cannot be read: .*request id r-1"):
        understand(
            LISTING,
            Reply(200, {"x-request-id": "r-1"}, body),
            clock=clock,
            connection="Airflow connection 'nylas_default'",
        )
