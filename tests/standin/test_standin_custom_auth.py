"""POST /v3/connect/custom."""

import pytest

READONLY = "https://www.googleapis.com/auth/gmail.readonly"
CALENDAR = "https://www.googleapis.com/auth/calendar"
IDENTITY = [
    "openid",
    "https://www.googleapis.com/auth/userinfo.email",
    "https://www.googleapis.com/auth/userinfo.profile",
]


def _error(answer) -> dict[str, object]:
    return answer.json()["error"]


def test_a_google_grant_has_the_documented_shape(control, authenticate, credential_id):
    control.put("/clock", json={"frozen_at": 1_749_053_226})
    answer = authenticate("leyah@acme.example")
    grant = answer.json()["data"]
    assert answer.status_code == 201
    assert grant == {
        "id": grant["id"],
        "grant_status": "valid",
        "provider": "google",
        "scope": [*IDENTITY, READONLY],
        "email": "leyah@acme.example",
        "settings": {
            "app_permission": True,
            "credential_id": credential_id,
            "credential_type": "serviceaccount",
            "scopes": [READONLY],
        },
        "credential_id": credential_id,
        "ip": "127.0.0.1",
        "user_agent": grant["user_agent"],
        "created_at": 1_749_053_226,
        "updated_at": 1_749_053_226,
        "provider_user_id": "leyah@acme.example",
        "blocked": False,
    }


def test_the_same_mailbox_is_authenticated_again_and_keeps_its_grant(control, authenticate):
    control.put("/clock", json={"frozen_at": 1_000})
    first = authenticate("a@acme.example").json()["data"]
    control.patch(f"/grants/{first['id']}", json={"grant_status": "invalid"})
    control.put("/clock", json={"advance": 60})
    answer = authenticate("A@Acme.example", (CALENDAR, "openid"))
    again = answer.json()["data"]
    assert answer.status_code == 201
    assert again["id"] == first["id"]
    assert (again["created_at"], again["updated_at"]) == (1_000, 1_060)
    assert again["grant_status"] == "valid"
    assert again["scope"] == [*IDENTITY, CALENDAR]
    assert again["settings"]["scopes"] == [CALENDAR, "openid"]
    control.put("/switches", json={"reauth_status": 200})
    assert authenticate("a@acme.example").status_code == 200
    assert authenticate("b@acme.example").status_code == 201


def test_another_credential_can_take_over_a_grant(api, authenticate, key_file):
    first = authenticate("a@acme.example").json()["data"]
    data = key_file | {"client_email": "second@acme.example"}
    body = {"name": "second", "credential_type": "serviceaccount", "credential_data": data}
    second = api.post("/v3/connectors/google/creds", json=body).json()["data"]["id"]
    moved = authenticate("a@acme.example", credential_id=second).json()["data"]
    assert moved["id"] == first["id"]
    assert moved["credential_id"] == moved["settings"]["credential_id"] == second


def test_after_a_deletion_the_mailbox_gets_another_grant(api, authenticate):
    first = authenticate("a@acme.example").json()["data"]["id"]
    assert api.delete(f"/v3/grants/{first}").status_code == 200
    assert authenticate("a@acme.example").json()["data"]["id"] != first


def test_addresses_that_differ_in_case_are_two_mailboxes_if_the_switch_says_so(
    control, authenticate
):
    control.put("/switches", json={"email_match": "exact"})
    ids = {authenticate(email).json()["data"]["id"] for email in ("a@x.example", "A@x.example")}
    assert len(ids) == 2


def test_addresses_are_kept_as_sent_or_in_lower_case(control, authenticate):
    assert authenticate("Ann@X.example").json()["data"]["email"] == "Ann@X.example"
    control.put("/switches", json={"email_stored": "lower"})
    assert authenticate("Bob@X.example").json()["data"]["email"] == "bob@x.example"


def test_scopes_are_taken_from_the_top_level_and_then_from_the_connector(api, credential_id):
    settings = {"credential_id": credential_id, "email_address": "a@acme.example"}
    body = {"provider": "google", "settings": settings}
    grant = api.post("/v3/connect/custom", json=body).json()["data"]
    assert grant["settings"]["scopes"] == [READONLY]
    grant = api.post("/v3/connect/custom", json=body | {"scope": [CALENDAR]}).json()["data"]
    assert grant["settings"]["scopes"] == [CALENDAR]


def test_the_active_credential_is_used_if_none_is_named(api, credential_id):
    api.patch("/v3/connectors/google", json={"active_credential_id": credential_id})
    body = {"provider": "google", "settings": {"email_address": "a@acme.example"}, "state": "s"}
    grant = api.post("/v3/connect/custom", json=body).json()["data"]
    assert (grant["credential_id"], grant["state"]) == (credential_id, "s")


def test_a_key_that_does_not_parse_fails_at_the_grant_and_not_at_the_credential(
    api, authenticate, key_file
):
    data = key_file | {"private_key": "-----BEGIN PRIVATE KEY-----\nno\n-----END PRIVATE KEY-----"}
    body = {"name": "bad", "credential_type": "serviceaccount", "credential_data": data}
    made = api.post("/v3/connectors/google/creds", json=body)
    assert made.status_code == 201
    answer = authenticate("a@acme.example", credential_id=made.json()["data"]["id"])
    assert answer.status_code == 400
    assert _error(answer)["provider_error"]["error"] == "invalid_grant"
    assert "Invalid JWT" in _error(answer)["provider_error"]["error_description"]


def test_a_revoked_key_is_refused_until_it_is_rotated(
    api, control, authenticate, credential_id, key_file
):
    control.put("/revoked-keys", json=["key-1"])
    assert authenticate("a@acme.example").status_code == 400
    body = {"credential_data": key_file | {"private_key_id": "key-2"}}
    api.patch(f"/v3/connectors/google/creds/{credential_id}", json=body)
    assert authenticate("a@acme.example").status_code == 201


def test_scopes_must_be_delegated_to_the_service_account(control, authenticate, key_file):
    control.put("/delegations", json={key_file["client_email"]: [READONLY]})
    assert authenticate("a@acme.example").status_code == 201
    answer = authenticate("a@acme.example", (READONLY, CALENDAR))
    assert answer.status_code == 400
    assert _error(answer)["type"] == "grant.invalid_authentication"
    assert _error(answer)["provider_error"]["error"] == "unauthorized_client"
    control.put("/switches", json={"provider_failure_status": "provider"})
    assert authenticate("a@acme.example", (CALENDAR,)).status_code == 401
    control.put("/delegations", json={key_file["client_email"]: None})
    assert authenticate("a@acme.example", (CALENDAR,)).status_code == 201


def test_identity_scopes_must_be_delegated_too_if_the_switch_says_so(
    control, authenticate, key_file
):
    control.put("/switches", json={"identity_scopes_need_delegation": True})
    control.put("/delegations", json={key_file["client_email"]: [READONLY]})
    assert authenticate("a@acme.example").status_code == 400
    control.put("/delegations", json={key_file["client_email"]: [READONLY, *IDENTITY]})
    assert authenticate("a@acme.example").status_code == 201


def test_a_mailbox_must_exist_if_its_domain_has_a_directory(control, authenticate):
    control.put("/directory", json={"acme.example": ["Here@acme.example"]})
    assert authenticate("HERE@Acme.example").status_code == 201
    answer = authenticate("gone@acme.example")
    assert answer.status_code == 400
    assert _error(answer)["provider_error"] == {
        "error": "invalid_grant",
        "error_description": "Invalid email or User ID",
    }
    assert authenticate("anyone@else.example").status_code == 201
    control.put("/directory", json={"acme.example": None})
    assert authenticate("gone@acme.example").status_code == 201


@pytest.mark.parametrize(("switched", "status"), [(False, "valid"), (True, "invalid")])
def test_a_failed_authentication_ends_a_valid_grant_only_if_the_switch_says_so(
    api, control, authenticate, switched, status
):
    grant_id = authenticate("a@acme.example").json()["data"]["id"]
    control.put("/switches", json={"failed_reauth_invalidates": switched})
    control.put("/directory", json={"acme.example": []})
    assert authenticate("a@acme.example").status_code == 400
    assert api.get(f"/v3/grants/{grant_id}").json()["data"]["grant_status"] == status


def test_microsoft_refuses_until_an_admin_has_consented(api):
    settings = {"client_id": "id", "client_secret": "s", "tenant": "common"}
    api.post("/v3/connectors", json={"provider": "microsoft", "settings": settings})
    body = {"name": "m", "credential_type": "adminconsent", "credential_data": {"tenant": "t"}}
    made = api.post("/v3/connectors/microsoft/creds", json=body).json()["data"]["id"]
    settings = {"credential_id": made, "email_address": "a@fabrikam.example"}
    answer = api.post("/v3/connect/custom", json={"provider": "microsoft", "settings": settings})
    assert answer.status_code == 400
    assert "AADSTS65001" in _error(answer)["provider_error"]["error_description"]


def test_a_refresh_token_makes_a_grant_with_a_provider_application(api, control, google):
    owner = {"email": "a@acme.example", "scopes": [*IDENTITY, READONLY]}
    assert control.put("/refresh-tokens", json={"tok": owner}).json() == {"tokens": 1}
    body = {"provider": "google", "settings": {"refresh_token": "tok"}}
    answer = api.post("/v3/connect/custom", json=body)
    grant = answer.json()["data"]
    assert (answer.status_code, grant["email"]) == (201, "a@acme.example")
    assert grant["credential_id"] == google["active_credential_id"]
    assert "tok" not in grant["settings"].values()
    control.put("/refresh-tokens", json={"tok": None})
    answer = api.post("/v3/connect/custom", json=body)
    assert answer.status_code == 400
    assert _error(answer)["provider_error"]["error"] == "invalid_grant"


def test_a_refresh_token_must_identify_its_owner(api, control, google):
    control.put("/refresh-tokens", json={"tok": {"email": "a@x.example", "scopes": [READONLY]}})
    body = {"provider": "google", "settings": {"refresh_token": "tok"}}
    answer = api.post("/v3/connect/custom", json=body)
    assert (answer.status_code, _error(answer)["message"]) == (400, "Authentication failed")


def test_one_address_may_have_grants_with_two_providers_unless_switched(api, control, authenticate):
    control.post("/seed", json={"grants": [{"email": "a@x.example", "provider": "microsoft"}]})
    control.put("/switches", json={"other_provider": "refuse"})
    assert authenticate("a@x.example").status_code == 400
    control.put("/switches", json={"other_provider": "separate"})
    assert authenticate("a@x.example").status_code == 201
    found = api.get("/v3/grants", params={"email": "a@x.example"}).json()["data"]
    assert {one["provider"] for one in found} == {"google", "microsoft"}


def test_bulk_authentication_can_be_missing_from_the_plan(control, authenticate):
    control.put("/switches", json={"bulk_enabled": False})
    assert authenticate("a@acme.example").status_code == 403


def test_the_top_level_credential_id_can_be_missing(control, authenticate):
    control.put("/switches", json={"grant_credential_id_top_level": False})
    grant = authenticate("a@acme.example").json()["data"]
    assert "credential_id" not in grant
    assert grant["settings"]["credential_id"]
