from __future__ import annotations

import pytest

from bulkgrants.model import GrantStatus, Provider
from bulkgrants.nylas import replies
from bulkgrants.nylas.calls import get_grant, list_credentials, list_grants
from bulkgrants.nylas.replies import Malformed

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


def test_a_grant_is_read():
    grant = replies.grant(GRANT)
    assert grant.grant_id == "g-1"
    assert grant.email == "Ann@Acme.example"
    assert grant.status is GrantStatus.VALID
    assert grant.scopes == MAIL
    assert grant.credential_id == "cred-s"
    assert (grant.created_at, grant.updated_at) == (1749053226, 1749053300)
    assert grant.blocked is False


def test_the_credential_of_the_top_level_wins():
    assert replies.grant({**GRANT, "credential_id": "cred-t"}).credential_id == "cred-t"


def test_without_settings_the_tokens_scopes_count():
    grant = replies.grant({**GRANT, "settings": None, "scope": "b a openid"})
    assert grant.scopes == "a b"
    assert grant.credential_id is None


def test_scopes_of_odd_types_are_passed_over():
    settings = {"scopes": [MAIL, 7, None]}
    assert replies.grant({**GRANT, "settings": settings}).scopes == MAIL


def test_unknown_keys_are_no_error():
    assert replies.grant({**GRANT, "invented": {"later": 1}}) == replies.grant(GRANT)


def test_a_grant_without_an_update_was_last_authenticated_when_made():
    assert replies.grant({**GRANT, "updated_at": None}).updated_at == 1749053226


def test_a_grant_without_an_address_can_be_listed():
    assert replies.grant({**GRANT, "email": None}).email == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", None),
        ("id", ""),
        ("id", 7),
        ("provider", None),
        ("grant_status", None),
        ("grant_status", "pending"),
        ("created_at", "2026-01-01"),
        ("created_at", True),
        ("updated_at", "yesterday"),
    ],
)
def test_a_grant_that_lacks_what_is_needed_names_the_key(key, value):
    with pytest.raises(Malformed, match=f"`{key}`"):
        replies.grant({**GRANT, key: value})


def test_one_object_comes_in_an_envelope():
    parse = get_grant("g-1").parse
    assert parse({"request_id": "r", "data": GRANT}).grant_id == "g-1"
    with pytest.raises(Malformed, match="`data`"):
        parse({"request_id": "r"})


def test_a_page_shorter_than_the_limit_applied_is_the_last():
    parse = list_grants(limit=200).parse
    assert parse({"data": [GRANT], "limit": 200}).is_last
    assert not parse({"data": [GRANT] * 10, "limit": 10}).is_last
    assert parse({"data": [], "limit": 200}).items == ()


def test_where_no_limit_is_echoed_the_one_asked_for_counts():
    parse = list_grants(limit=2).parse
    assert parse({"data": [GRANT]}).is_last
    assert not parse({"data": [GRANT, GRANT], "limit": 0}).is_last


@pytest.mark.parametrize("data", [None, {}, "text", [1], [None]])
def test_a_page_that_is_none_is_refused(data):
    with pytest.raises(Malformed, match="`data"):
        list_grants().parse({"data": data})


def test_a_credentials_type_may_be_missing():
    page = list_credentials(Provider.GOOGLE).parse({"data": [{"id": "c", "name": "acme"}]})
    assert page.items[0].credential_type is None


def test_a_connectors_active_credential_may_be_missing():
    assert replies.connector({"provider": "google"}).active_credential_id is None
    known = replies.connector({"provider": "google", "active_credential_id": "c"})
    assert known.active_credential_id == "c"
