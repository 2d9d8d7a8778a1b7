"""Refusals: their causes, their envelope and their headers."""

import re

import httpx
import pytest

INVALID = "api.invalid_request_error"
QUERY = "api.invalid_query_params"
MISSING = "api.not_found_error"
CREDS = "/v3/connectors/google/creds"
CUSTOM = "/v3/connect/custom"
APPLICATION = {"client_id": "a", "client_secret": "b"}
KEY = {"private_key_id": "k", "private_key": "p", "client_email": "e"}


def _google(**changes) -> dict[str, object]:
    return {"provider": "google", "settings": APPLICATION} | changes


def _credential(**changes) -> dict[str, object]:
    made = {"name": "n", "credential_type": "serviceaccount", "credential_data": KEY}
    return made | changes


def _custom(**settings) -> dict[str, object]:
    return {"provider": "google", "settings": {"email_address": "a@x.example"} | settings}


REFUSED = [
    ("POST", "/v3/connectors", [], 400, INVALID),
    ("POST", "/v3/connectors", {}, 400, INVALID),
    ("POST", "/v3/connectors", {"provider": "aol"}, 400, INVALID),
    ("POST", "/v3/connectors", {"provider": 1}, 400, INVALID),
    ("POST", "/v3/connectors", {"provider": "yahoo"}, 400, INVALID),
    ("POST", "/v3/connectors", {"provider": "yahoo", "settings": {"client_id": "a"}}, 400, INVALID),
    ("POST", "/v3/connectors", {"provider": "yahoo", "settings": [1]}, 400, INVALID),
    ("POST", "/v3/connectors", {"provider": "imap", "client_id": "a"}, 400, INVALID),
    ("POST", "/v3/connectors", {"provider": "imap", "scope": "a"}, 400, INVALID),
    ("POST", "/v3/connectors", {"provider": "imap", "scope": [1]}, 400, INVALID),
    ("POST", "/v3/connectors", {"provider": "imap", "active_credential_id": "a"}, 400, INVALID),
    ("PATCH", "/v3/connectors/google", {"provider": "google"}, 400, INVALID),
    ("PATCH", "/v3/connectors/google", {"settings": {"tenant": "t"}}, 400, INVALID),
    ("PATCH", "/v3/connectors/google", {"settings": {"topic_name": 1}}, 400, INVALID),
    ("PATCH", "/v3/connectors/yahoo", {}, 404, MISSING),
    ("GET", "/v3/connectors/yahoo", None, 404, MISSING),
    ("DELETE", "/v3/connectors/yahoo", None, 404, MISSING),
    ("GET", "/v3/connectors?limit=x", None, 400, QUERY),
    ("GET", "/v3/connectors?offset=-1", None, 400, QUERY),
    ("GET", "/v3/connectors?colour=red", None, 400, QUERY),
    ("GET", "/v3/connectors/yahoo/creds", None, 404, MISSING),
    ("POST", "/v3/connectors/yahoo/creds", _credential(), 404, MISSING),
    ("POST", CREDS, _credential(name=""), 400, INVALID),
    ("POST", CREDS, _credential(extra=1), 400, INVALID),
    ("POST", CREDS, _credential(credential_type="password"), 400, INVALID),
    ("POST", CREDS, _credential(credential_type="adminconsent"), 400, INVALID),
    ("POST", CREDS, _credential(credential_type="connector"), 400, INVALID),
    ("POST", CREDS, _credential(credential_data="x"), 400, INVALID),
    ("POST", CREDS, _credential(credential_data={}), 400, INVALID),
    ("POST", CREDS, _credential(credential_data=KEY | {"private_key": 1}), 400, INVALID),
    ("POST", CREDS, _credential(credential_data=KEY | {"password": "x"}), 400, INVALID),
    ("POST", CREDS, _credential(credential_data=KEY | {"type": "user"}), 400, INVALID),
    ("GET", f"{CREDS}/none", None, 404, MISSING),
    ("PATCH", f"{CREDS}/none", {"name": "n"}, 404, MISSING),
    ("DELETE", f"{CREDS}/none", None, 404, MISSING),
    ("GET", f"{CREDS}?sort_by=name", None, 400, QUERY),
    ("GET", f"{CREDS}?order_by=up", None, 400, QUERY),
    ("POST", CUSTOM, {"provider": "google"}, 400, INVALID),
    ("POST", CUSTOM, _custom() | {"provider": "aol"}, 400, INVALID),
    ("POST", CUSTOM, _custom() | {"provider": "microsoft"}, 400, INVALID),
    ("POST", CUSTOM, _custom() | {"credential_id": "c"}, 400, INVALID),
    ("POST", CUSTOM, _custom(credential_id="none"), 400, INVALID),
    ("POST", CUSTOM, _custom(credential_id=7), 400, INVALID),
    ("POST", CUSTOM, _custom(), 400, INVALID),
    ("GET", "/v3/grants/none", None, 404, MISSING),
    ("PATCH", "/v3/grants/none", {}, 404, MISSING),
    ("DELETE", "/v3/grants/none", None, 404, MISSING),
    ("GET", "/v3/grants?limit=ten", None, 400, QUERY),
    ("GET", "/v3/grants?limit=1&limit=2", None, 400, QUERY),
    ("GET", "/v3/grants?since=yesterday", None, 400, QUERY),
    ("GET", "/v3/grants?sortBy=created_at", None, 400, QUERY),
    ("GET", "/v3/grants?grant_status=expired", None, 400, QUERY),
    ("GET", "/v3/grants?provider=aol", None, 400, QUERY),
    ("GET", "/v3/grants?connector_id=c", None, 400, QUERY),
    ("GET", "/v3/calendars", None, 404, MISSING),
    ("PUT", "/v3/grants/none", {}, 404, MISSING),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[0]} {case[1]}")
def test_a_bad_request_is_refused_in_the_error_envelope(api, control, google, case):
    control.put("/switches", json={"unknown_query": "refuse"})
    method, path, body, status, kind = case
    answer = api.request(method, path, json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    assert set(answer.json()) == {"request_id", "error"}
    assert set(answer.json()["error"]) == {"type", "message"}
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"email": "a@x.example"},
        {"email_address": "a@x.example", "scope": ["s"]},
        {"email_address": "a@x.example", "scopes": "s"},
        {"email_address": "nobody"},
        {"email_address": "a b@x.example"},
        {"email_address": ""},
        {"email_address": None},
        {"email_address": "a@x.example", "refresh_token": "t"},
    ],
)
def test_custom_authentication_is_exact_about_its_settings(api, credential_id, settings):
    body = {"provider": "google", "settings": {"credential_id": credential_id} | settings}
    answer = api.post(CUSTOM, json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, INVALID)


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", '{"a": NaN}', "\xff"])
def test_a_body_that_is_not_json_is_refused_and_not_repeated(api, text):
    answer = api.post("/v3/connectors", content=text.encode("latin-1"))
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "type": "api.invalid_request_payload",
        "message": "The body is not valid JSON.",
    }


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic test-key"},
        {"Authorization": "test-key"},
    ],
)
def test_a_request_without_the_key_is_unauthorized(server, control, headers):
    answer = httpx.get(f"{server.base_url}/v3/grants", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"] == {
        "type": "token.unauthorized_access",
        "code": "token.unauthorized_access",
        "message": "Bearer token invalid",
    }
    assert answer.headers["x-fastly-id"]


def test_the_form_of_an_unauthorized_answer_is_a_switch(server, control):
    switches = {"unauthorized_status": 400, "unauthorized_code": False, "unauthorized_type": "x"}
    control.put("/switches", json=switches)
    answer = httpx.get(f"{server.base_url}/v3/grants")
    assert answer.status_code == 400
    assert answer.json()["error"] == {"type": "x", "message": "Bearer token invalid"}


def test_errors_have_bare_types_if_the_switch_says_so(api, control):
    control.put("/switches", json={"error_type_prefix": ""})
    assert api.get("/v3/grants/none").json()["error"]["type"] == "not_found_error"


def test_misspelt_parameters_are_ignored_as_the_api_probably_does(api, google):
    """The official Node SDK sends `createdAt` as a value of sort_by."""
    for name in ("first", "second"):
        body = {
            "credential_type": "connector",
            "credential_data": APPLICATION | {"client_id": name},
        }
        assert api.post(CREDS, json=body | {"name": name}).status_code == 201
    plain = api.get(CREDS).json()["data"]
    for query in ("sort_by=createdAt", "sortBy=created_at", "sort_by=", "colour=red&colour=blue"):
        answer = api.get(f"{CREDS}?{query}")
        assert (answer.status_code, answer.json()["data"]) == (200, plain)
        assert api.get(f"/v3/grants?{query}").status_code == 200
    assert api.get("/v3/grants?colour=red&limit=3").json()["limit"] == 3


def test_a_connector_is_changed_by_put_as_by_patch(api, control, google):
    """The official Node SDK sends PUT."""
    answer = api.put("/v3/connectors/google", json={"name": "by-put"})
    assert (answer.status_code, answer.json()["data"]["name"]) == (200, "by-put")
    assert api.get("/v3/connectors/google").json()["data"]["name"] == "by-put"
    assert api.put("/v3/connectors/google", json={"provider": "google"}).status_code == 400
    control.put("/switches", json={"connector_put": "refuse"})
    assert api.put("/v3/connectors/google", json={"name": "n"}).status_code == 404


def test_unknown_fields_are_ignored_if_the_switch_says_so(api, control):
    control.put("/switches", json={"unknown_fields": "ignore"})
    body = {"provider": "google", "x": 1, "settings": APPLICATION | {"y": [2]}}
    answer = api.post("/v3/connectors", json=body)
    assert answer.status_code == 201
    assert answer.json()["data"]["settings"] == {"client_id": "a"}


def test_a_limit_out_of_range_is_an_error_if_the_switch_says_so(api, control):
    control.put("/switches", json={"limit_outside": "refuse"})
    assert api.get("/v3/grants?limit=201").status_code == 400
    assert api.get("/v3/grants?limit=200").status_code == 200


def test_a_charset_is_refused_if_the_switch_says_so(api, control):
    headers = {"Content-Type": "application/json; charset=utf-8"}
    body = b'{"provider": "imap"}'
    control.put("/switches", json={"charset": "refuse"})
    assert api.post("/v3/connectors", content=body, headers=headers).status_code == 400
    control.put("/switches", json={"charset": "accept"})
    assert api.post("/v3/connectors", content=body, headers=headers).status_code == 201


@pytest.mark.parametrize(
    ("style", "form"), [("uuid", r"[0-9a-f-]{36}"), ("numbered", r"\d{10}-[0-9a-f-]{36}")]
)
def test_every_answer_has_its_own_request_id(api, control, style, form):
    control.put("/switches", json={"request_id_style": style})
    seen = set()
    for _ in range(3):
        answer = api.get("/v3/grants")
        assert answer.headers["x-request-id"] == answer.json()["request_id"]
        seen.add(answer.json()["request_id"])
    assert len(seen) == 3
    assert all(re.fullmatch(form, one) for one in seen)


@pytest.mark.parametrize(
    ("switch", "request_"),
    [
        ("duplicate_connector_status", ("POST", "/v3/connectors", _google())),
        ("credential_not_found_status", ("GET", f"{CREDS}/none", None)),
        ("unusable_credential_status", ("POST", CUSTOM, _custom(credential_id="none"))),
        ("credential_in_use_status", ("DELETE", f"{CREDS}/{{active}}", None)),
    ],
)
def test_the_undocumented_status_of_a_refusal_is_a_switch(api, control, google, switch, request_):
    method, path, body = request_
    control.put("/switches", json={switch: 409})
    path = path.format(active=google["active_credential_id"])
    assert api.request(method, path, json=body).status_code == 409
