from __future__ import annotations

import pytest

from bulkgrants.credentials.connectors import ensure_connector
from bulkgrants.credentials.secrets import OAuthApp
from bulkgrants.errors import (
    ApiKeyRefused,
    RateLimited,
    Refused,
    RequestRefused,
    Throttle,
    Unavailable,
)
from bulkgrants.model import CredentialType, GrantStatus, Provider
from bulkgrants.nylas import calls
from bulkgrants.nylas.sending import PatientSender
from bulkgrants.refusals import Refusal

MAIL = "https://www.googleapis.com/auth/gmail.readonly"
CALENDAR = "https://www.googleapis.com/auth/calendar"


@pytest.fixture
def credential_id(sender, key_files):
    ensure_connector(sender, Provider.GOOGLE, OAuthApp("id", "oauth-secret"))
    call = calls.create_credential(
        Provider.GOOGLE, "acme", CredentialType.SERVICE_ACCOUNT, key_files[0]
    )
    return sender.send(call).credential_id


@pytest.fixture
def authenticate(credential_id):
    def call(email="ann@acme.example", scopes=MAIL):
        return calls.authenticate(Provider.GOOGLE, email, credential_id, scopes)

    return call


def test_a_grant_is_made_listed_and_renewed_under_one_id(sender, authenticate, credential_id):
    made = sender.send(authenticate())
    assert made.status is GrantStatus.VALID
    assert made.scopes == MAIL
    assert made.credential_id == credential_id
    listed = sender.send(calls.list_grants(email="ann@acme.example"))
    assert listed.items == (made,)
    assert listed.is_short
    again = sender.send(authenticate(scopes=f"{CALENDAR} {MAIL}"))
    assert again.grant_id == made.grant_id
    assert again.scopes == f"{CALENDAR} {MAIL}"


def test_the_older_shape_of_a_grant_reads_the_same(sender, authenticate, credential_id):
    sender.control.set_switches(grant_credential_id_top_level=False)
    assert sender.send(authenticate()).credential_id == credential_id


def test_pages_are_read_to_the_end_in_order_of_creation(sender):
    sender.control.seed(450, domain="acme.example")
    seen, offset = [], 0
    while True:
        page = sender.send(calls.list_grants(offset=offset))
        seen += page.items
        offset += len(page.items)
        if page.is_short:
            break
    assert len({grant.grant_id for grant in seen}) == len(seen) == 450
    assert [grant.created_at for grant in seen] == sorted(grant.created_at for grant in seen)


@pytest.mark.parametrize("status", ["400", "provider"])
@pytest.mark.parametrize(
    ("failure", "refusal"),
    [
        ("unknown_mailbox", Refusal.MAILBOX_UNKNOWN),
        ("not_a_valid_email", Refusal.MAILBOX_UNKNOWN),
        ("mailbox_not_enabled", Refusal.MAILBOX_UNKNOWN),
        ("invalid_jwt", Refusal.SECRET_INVALID),
        ("invalid_jwt_signature", Refusal.SECRET_INVALID),
        ("client_secret_invalid", Refusal.SECRET_INVALID),
        ("client_secret_expired", Refusal.SECRET_INVALID),
        ("unauthorized_client", Refusal.DELEGATION_MISSING),
        ("access_denied", Refusal.DELEGATION_MISSING),
        ("consent_missing", Refusal.CONSENT_MISSING),
        ("application_not_in_tenant", Refusal.CONSENT_MISSING),
        ("bad_refresh_token", Refusal.OTHER),
    ],
)
def test_each_refusal_of_a_provider_has_its_reason(sender, authenticate, status, failure, refusal):
    sender.control.set_switches(provider_failure_status=status)
    sender.control.add_fault("mailbox_error", error=failure, times=1)
    with pytest.raises(Refused) as raised:
        sender.send(authenticate())
    assert raised.value.known.refusal is refusal


def test_a_backend_error_of_the_provider_may_be_tried_again(sender, authenticate):
    sender.control.add_fault("mailbox_error", error="internal_failure", times=1)
    call = authenticate()
    grant = PatientSender(sender, pause=lambda _: None).send(call)
    assert grant.email == "ann@acme.example"


@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize(
    ("kind", "throttle"), [("nylas_429", Throttle.NYLAS), ("provider_429", Throttle.PROVIDER)]
)
def test_both_throttles_say_whose_they_are_and_how_long(sender, authenticate, kind, throttle, form):
    call = authenticate()
    sender.control.add_fault(kind, times=1, retry_after=20, retry_after_form=form)
    with pytest.raises(RateLimited) as raised:
        sender.send(call)
    assert raised.value.throttle is throttle
    assert raised.value.after == pytest.approx(20, abs=2.0)


@pytest.mark.parametrize(
    "rate_limit_type", ["nylas_rate_limit_exceeded", "api.rate_limit_error", "rate_limit_error"]
)
def test_nylas_own_throttle_is_known_in_every_spelling(sender, rate_limit_type):
    sender.control.set_switches(rate_limit_type=rate_limit_type)
    sender.control.add_fault("nylas_429", times=1)
    with pytest.raises(RateLimited) as raised:
        sender.send(calls.list_grants())
    assert (raised.value.throttle, raised.value.after) == (Throttle.NYLAS, None)


@pytest.mark.parametrize(
    "kind",
    [
        "empty_502",
        "server_error",
        "malformed_json",
        "cut_body",
        "reset_before_commit",
        "reset_after_commit",
    ],
)
def test_trouble_on_the_way_is_survived_and_makes_one_grant(sender, authenticate, kind):
    call = authenticate()
    sender.control.add_fault(kind, times=1)
    with pytest.raises(Unavailable):
        sender.send(call)
    grant = PatientSender(sender, pause=lambda _: None).send(call)
    assert sender.send(calls.list_grants()).items == (grant,)


@pytest.mark.parametrize("unauthorized_status", [400, 401])
def test_a_wrong_key_is_known_by_either_status(sender, unauthorized_status):
    sender.control.set_switches(unauthorized_status=unauthorized_status)
    sender.api_key = "wrong-api-key"
    with pytest.raises(ApiKeyRefused) as raised:
        sender.send(calls.list_grants())
    assert "wrong-api-key" not in str(raised.value)


def test_a_request_id_is_in_every_sentence(sender):
    with pytest.raises(RequestRefused, match=r"HTTP 404.*request id [0-9a-f-]{36}"):
        sender.send(calls.get_connector(Provider.MICROSOFT))
