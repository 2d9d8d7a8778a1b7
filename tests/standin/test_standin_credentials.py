"""/v3/connectors/{provider}/creds."""

import pytest

CREDS = "/v3/connectors/google/creds"


@pytest.fixture
def microsoft(api) -> str:
    settings = {"client_id": "id", "client_secret": "s"}
    body = {"provider": "microsoft", "settings": settings}
    assert api.post("/v3/connectors", json=body).status_code == 201
    return "/v3/connectors/microsoft/creds"


def _application(name: str, client_id: str = "a", secret: str = "b") -> dict[str, object]:
    data = {"client_id": client_id, "client_secret": secret}
    return {"name": name, "credential_type": "connector", "credential_data": data}


def test_a_credential_shows_everything_but_its_data(api, control, google, key_file):
    control.put("/clock", json={"frozen_at": 1_700_000_000})
    body = {"name": "acme", "credential_type": "serviceaccount", "credential_data": key_file}
    answer = api.post(CREDS, json=body)
    shown = answer.json()["data"]
    assert answer.status_code == 201
    assert shown == {
        "id": shown["id"],
        "name": "acme",
        "credential_type": "serviceaccount",
        "created_at": 1_700_000_000,
        "updated_at": 1_700_000_000,
    }
    every = [answer.text, api.get(CREDS).text, api.get(f"{CREDS}/{shown['id']}").text]
    assert not any("PRIVATE" in text or key_file["client_email"] in text for text in every)


def test_the_type_is_not_echoed_if_the_switch_says_so(api, control, credential_id):
    control.put("/switches", json={"credential_type_echoed": False})
    assert "credential_type" not in api.get(f"{CREDS}/{credential_id}").json()["data"]


@pytest.mark.parametrize("tenant", [{}, {"tenant": "common"}, {"tenant": "0000-1111"}])
@pytest.mark.parametrize("client", [{}, {"client_id": "c", "client_secret": "s"}])
def test_admin_consent_without_an_application_uses_that_of_the_connector(
    api, microsoft, tenant, client
):
    body = {"name": "m", "credential_type": "adminconsent", "credential_data": tenant | client}
    answer = api.post(microsoft, json=body)
    assert answer.status_code == 201
    assert answer.json()["data"]["credential_type"] == "adminconsent"


@pytest.mark.parametrize("left_out", ["client_id", "client_secret"])
def test_half_an_application_is_refused(api, microsoft, left_out):
    data = {"client_id": "c", "client_secret": "s"}
    del data[left_out]
    body = {"name": "m", "credential_type": "adminconsent", "credential_data": data}
    assert api.post(microsoft, json=body).status_code == 400


def test_the_same_data_return_the_same_credential_under_any_name(api, control, google):
    first = api.post(CREDS, json=_application("one")).json()["data"]
    again = api.post(CREDS, json=_application("two"))
    assert (again.status_code, again.json()["data"]) == (201, first)
    control.put("/switches", json={"credential_dedupe_status": 200})
    assert api.post(CREDS, json=_application("one")).status_code == 200
    control.put("/switches", json={"credential_dedupe": "name_and_data"})
    assert api.post(CREDS, json=_application("two")).json()["data"]["id"] != first["id"]


def test_without_deduplication_a_repeated_name_is_refused(api, control, google):
    control.put("/switches", json={"credential_dedupe": "off"})
    assert api.post(CREDS, json=_application("one")).status_code == 201
    assert api.post(CREDS, json=_application("one")).status_code == 400


def test_a_name_is_taken_once_per_connector_or_once_per_application(
    api, control, google, microsoft
):
    assert api.post(CREDS, json=_application("one")).status_code == 201
    assert api.post(CREDS, json=_application("one", "other")).status_code == 400
    assert api.post(microsoft, json=_application("one", "other")).status_code == 201
    control.put("/switches", json={"credential_name_scope": "application"})
    assert api.post(microsoft, json=_application("one", "third")).status_code == 400


def test_credentials_are_listed_newest_first_by_page(api, control, google):
    for number in range(12):
        control.put("/clock", json={"frozen_at": 2_000_000_000 + number})
        api.post(CREDS, json=_application(f"n{number:02}", f"c{number}"))
    first = api.get(CREDS).json()
    assert (first["limit"], first["offset"], len(first["data"])) == (10, 0, 10)
    assert first["data"][0]["name"] == "n11"
    rest = api.get(CREDS, params={"offset": 10}).json()["data"]
    assert [one["name"] for one in rest] == ["n01", "n00", "google connector"]
    ascending = {"order_by": "asc", "sort_by": "updated_at", "limit": 2, "offset": 1}
    named = [one["name"] for one in api.get(CREDS, params=ascending).json()["data"]]
    assert named == ["n00", "n01"]


def test_a_rotated_credential_keeps_its_id(api, control, credential_id, key_file):
    control.put("/clock", json={"frozen_at": 2_000_000_000})
    body = {"name": "renamed", "credential_data": key_file | {"private_key_id": "key-2"}}
    answer = api.patch(f"{CREDS}/{credential_id}", json=body)
    shown = answer.json()["data"]
    assert (answer.status_code, shown["id"]) == (200, credential_id)
    assert (shown["name"], shown["updated_at"]) == ("renamed", 2_000_000_000)


def test_rotation_needs_the_whole_data(api, credential_id, key_file):
    del key_file["client_email"]
    answer = api.patch(f"{CREDS}/{credential_id}", json={"credential_data": key_file})
    assert answer.status_code == 400


def test_rotation_of_admin_consent_needs_the_application(api, microsoft):
    body = {"name": "m", "credential_type": "adminconsent", "credential_data": {"tenant": "t"}}
    made = api.post(microsoft, json=body).json()["data"]["id"]
    answer = api.patch(f"{microsoft}/{made}", json={"credential_data": {"tenant": "u"}})
    assert answer.status_code == 400


def test_the_type_of_a_credential_cannot_be_changed(api, credential_id):
    answer = api.patch(f"{CREDS}/{credential_id}", json={"credential_type": "connector"})
    assert answer.status_code == 400


@pytest.mark.parametrize("switched", [(False, "invalid"), (True, "valid")])
def test_rotation_revives_broken_grants_only_if_the_switch_says_so(
    api, control, authenticate, key_file, switched
):
    revives, status = switched
    grant = authenticate("a@acme.example").json()["data"]
    grant_id, credential_id = grant["id"], grant["credential_id"]
    control.patch(f"/grants/{grant_id}", json={"grant_status": "invalid"})
    control.put("/switches", json={"credential_patch_revives": revives})
    body = {"credential_data": key_file | {"private_key_id": "key-2"}}
    api.patch(f"{CREDS}/{credential_id}", json=body)
    assert api.get(f"/v3/grants/{grant_id}").json()["data"]["grant_status"] == status


def test_the_active_credential_cannot_be_deleted(api, google):
    answer = api.delete(f"{CREDS}/{google['active_credential_id']}")
    assert answer.status_code == 400


def test_grants_stop_working_when_their_credential_is_deleted(api, authenticate, credential_id):
    grant_id = authenticate("a@acme.example").json()["data"]["id"]
    answer = api.delete(f"{CREDS}/{credential_id}")
    assert (answer.status_code, list(answer.json())) == (200, ["request_id"])
    assert api.get(f"{CREDS}/{credential_id}").status_code == 404
    assert api.get(f"/v3/grants/{grant_id}").json()["data"]["grant_status"] == "invalid"


def test_a_credential_is_known_to_its_own_connector_only(api, credential_id, microsoft):
    assert api.get(f"{microsoft}/{credential_id}").status_code == 404


def test_the_data_of_a_credential_are_not_in_its_representation(server, credential_id, pem):
    shown = repr(server.standin.world.credentials[credential_id])
    assert credential_id in shown
    assert pem not in shown
