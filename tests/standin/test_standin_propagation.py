"""Custom authentication at Microsoft: a consent, how it takes effect, and its withdrawal."""

import pytest

from nylas_standin.config import Config
from nylas_standin.microsoft.consent_screen import CONSENT_PATH

SCOPES = ["User.Read.All", "Mail.ReadWrite", "Mail.Send", "Calendars.ReadWrite"]
TENANT = "0b5f4f5e-0000-4000-8000-00000000000a"
APPS = "/microsoft/apps"
CONSENTS = "/microsoft/consents"


@pytest.fixture(autouse=True)
def microsoft(api, control):
    """A connector, a domain with a known tenant, and a frozen clock."""
    settings = {"client_id": "azure-app", "client_secret": "connector-secret"}
    api.post("/v3/connectors", json={"provider": "microsoft", "settings": settings})
    control.put("/microsoft/tenants", json={"domains": {"Contoso.example": TENANT.upper()}})
    control.put("/clock", json={"frozen_at": 1_000_000})


@pytest.fixture
def credential(api):
    def make(**data) -> str:
        body = {"name": f"m{data}", "credential_type": "adminconsent", "credential_data": data}
        return api.post("/v3/connectors/microsoft/creds", json=body).json()["data"]["id"]

    return make


@pytest.fixture
def custom(api, credential):
    """Custom authentication of a mailbox with an adminconsent credential."""

    def post(email="nyla@contoso.example", **data):
        named = data.pop("credential_id", None) or credential(**({"tenant": TENANT} | data))
        settings = {"credential_id": named, "email_address": email}
        body = {"provider": "microsoft", "settings": settings}
        return api.post("/v3/connect/custom", json=body)

    return post


def _consent(control, tenant=TENANT, client_id="azure-app", **more) -> dict[str, object]:
    answer = control.post(CONSENTS, json={"tenant": tenant, "client_id": client_id} | more)
    assert answer.status_code == 200
    return answer.json()


def _aadsts(answer) -> str:
    error = answer.json()["error"]
    assert error["type"] in {"grant.invalid_authentication", "api.not_found_error"}
    said = error["provider_error"]
    return str(said["error_codes"][0]) if "error_codes" in said else said["error"]["code"]


def test_a_microsoft_grant_has_the_documented_shape(control, custom, credential):
    _consent(control, given_at=0)
    named = credential(tenant=TENANT)
    answer = custom(credential_id=named)
    grant = answer.json()["data"]
    assert answer.status_code == 201
    assert grant == {
        "id": grant["id"],
        "grant_status": "valid",
        "provider": "microsoft",
        "scope": SCOPES,
        "email": "nyla@contoso.example",
        "settings": {
            "app_permission": True,
            "app_permission_scopes": SCOPES,
            "credential_id": named,
            "credential_type": "adminconsent",
        },
        "credential_id": named,
        "ip": "127.0.0.1",
        "user_agent": grant["user_agent"],
        "created_at": 1_000_000,
        "updated_at": 1_000_000,
        "provider_user_id": "nyla@contoso.example",
        "blocked": False,
    }


def test_the_whole_way_from_the_link_to_a_grant_with_all_scopes(
    server, api, browser, control, custom, credential
):
    control.put("/redirect-uris", json=["http://localhost/cb"])
    named = credential(tenant=TENANT)
    assert _aadsts(custom(credential_id=named)) == "65001"
    query = {
        "client_id": Config().client_id,
        "redirect_uri": "http://localhost/cb",
        "response_type": "adminconsent",
        "provider": "microsoft",
        "credential_id": named,
        "scope": "https://graph.microsoft.com/.default",
    }
    screen = browser.get("/v3/connect/auth", params=query).headers["location"]
    assert screen.startswith(CONSENT_PATH)
    browser.post(f"{screen}/approve", data={"tenant": "contoso.example"})
    seen = []
    for seconds in (0, 149, 1, 149, 1):
        control.put("/clock", json={"advance": seconds})
        answer = custom(credential_id=named)
        assert answer.status_code == 201
        seen.append((answer.json()["data"]["id"], answer.json()["data"]["scope"]))
    assert [scopes for _, scopes in seen] == [[], [], SCOPES[:2], SCOPES[:2], SCOPES]
    assert len({grant_id for grant_id, _ in seen}) == 1
    found = api.get(f"/v3/grants/{seen[0][0]}").json()["data"]
    assert found["settings"]["app_permission_scopes"] == SCOPES
    assert (found["created_at"], found["updated_at"]) == (1_000_000, 1_000_300)


def test_before_any_scope_is_in_force_microsoft_refuses_if_the_switch_says_so(control, custom):
    _consent(control)
    control.put("/switches", json={"propagation_none": "refuse"})
    assert _aadsts(custom()) == "65001"
    control.put("/clock", json={"advance": 150})
    assert custom().json()["data"]["scope"] == SCOPES[:2]


def test_the_propagation_can_be_set_and_kept_at_one_stage(control, custom):
    pace = {"delay": 100, "some_after": 10, "some": ["Mail.Send", "Other"]}
    assert control.put("/microsoft/propagation", json=pace).json() == pace | {"stage": None}
    assert _consent(control)["stage"] == "none"
    control.put("/clock", json={"advance": 10})
    assert custom().json()["data"]["scope"] == ["Mail.Send"]
    for stage, scopes in (("none", []), ("all", SCOPES), (None, ["Mail.Send"])):
        control.put("/microsoft/propagation", json={"stage": stage})
        assert custom().json()["data"]["scope"] == scopes
    control.put("/clock", json={"advance": 90})
    assert control.get(CONSENTS).json()[0]["visible"] == SCOPES
    assert control.get("/microsoft/propagation").json() == pace | {"stage": None}
    assert control.put("/microsoft/propagation", json={"delay": -1}).status_code == 422


def test_a_second_consent_adds_scopes_and_delays_only_the_new_ones(control, custom):
    _consent(control, scopes=["User.Read.All", "Mail.Read"])
    control.put("/clock", json={"advance": 300})
    again = _consent(control, scopes=["Mail.Read", "Mail.Send"])
    assert set(again["scopes"]) == {"User.Read.All", "Mail.Read", "Mail.Send"}
    assert set(custom().json()["data"]["scope"]) == {"User.Read.All", "Mail.Read"}
    control.put("/clock", json={"advance": 300})
    assert set(custom().json()["data"]["scope"]) == {"User.Read.All", "Mail.Read", "Mail.Send"}
    control.put("/switches", json={"consent_again": "replaces"})
    _consent(control, scopes=["Mail.Read"])
    assert custom().json()["data"]["scope"] == ["Mail.Read"]


@pytest.mark.parametrize(
    ("setup", "path", "body", "code"),
    [
        ({}, APPS, {"azure-app": {"secrets": {"connector-secret": "expired"}}}, "7000222"),
        ({}, APPS, {"azure-app": {"secrets": {"another": "valid"}}}, "7000215"),
        ({}, APPS, {"azure-app": {"enabled": False}}, "700016"),
        ({}, APPS, {"azure-app": {"home_tenant": "elsewhere"}}, "700016"),
        ({}, APPS, {"*": None}, "700016"),
        ({"tenant": "lost"}, "/microsoft/tenants", {"known": []}, "90002"),
        ({"tenant": "fabrikam"}, APPS, {}, "65001"),
        (
            {"tenant": "fabrikam"},
            "/switches",
            {"consent_missing_error": "application_not_in_tenant"},
            "700016",
        ),
        ({"tenant": "common"}, "/switches", {"common_tenant": "refuse"}, "9001023"),
        ({}, "/directory", {"contoso.example": []}, "MailboxNotEnabledForRESTAPI"),
        (
            {},
            "/microsoft/tenants",
            {"domains": {"contoso.example": "fabrikam"}},
            "MailboxNotEnabledForRESTAPI",
        ),
    ],
)
def test_microsoft_refuses_as_the_real_one_does(control, custom, setup, path, body, code):
    _consent(control, given_at=0)
    assert custom().status_code == 201
    assert control.put(path, json=body).status_code == 200
    answer = custom(**setup)
    assert _aadsts(answer) == code
    assert answer.status_code == (404 if code.startswith("Mailbox") else 400)


def test_without_a_scope_for_the_lookup_there_is_no_grant_if_the_switch_says_so(control, custom):
    control.put("/switches", json={"user_lookup_needs_scope": True})
    _consent(control, scopes=["Mail.Read"], given_at=0)
    assert _aadsts(custom()) == "Authorization_RequestDenied"
    _consent(control, scopes=["User.Read.All"], given_at=0)
    assert custom().status_code == 201


def test_a_credential_without_an_application_uses_that_of_the_connector(api, control, custom):
    own = {"client_id": "own-app", "client_secret": "own-secret"}
    _consent(control, client_id="own-app", given_at=0)
    assert _aadsts(custom()) == "65001"
    assert custom(**own).status_code == 201
    secrets = {"old": "expired", "own-secret": "valid"}
    shown = control.put(APPS, json={"own-app": {"secrets": secrets}}).json()["own-app"]
    assert sorted(shown["secrets"]) == ["expired", "valid"]
    assert custom(**own).status_code == 201
    api.patch("/v3/connectors/microsoft", json={"settings": {"client_id": "own-app"}})
    assert custom().json()["error"]["type"] == "api.invalid_request_error"
    settings = {"client_id": "own-app", "client_secret": "own-secret"}
    api.patch("/v3/connectors/microsoft", json={"settings": settings})
    assert custom().status_code == 201


def test_a_star_sets_the_applications_that_are_not_named(control, custom):
    shown = control.put(APPS, json={"*": {"scopes": ["Mail.Read"]}}).json()
    assert shown["*"]["scopes"] == ["Mail.Read"]
    _consent(control, given_at=0)
    assert custom().json()["data"]["scope"] == ["Mail.Read"]
    control.put(APPS, json={"*": None, "azure-app": {}})
    assert custom().status_code == 201
    assert control.put(APPS, json={"azure-app": None}).json() == {"*": None}
    assert _aadsts(custom()) == "700016"
    assert control.put(APPS, json={"azure-app": {"secret": "x"}}).status_code == 422


def test_a_common_credential_finds_the_tenant_of_each_mailbox(control, custom, credential):
    common = credential(tenant="common")
    _consent(control, given_at=0)
    _consent(control, tenant="Fabrikam.example", given_at=0)
    assert custom("a@contoso.example", credential_id=common).status_code == 201
    assert custom("a@fabrikam.example", credential_id=common).status_code == 201
    assert _aadsts(custom("a@stranger.example", credential_id=common)) == "65001"
    control.put("/switches", json={"common_tenant": "consent"})
    assert custom("a@stranger.example", credential_id=common).status_code == 201


@pytest.mark.parametrize(("switched", "status"), [(True, "invalid"), (False, "valid")])
def test_a_withdrawn_consent_ends_new_authentications_and_by_switch_the_grants(
    api, control, custom, credential, switched, status
):
    control.put("/switches", json={"consent_withdrawn_invalidates": switched})
    common = credential()
    other = "fabrikam.example"
    for tenant in (TENANT, other):
        _consent(control, tenant=tenant, given_at=0)
    ended = custom("a@contoso.example", credential_id=common).json()["data"]["id"]
    kept = custom(f"a@{other}", credential_id=common).json()["data"]["id"]
    query = {"tenant": "contoso.example"}
    answer = control.delete(CONSENTS, params=query).json()
    assert answer == {"withdrawn": 1, "grants_invalidated": int(switched)}
    assert _aadsts(custom("a@contoso.example", credential_id=common)) == "65001"
    assert api.get(f"/v3/grants/{ended}").json()["data"]["grant_status"] == status
    assert api.get(f"/v3/grants/{kept}").json()["data"]["grant_status"] == "valid"
    _consent(control, given_at=0)
    again = custom("a@contoso.example", credential_id=common).json()["data"]
    assert (again["id"], again["grant_status"]) == (ended, "valid")


@pytest.mark.parametrize(("switched", "status"), [(True, "invalid"), (False, "valid")])
def test_an_expired_secret_ends_the_grants_until_it_is_rotated(
    api, control, custom, credential, switched, status
):
    control.put("/switches", json={"secret_expired_invalidates": switched})
    _consent(control, given_at=0)
    own = {"tenant": TENANT, "client_id": "azure-app"}
    named = credential(**own, client_secret="old")
    grant_id = custom(credential_id=named).json()["data"]["id"]
    secrets = {"old": "expired", "new": "valid"}
    control.put(APPS, json={"azure-app": {"secrets": secrets}})
    assert api.get(f"/v3/grants/{grant_id}").json()["data"]["grant_status"] == status
    assert _aadsts(custom(credential_id=named)) == "7000222"
    body = {"credential_data": {**own, "client_secret": "new"}}
    api.patch(f"/v3/connectors/microsoft/creds/{named}", json=body)
    again = custom(credential_id=named).json()["data"]
    assert (again["id"], again["grant_status"]) == (grant_id, "valid")


def test_a_consent_can_name_its_application_by_a_credential(control, credential):
    given = control.post(CONSENTS, json={"tenant": TENANT, "credential_id": credential()}).json()
    assert (given["client_id"], given["scopes"], given["version"]) == ("azure-app", SCOPES, "v1")
    assert control.post(CONSENTS, json={"tenant": TENANT}).status_code == 422
    assert _consent(control, client_id="other", scopes=[])["scopes"] == []


def test_the_tenants_can_be_read_and_removed(control):
    answer = control.put("/microsoft/tenants", json={"known": ["A", "b"]}).json()
    assert answer == {"domains": {"contoso.example": TENANT}, "known": ["a", "b"]}
    forget = {"domains": {"contoso.example": None}, "known": None}
    assert control.put("/microsoft/tenants", json=forget).json() == {"domains": {}, "known": None}


def test_a_reset_forgets_consents_links_and_redirects(api, control):
    control.put("/redirect-uris", json=["http://localhost/"])
    _consent(control)
    control.post("/reset")
    for path in (CONSENTS, "/microsoft/requests", "/redirect-uris"):
        assert control.get(path).json() == []
    assert list(control.get(APPS).json()) == ["*"]
