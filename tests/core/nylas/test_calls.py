from __future__ import annotations

import pytest

from bulkgrants.model import CredentialType, Provider
from bulkgrants.nylas import calls
from bulkgrants.nylas.calls import Subject
from bulkgrants.nylas.wire import encode

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


def test_grants_are_filtered_by_mailbox_and_by_creation():
    query = calls.list_grants(email="ann@acme.example", since=17).query
    assert query["email"] == "ann@acme.example"
    assert query["since"] == "17"


def test_ids_cannot_leave_their_place_in_the_path():
    assert calls.get_grant("../x?y#z").path == "/v3/grants/..%2Fx%3Fy%23z"
    assert calls.update_credential(Provider.GOOGLE, "a/b", {}).path.endswith("/creds/a%2Fb")


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
    assert "hush" in (encode(call.body) or "")
    assert "hush" not in repr(call)
