"""GET /v3/connect/auth: which consent links are accepted, and what they ask for."""

import pytest

TENANT = "0b5f4f5e-0000-4000-8000-00000000000a"
AUTH = "/v3/connect/auth"
GRAPH = "https://graph.microsoft.com/"


def _error(answer) -> dict[str, str]:
    return answer.json()["error"]


def test_a_good_link_redirects_to_the_consent_screen_without_a_key(link):
    answer = link()
    assert (answer.status_code, answer.content) == (302, b"")
    assert answer.headers["location"].startswith("/_standin/microsoft/consent/")
    assert answer.headers["x-request-id"]
    assert answer.headers["x-fastly-id"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": None},
        {"client_id": "other"},
        {"redirect_uri": None},
        {"redirect_uri": "https://app.example/callback"},
        {"redirect_uri": "https://App.example/callback?from=nylas"},
        {"response_type": None},
        {"response_type": "token"},
        {"response_type": "code"},
        {"provider": None},
        {"provider": "google"},
        {"provider": "microsoft,google"},
        {"state": "s" * 257},
        {"credential_id": "none"},
        {"access_type": "sometimes"},
        {"prompt": "consent"},
        {"login_hint": "nobody"},
        {"code_challenge_method": "S512"},
        {"options": "all"},
        {"include_grant_scopes": "yes"},
        {"scope": "Mail.Read"},
        {"tenant": TENANT},
    ],
    ids=str,
)
def test_a_bad_link_gets_the_error_envelope_and_never_a_redirect(link, control, wrong):
    control.put("/switches", json={"unknown_query": "refuse"})
    answer = link(**wrong)
    assert answer.status_code == 400
    assert set(answer.json()) == {"request_id", "error"}
    assert _error(answer)["type"] == "api.invalid_query_params"
    assert "location" not in answer.headers


def test_a_parameter_given_twice_is_refused(link, browser):
    assert browser.get(f"{AUTH}?state=a&state=b").status_code == 400


def test_an_unregistered_redirect_is_refused_in_either_published_spelling(link, control):
    unknown = {"redirect_uri": "https://evil.example/"}
    assert "RedirectURI" in _error(link(**unknown))["message"]
    control.put("/switches", json={"redirect_refused_type": "grant.callback_uri_not_allowed"})
    assert _error(link(**unknown))["type"] == "grant.callback_uri_not_allowed"


def test_no_redirect_is_registered_at_first_and_only_valid_uris_can_be(control):
    assert control.get("/redirect-uris").json() == []
    good = ["http://127.0.0.1:8080/cb", "http://localhost/", "https://a.example/x?y=1"]
    assert control.put("/redirect-uris", json=good).json() == good
    for bad in ("http://a.example/", "/cb", "https://a.example/#x", "https://a.example/ x", "ftp:"):
        assert control.put("/redirect-uris", json=[bad]).status_code == 422
    assert control.get("/redirect-uris").json() == good


@pytest.mark.parametrize("kind", ["serviceaccount", "primary", "no connector"])
def test_a_link_needs_an_adminconsent_credential_of_the_connector(
    api, link, credential_id, kind, control
):
    named = credential_id
    if kind == "primary":
        named = api.get("/v3/connectors/microsoft").json()["data"]["active_credential_id"]
    if kind == "no connector":
        api.delete("/v3/connectors/microsoft")
    assert link(credential_id=named).status_code == 400


def test_a_link_without_a_credential_uses_the_active_one_if_the_switch_says_so(link, control):
    assert link(credential_id=None).status_code == 400
    control.put("/switches", json={"consent_without_credential": "active"})
    assert link(credential_id=None).status_code == 302
    assert control.get("/microsoft/requests").json()[0]["version"] == "v1"


def test_links_are_limited_only_by_switch_and_never_counted_as_mailboxes(link, control, api):
    made = link().status_code
    control.put("/limiter", json={"policy": "sliding", "per_second": 1})
    names = control.get("/microsoft/requests").json()
    opened = [link(credential_id=names[0]["credential_id"]).status_code for _ in range(3)]
    assert [made, *opened] == [302] * 4
    assert control.get("/stats").json()["custom"]["requests"] == 0
    control.put("/switches", json={"connect_auth_limited": True})
    opened = [link(credential_id=names[0]["credential_id"]).status_code for _ in range(3)]
    assert opened == [302, 429, 429]


def test_a_link_is_refused_if_the_plan_has_no_bulk_authentication(link, control):
    control.put("/switches", json={"bulk_enabled": False})
    assert link().status_code == 403


@pytest.mark.parametrize(
    ("switch", "consented"),
    [
        ("application", ["Mail.Read", "Odd.Scope"]),
        ("configured", ["Mail.Read"]),
        ("delegated", []),
    ],
)
def test_scopes_in_the_link_of_a_tenant_override_those_of_the_application(
    link, control, switch, consented
):
    control.put("/microsoft/apps", json={"azure-app": {"scopes": ["Mail.Read", "Mail.Send"]}})
    control.put("/switches", json={"consent_scope_override": switch})
    link({"tenant": TENANT}, scope=f"{GRAPH}Mail.Read Odd.Scope Mail.Read profile")
    control.post("/microsoft/requests/answer", json={})
    assert control.get("/microsoft/consents").json()[0]["scopes"] == consented


@pytest.mark.parametrize(
    ("omitted", "connectors", "consented"),
    [
        ("connector", [], []),
        ("connector", ["Mail.Read", f"{GRAPH}Odd.Scope"], ["Mail.Read", "Odd.Scope"]),
        ("application", ["Odd.Scope"], ["Mail.Read", "Mail.Send"]),
    ],
)
def test_without_a_scope_a_tenant_is_asked_for_what_the_switch_says(
    link, api, control, omitted, connectors, consented
):
    control.put("/microsoft/apps", json={"azure-app": {"scopes": ["Mail.Read", "Mail.Send"]}})
    control.put("/switches", json={"consent_scope_omitted": omitted})
    link({"tenant": TENANT})
    named = control.get("/microsoft/requests").json()[0]["credential_id"]
    api.patch("/v3/connectors/microsoft", json={"scope": connectors}).raise_for_status()
    link(credential_id=named)
    control.post("/microsoft/requests/answer", json={})
    assert control.get("/microsoft/consents").json()[0]["scopes"] == consented


def test_the_default_scope_asks_for_all_configured_scopes(link, control):
    link({"tenant": TENANT}, scope=f"{GRAPH}.default")
    control.post("/microsoft/requests/answer", json={})
    found = control.get("/microsoft/consents").json()[0]
    assert (found["version"], len(found["scopes"])) == ("v2", 4)
    assert link({"tenant": TENANT}, scope="a  b").status_code == 400


@pytest.mark.parametrize("data", [{}, {"tenant": "common"}, {"tenant": "Common"}])
def test_without_a_tenant_the_scopes_are_the_application_s(link, control, data):
    control.put("/microsoft/apps", json={"azure-app": {"scopes": ["Mail.Read"]}})
    control.put("/switches", json={"consent_scope_with_common": "ignore"})
    link(data, scope="Mail.Send")
    control.post("/microsoft/requests/answer", json={"tenant": TENANT})
    found = control.get("/microsoft/consents").json()[0]
    assert (found["version"], found["scopes"]) == ("v1", ["Mail.Read"])


def test_a_credential_without_any_application_makes_no_link(link, api, control):
    named = control.get("/microsoft/requests").json()
    assert named == []
    link()
    named = control.get("/microsoft/requests").json()[0]["credential_id"]
    api.patch("/v3/connectors/microsoft", json={"settings": {"tenant": "common"}})
    assert link(credential_id=named).status_code == 400
