"""The official Python SDK, unchanged, against the stand-in."""

import httpx
import pytest
from nylas import Client
from nylas.models.errors import NylasApiError

READONLY = "https://www.googleapis.com/auth/gmail.readonly"


@pytest.fixture
def sdk(server, control):
    return Client(api_key=server.api_key, api_uri=server.base_url)


@pytest.fixture
def sdk_credential(sdk, key_file) -> str:
    settings = {"client_id": "id", "client_secret": "s"}
    sdk.connectors.create({"provider": "google", "settings": settings, "scope": [READONLY]})
    body = {"name": "acme", "credential_type": "serviceaccount", "credential_data": key_file}
    return sdk.connectors.credentials.create("google", body).data.id


def _authenticate(sdk, credential_id: str, email: str):
    settings = {"credential_id": credential_id, "email_address": email, "scopes": [READONLY]}
    return sdk.auth.custom_authentication({"provider": "google", "settings": settings})


def test_connectors(sdk):
    settings = {"client_id": "id", "client_secret": "s"}
    made = sdk.connectors.create({"provider": "google", "settings": settings, "scope": ["a"]})
    assert (made.data.provider, made.data.scope) == ("google", ["a"])
    assert sdk.connectors.find("google").data == made.data
    assert sdk.connectors.list({"limit": 5}).data == [made.data]
    changed = sdk.connectors.update("google", {"scope": ["b"]})
    assert changed.data.scope == ["b"]
    assert sdk.connectors.destroy("google").request_id
    assert sdk.connectors.list().data == []


def test_the_application_of_the_key(sdk, server):
    found = sdk.applications.info().data
    assert found.application_id == server.standin.config.client_id


def test_credentials(sdk, sdk_credential):
    creds = sdk.connectors.credentials
    found = creds.find("google", sdk_credential)
    assert (found.data.name, found.data.credential_type) == ("acme", "serviceaccount")
    params = {"limit": 1, "order_by": "asc", "sort_by": "created_at", "offset": 1}
    assert [one.id for one in creds.list("google", params).data] == [sdk_credential]
    assert creds.update("google", sdk_credential, {"name": "new"}).data.name == "new"
    assert creds.destroy("google", sdk_credential).request_id
    with pytest.raises(NylasApiError) as caught:
        creds.find("google", sdk_credential)
    assert caught.value.status_code == 404


def test_custom_authentication_and_grants(sdk, sdk_credential):
    made = _authenticate(sdk, sdk_credential, "a@x.example").data
    assert (made.grant_status, made.credential_id) == ("valid", sdk_credential)
    assert _authenticate(sdk, sdk_credential, "a@x.example").data.id == made.id
    assert sdk.grants.find(made.id).data == made
    params = {"limit": 200, "orderBy": "asc", "grantStatus": "valid", "email": "a@x.example"}
    listed = sdk.grants.list(params)
    assert [one.id for one in listed.data] == [made.id]
    assert listed.headers["x-fastly-id"]
    assert sdk.grants.update(made.id, {"scope": ["other"]}).data.scope == ["other"]
    assert sdk.grants.destroy(made.id).request_id
    assert sdk.grants.list().data == []


def test_a_refusal_of_a_provider_reaches_the_caller(sdk, control, sdk_credential):
    control.put("/directory", json={"x.example": []})
    with pytest.raises(NylasApiError) as caught:
        _authenticate(sdk, sdk_credential, "gone@x.example")
    assert caught.value.status_code == 400
    assert caught.value.provider_error["error_description"] == "Invalid email or User ID"
    assert caught.value.request_id == caught.value.headers["x-request-id"]


def test_the_limit_reaches_the_caller(sdk, control):
    control.post("/faults", json={"kind": "nylas_429"})
    with pytest.raises(NylasApiError) as caught:
        sdk.grants.list()
    assert (caught.value.status_code, caught.value.type) == (429, "nylas_rate_limit_exceeded")


def test_a_wrong_key_reaches_the_caller(server, control):
    stranger = Client(api_key="wrong", api_uri=server.base_url)
    with pytest.raises(NylasApiError) as caught:
        stranger.grants.list()
    assert caught.value.status_code == 401


def test_the_link_that_the_sdk_builds_for_admin_consent_is_accepted(sdk, server, control):
    redirect = "http://localhost:5000/callback?x=1"
    control.put("/redirect-uris", json=[redirect])
    settings = {"client_id": "azure-app", "client_secret": "s"}
    sdk.connectors.create({"provider": "microsoft", "settings": settings, "scope": ["Mail.Read"]})
    body = {
        "name": "m",
        "credential_type": "adminconsent",
        "credential_data": {"tenant": "contoso.example"},
    }
    credential_id = sdk.connectors.credentials.create("microsoft", body).data.id
    state = "s/1 &=" + "é" * 250
    url = sdk.auth.url_for_admin_consent(
        {
            "client_id": server.standin.config.client_id,
            "redirect_uri": redirect,
            "credential_id": credential_id,
            "state": state,
            "scope": ["https://graph.microsoft.com/Mail.Read", "User.Read.All"],
            "login_hint": "admin@contoso.example",
        }
    )
    assert httpx.get(url).status_code == 302
    answer = control.post("/microsoft/requests/answer", json={"state": state}).json()
    assert answer["location"].startswith(f"{redirect}&admin_consent=true&state=")
    control.put("/clock", json={"advance": 300})
    settings = {"credential_id": credential_id, "email_address": "a@contoso.example"}
    made = sdk.auth.custom_authentication({"provider": "microsoft", "settings": settings}).data
    assert (made.grant_status, made.scope) == ("valid", ["Mail.Read", "User.Read.All"])
    assert made.settings["app_permission_scopes"] == made.scope
