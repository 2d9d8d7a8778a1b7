from __future__ import annotations

import json

import pytest

from bulkgrants.model import CredentialType, GrantStatus, Provider, UnreadableGrant
from bulkgrants.nylas import calls
from bulkgrants.nylas.calls import Malformed, Subject

KEY = {"private_key": "hush", "client_email": "robot@p.example"}


def test_a_google_mailbox_is_authenticated_with_its_scopes():
    call = calls.authenticate(Provider.GOOGLE, "ann@acme.example", "cred-1", "a b")
    assert (call.method, call.path) == ("POST", "/v3/connect/custom")
    assert call.body == {
        "provider": "google",
        "settings": {
            "credential_id": "cred-1",
            "email_address": "ann@acme.example",
            "scopes": ["a", "b"],
        },
    }
    assert call.subject is Subject.MAILBOX
    assert call.replayable


def test_a_microsoft_mailbox_is_authenticated_without_scopes():
    call = calls.authenticate(Provider.MICROSOFT, "ann@acme.example", "cred-1", "")
    assert call.body == {
        "provider": "microsoft",
        "settings": {"credential_id": "cred-1", "email_address": "ann@acme.example"},
    }


def test_grants_are_listed_oldest_first_in_the_largest_pages():
    call = calls.list_grants(offset=400)
    assert (call.method, call.path) == ("GET", "/v3/grants")
    assert call.query == {
        "limit": "200",
        "offset": "400",
        "sort_by": "created_at",
        "order_by": "asc",
    }
    assert call.subject is Subject.APPLICATION


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"application_id": "app-1", "region": "us"}, "app-1"),
        ([{"application_id": "app-1"}], "app-1"),
        ([{"application_id": "app-1"}, {"application_id": "app-2"}], None),
        ([], None),
        ({"application_id": 7}, None),
        ({"id": "app-1"}, None),
        (None, None),
    ],
)
def test_the_keys_application_is_read_or_unknown(data, found):
    assert calls.get_application().parse(json.dumps({"data": data}).encode()) == found


def test_grants_are_filtered_by_mailbox():
    assert calls.list_grants(email="ann@acme.example").query["email"] == "ann@acme.example"


def test_ids_stay_within_their_part_of_the_path():
    path = calls.update_credential(Provider.GOOGLE, "../x?y#z", {}).path
    assert path == "/v3/connectors/google/creds/..%2Fx%3Fy%23z"


def test_a_credential_is_created_with_all_its_parts():
    call = calls.create_credential(Provider.GOOGLE, "acme", CredentialType.SERVICE_ACCOUNT, KEY)
    assert call.path == "/v3/connectors/google/creds"
    assert call.body == {
        "name": "acme",
        "credential_type": "serviceaccount",
        "credential_data": KEY,
    }


def test_a_rotation_replaces_the_secret_and_nothing_else():
    call = calls.update_credential(Provider.GOOGLE, "cred-1", KEY)
    assert (call.method, call.body) == ("PATCH", {"credential_data": KEY})


def test_only_making_a_connector_must_not_be_repeated_blindly():
    assert not calls.create_connector(Provider.GOOGLE, "id", "hush").replayable
    assert calls.create_credential(
        Provider.GOOGLE, "acme", CredentialType.SERVICE_ACCOUNT, KEY
    ).replayable


def test_a_microsoft_connector_names_its_tenant():
    body = calls.create_connector(Provider.MICROSOFT, "id", "hush", "common").body
    assert body["settings"] == {"client_id": "id", "client_secret": "hush", "tenant": "common"}


@pytest.mark.parametrize(
    "call",
    [
        calls.create_connector(Provider.GOOGLE, "id", "hush"),
        calls.create_credential(Provider.GOOGLE, "acme", CredentialType.SERVICE_ACCOUNT, KEY),
        calls.update_credential(Provider.GOOGLE, "cred-1", KEY),
    ],
)
def test_a_call_shows_no_secret(call):
    assert "hush" in (call.encoded or "")
    assert "hush" not in repr(call)


MAIL = "https://www.googleapis.com/auth/gmail.readonly"
GRANT = {
    "id": "g-1",
    "grant_status": "valid",
    "provider": "google",
    "email": "Ann@Acme.example",
    "scope": ["openid", "https://www.googleapis.com/auth/userinfo.email", MAIL],
    "settings": {"app_permission": True, "credential_id": "cred-s", "scopes": [MAIL]},
    "created_at": 1749053226,
    "updated_at": 1749053300,
    "blocked": False,
}


def read(call, answer):
    return call.parse(json.dumps(answer).encode())


def grant_of(data):
    call = calls.authenticate(Provider.GOOGLE, "ann@acme.example", "cred-1", "a")
    return read(call, {"data": data})


def test_a_grant_is_read():
    grant = grant_of(GRANT)
    assert grant.grant_id == "g-1"
    assert grant.email == "Ann@Acme.example"
    assert grant.status is GrantStatus.VALID
    assert grant.scopes == MAIL
    assert grant.credential_id == "cred-s"
    assert (grant.created_at, grant.updated_at) == (1749053226, 1749053300)
    assert grant.blocked is False


def test_the_credential_of_the_top_level_wins():
    assert grant_of({**GRANT, "credential_id": "cred-t"}).credential_id == "cred-t"


def test_without_settings_the_tokens_scopes_count():
    grant = grant_of({**GRANT, "settings": None, "scope": "b a openid"})
    assert grant.scopes == "a b"
    assert grant.credential_id is None


def test_scopes_of_wrong_types_are_ignored():
    settings = {"scopes": [MAIL, 7, None]}
    assert grant_of({**GRANT, "settings": settings}).scopes == MAIL


def test_half_a_character_in_one_grant_does_not_cost_the_page():
    odd = {**GRANT, "name": "\ud83d", "email": "b\ud83d@acme.example", "credential_id": "c\udc00"}
    page = read(calls.list_grants(), {"data": [GRANT, odd], "limit": 200})
    assert page.items[1].credential_id == GRANT["settings"]["credential_id"]
    assert len(page.items) == 2


def test_an_answer_may_begin_with_a_byte_order_mark():
    body = b"\xef\xbb\xbf" + json.dumps({"data": [GRANT], "limit": 200}).encode()
    assert len(calls.list_grants().parse(body).items) == 1


def test_unknown_keys_are_not_an_error():
    assert grant_of({**GRANT, "invented": {"later": 1}}) == grant_of(GRANT)


def test_a_grant_without_an_update_was_last_authenticated_when_made():
    assert grant_of({**GRANT, "updated_at": None}).updated_at == 1749053226


def test_a_grant_without_an_address_can_be_listed():
    assert grant_of({**GRANT, "email": None}).email == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", None),
        ("id", ""),
        ("id", 7),
        ("id", "x" * 101),
        ("id", "g\x00"),
        ("provider", None),
    ],
)
def test_a_grant_without_a_needed_field_is_an_error_that_names_the_key(key, value):
    with pytest.raises(Malformed, match=rf"`data\.{key}`"):
        grant_of({**GRANT, key: value})


ODD = [
    ("grant_status", None),
    ("grant_status", "pending"),
    ("grant_status", 7),
    ("id", None),
    ("id", "x" * 101),
    ("id", "g-\x00"),
    ("id", "\ud83d"),
    ("provider", None),
    ("provider", "p" * 21),
    ("provider", "goo\x00gle"),
]


@pytest.mark.parametrize(("key", "value"), ODD)
def test_an_item_that_is_not_a_readable_grant_does_not_cost_the_page(key, value):
    odd = {**GRANT, "id": "g-2", key: value}
    page = read(calls.list_grants(), {"data": [GRANT, odd, GRANT], "limit": 200})
    grant, found, again = page.items
    assert grant == again == grant_of(GRANT)
    assert isinstance(found, UnreadableGrant)
    assert (found.email, found.fault.startswith(f"`{key}`")) == ("Ann@Acme.example", True)
    assert found.grant_id == (None if key == "id" else "g-2")
    assert found.provider == (None if key == "provider" else "google")
    assert str(value) not in found.fault


@pytest.mark.parametrize("item", [None, 7, "g-1", [], {}])
def test_an_item_that_is_not_a_grant_at_all_does_not_cost_the_page(item):
    page = read(calls.list_grants(), {"data": [item, GRANT], "limit": 2})
    assert isinstance(page.items[0], UnreadableGrant)
    assert page.items[1] == grant_of(GRANT)
    assert not page.is_short


@pytest.mark.parametrize("value", [None, "2026-01-01", True, -1, 10**30, 1.5])
def test_a_time_that_cannot_be_read_is_not_known(value):
    grant = grant_of({**GRANT, "created_at": value, "updated_at": value})
    assert (grant.created_at, grant.updated_at) == (0, 0)
    assert grant.grant_id == "g-1"


def test_an_authentication_without_a_status_has_succeeded():
    assert grant_of({**GRANT, "grant_status": "invalid"}).status is GrantStatus.INVALID
    without = {name: value for name, value in GRANT.items() if name != "grant_status"}
    assert grant_of(without).status is GrantStatus.VALID


@pytest.mark.parametrize("status", ["pending", 7, [], {}])
def test_an_authentication_with_an_unknown_status_is_not_asked_for_again(status):
    assert grant_of({**GRANT, "grant_status": status}).status is GrantStatus.INVALID


def test_a_page_is_never_taken_to_be_larger_than_was_asked_for():
    """Otherwise a full page would look short."""
    page = read(calls.list_grants(limit=2), {"data": [GRANT, GRANT], "limit": 1000})
    assert not page.is_short


def test_one_grant_is_read_by_its_id():
    call = calls.get_grant("a/b?c")
    assert (call.method, call.path) == ("GET", "/v3/grants/a%2Fb%3Fc")
    assert read(call, {"data": GRANT}) == grant_of(GRANT)
    assert isinstance(read(call, {"data": {**GRANT, "provider": 1}}), UnreadableGrant)


def test_one_object_comes_in_an_envelope():
    call = calls.get_connector(Provider.GOOGLE)
    assert read(call, {"request_id": "r", "data": {"provider": "google"}}).provider == "google"
    with pytest.raises(Malformed, match="`data`"):
        read(call, {"request_id": "r"})


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_not_a_json_object_is_refused(body):
    with pytest.raises(Malformed):
        calls.list_grants().parse(body)


def test_a_page_shorter_than_the_limit_applied_is_the_last():
    call = calls.list_grants(limit=200)
    assert read(call, {"data": [GRANT], "limit": 200}).is_short
    assert not read(call, {"data": [GRANT] * 10, "limit": 10}).is_short
    assert read(call, {"data": [], "limit": 200}).items == ()


def test_the_requested_limit_counts_if_the_answer_does_not_have_one():
    call = calls.list_grants(limit=2)
    assert read(call, {"data": [GRANT]}).is_short
    assert not read(call, {"data": [GRANT, GRANT], "limit": 0}).is_short


@pytest.mark.parametrize("data", [None, {}, "text", [1], [None]])
def test_an_answer_that_is_not_a_page_is_refused(data):
    with pytest.raises(Malformed, match="`data"):
        read(calls.list_credentials(Provider.GOOGLE), {"data": data})


@pytest.mark.parametrize("data", [None, {}, "text", 7])
def test_an_answer_that_is_not_a_page_of_grants_is_refused(data):
    with pytest.raises(Malformed, match="`data"):
        read(calls.list_grants(), {"data": data})


def test_a_credentials_type_may_be_missing():
    page = read(calls.list_credentials(Provider.GOOGLE), {"data": [{"id": "c", "name": "acme"}]})
    assert page.items[0].credential_type is None


def test_a_connectors_active_credential_may_be_missing():
    call = calls.get_connector(Provider.GOOGLE)
    assert read(call, {"data": {"provider": "google"}}).active_credential_id is None
    known = read(call, {"data": {"provider": "google", "active_credential_id": "c"}})
    assert known.active_credential_id == "c"
