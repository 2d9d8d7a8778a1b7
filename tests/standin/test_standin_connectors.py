"""/v3/connectors."""

import pytest


def test_a_connector_is_created_with_a_primary_credential_and_hides_its_secret(api, google):
    assert google == {
        "name": "google",
        "provider": "google",
        "settings": {"client_id": "id", "topic_name": "t"},
        "scope": ["https://www.googleapis.com/auth/gmail.readonly"],
        "active_credential_id": google["active_credential_id"],
    }
    creds = api.get("/v3/connectors/google/creds").json()["data"]
    assert [(one["id"], one["credential_type"]) for one in creds] == [
        (google["active_credential_id"], "connector")
    ]


def test_connectors_are_read_one_by_one_and_listed_with_their_paging(api, google):
    assert api.get("/v3/connectors/google").json()["data"] == google
    answer = api.get("/v3/connectors").json()
    assert answer["data"] == [google]
    assert (answer["limit"], answer["offset"]) == (10, 0)
    assert api.get("/v3/connectors", params={"offset": 1}).json()["data"] == []


def test_a_second_connector_of_a_provider_is_refused(api, google):
    body = {"provider": "google", "settings": {"client_id": "a", "client_secret": "b"}}
    assert api.post("/v3/connectors", json=body).status_code == 400


@pytest.mark.parametrize("provider", ["imap", "icloud", "virtual-calendar", "ews"])
def test_providers_without_an_application_need_no_settings(api, provider):
    answer = api.post("/v3/connectors", json={"provider": provider, "name": "mine"})
    assert answer.status_code == 201
    assert answer.json()["data"] == {
        "name": "mine",
        "provider": provider,
        "settings": {},
        "scope": [],
    }


def test_a_microsoft_connector_keeps_its_tenant(api):
    settings = {"client_id": "id", "client_secret": "s", "tenant": "common"}
    body = {"provider": "microsoft", "settings": settings, "scope": ["Mail.Read"]}
    shown = api.post("/v3/connectors", json=body).json()["data"]
    assert shown["settings"] == {"client_id": "id", "tenant": "common"}
    assert shown["scope"] == ["Mail.Read"]


def test_patched_settings_replace_all_old_ones(api, google):
    answer = api.patch("/v3/connectors/google", json={"settings": {"topic_name": "new"}})
    assert answer.json()["data"] == google | {"settings": {"topic_name": "new"}}


def test_incomplete_settings_are_refused_if_the_switch_says_so(api, control, google):
    control.put("/switches", json={"partial_settings": "refuse"})
    answer = api.patch("/v3/connectors/google", json={"settings": {"topic_name": "new"}})
    assert answer.status_code == 400


def test_the_active_credential_can_be_another_one_of_the_same_connector(api, credential_id):
    body = {"active_credential_id": credential_id, "name": "renamed", "scope": ["a"]}
    shown = api.patch("/v3/connectors/google", json=body).json()["data"]
    assert (shown["active_credential_id"], shown["name"]) == (credential_id, "renamed")
    answer = api.patch("/v3/connectors/google", json={"active_credential_id": "none-such"})
    assert answer.status_code == 400


def test_the_deletion_of_a_connector_deletes_its_credentials_and_ends_its_grants(
    api, control, authenticate
):
    grant_id = authenticate("a@acme.example").json()["data"]["id"]
    answer = api.delete("/v3/connectors/google")
    assert (answer.status_code, list(answer.json())) == (200, ["request_id"])
    assert api.get("/v3/connectors/google").status_code == 404
    assert api.get("/v3/connectors/google/creds").status_code == 404
    assert api.get(f"/v3/grants/{grant_id}").json()["data"]["grant_status"] == "invalid"
    assert api.delete(f"/v3/grants/{grant_id}").status_code == 200


def test_the_deletion_of_a_connector_deletes_its_grants_if_the_switch_says_so(
    api, control, authenticate
):
    authenticate("a@acme.example")
    control.put("/switches", json={"connector_delete_grants": "remove"})
    api.delete("/v3/connectors/google")
    assert api.get("/v3/grants").json()["data"] == []
