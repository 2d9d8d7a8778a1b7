"""The consent screen, its answers with and without a browser, and the redirects that end it."""

from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest

from nylas_standin.microsoft.consent_answers import CONSENT_ERRORS

REDIRECT = "https://app.example/callback?from=nylas"
TENANT = "0b5f4f5e-0000-4000-8000-00000000000a"
GRAPH = "https://graph.microsoft.com/"


class _Forms(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.actions, self.fields = set(), [], {}

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.add(tag)
        if tag == "form":
            assert found["method"] == "post"
            self.actions.append(found["action"])
        if tag == "input":
            self.fields[found["name"]] = found["value"]


def _forms(page) -> _Forms:
    forms = _Forms()
    forms.feed(page.text)
    return forms


def _said(location: str) -> dict[str, str]:
    parts = urlsplit(location)
    assert location.startswith(f"{REDIRECT}&")
    said = {k: v[0] for k, v in parse_qs(parts.query, strict_parsing=True).items()}
    assert said.pop("from") == "nylas"
    return said


def test_an_admin_accepts_in_a_browser_and_is_redirected(link, browser, control):
    state = "a b&c=d/é+" + "x" * 246
    asked = link({"tenant": TENANT}, state=state, scope=f"{GRAPH}.default")
    page = browser.get(asked.headers["location"])
    forms = _forms(page)
    assert page.status_code == 200
    assert "script" not in forms.tags
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert forms.fields == {"tenant": TENANT}
    for shown in ("azure-app", TENANT, "User.Read.All", "Calendars.ReadWrite", "v2"):
        assert shown in page.text
    answer = browser.post(forms.actions[0], data=forms.fields)
    assert answer.status_code == 302
    assert _said(answer.headers["location"]) == {"admin_consent": "true", "state": state}
    assert [one["tenant"] for one in control.get("/microsoft/consents").json()] == [TENANT]


def test_an_admin_cancels_in_a_browser_and_is_redirected_with_an_error(link, browser, control):
    page = browser.get(link().headers["location"])
    answer = browser.post(_forms(page).actions[1])
    said = _said(answer.headers["location"])
    assert answer.status_code == 302
    assert set(said) == {"error", "error_description", "error_uri", "state"}
    assert (said["error"], said["state"]) == ("access_denied", "s-1")
    assert said["error_description"].startswith("AADSTS65004")
    assert control.get("/microsoft/consents").json() == []


def test_a_request_is_answered_once(link, browser):
    location = link().headers["location"]
    assert browser.post(f"{location}/decline").status_code == 302
    assert browser.post(f"{location}/approve", data={"tenant": "t"}).status_code == 410
    assert browser.post(f"{location}/decline").status_code == 410
    assert browser.get(location).status_code == 410
    for path in ("", "/approve", "/decline"):
        method = "POST" if path else "GET"
        gone = browser.request(method, f"/_standin/microsoft/consent/none{path}")
        assert gone.status_code == 404


def test_the_screen_asks_for_the_organisation_if_it_is_unknown(link, browser, control):
    location = link(login_hint=None).headers["location"]
    assert _forms(browser.get(location)).fields == {"tenant": ""}
    empty = browser.post(f"{location}/approve", data={"tenant": " "})
    assert (empty.status_code, "Which organisation" in empty.text) == (400, True)
    hinted = link(login_hint="admin@Contoso.example").headers["location"]
    assert _forms(browser.get(hinted)).fields == {"tenant": "contoso.example"}
    control.put("/microsoft/tenants", json={"domains": {"contoso.example": TENANT}})
    assert _forms(browser.get(hinted)).fields == {"tenant": TENANT}
    assert _forms(browser.get(location)).fields == {"tenant": TENANT}


def test_everything_on_the_screen_is_escaped(link, browser, control):
    nasty = '"><script>alert(1)</script>'
    location = link({"tenant": nasty}, scope=f"{GRAPH}{nasty}").headers["location"]
    page = browser.get(location)
    assert "script" not in _forms(page).tags
    assert "&lt;script&gt;" in page.text


def test_the_control_plane_answers_without_a_browser(link, control):
    link({"tenant": TENANT}, state="one")
    link({"tenant": TENANT}, state="two")
    first = control.post("/microsoft/requests/answer", json={"state": "one"}).json()
    assert (first["answer"], first["version"]) == ("approved", "v2")
    assert _said(first["location"]) == {"admin_consent": "true", "state": "one"}
    body = {"credential_id": first["credential_id"], "approve": False}
    second = control.post("/microsoft/requests/answer", json=body).json()
    assert (second["answer"], _said(second["location"])["state"]) == ("refused", "two")
    assert control.post("/microsoft/requests/answer", json=body).status_code == 404
    assert control.get("/microsoft/requests").json() == [first, second]


def test_a_link_without_state_redirects_without_it(link, control):
    link({"tenant": TENANT}, state=None)
    answer = control.post("/microsoft/requests/answer", json={}).json()
    assert _said(answer["location"]) == {"admin_consent": "true"}


@pytest.mark.parametrize("name", sorted(set(CONSENT_ERRORS) - {"declined"}))
def test_every_error_of_microsoft_comes_back_with_the_redirect(link, control, name):
    link()
    answer = control.post("/microsoft/requests/answer", json={"error": name}).json()
    said = _said(answer["location"])
    code = said["error_uri"].rpartition("=")[2]
    assert said["error_description"].startswith(f"AADSTS{code}: ")
    assert said["error"] == CONSENT_ERRORS[name].error


def test_an_error_can_be_given_word_for_word(link, control):
    link()
    error = {"error": "x", "error_description": "<b>y</b>"}
    answer = control.post("/microsoft/requests/answer", json={"error": error}).json()
    assert _said(answer["location"]) == error | {"state": "s-1"}


@pytest.mark.parametrize(
    "body",
    [{"error": "no-such"}, {"error": "declined", "approve": True}, {}, {"errors": "declined"}],
)
def test_a_contradictory_answer_is_refused_and_leaves_the_request_pending(link, control, body):
    link()
    assert control.post("/microsoft/requests/answer", json=body).status_code == 422
    assert control.get("/microsoft/requests").json()[0]["answer"] is None


def test_the_forms_of_the_redirect_are_switches(link, control):
    control.put(
        "/switches",
        json={
            "consent_success_form": "microsoft",
            "consent_error_admin_consent": True,
            "consent_error_code": True,
            "consent_error_uri": False,
            "consent_declined_error": "consent_required",
        },
    )
    answer = "/microsoft/requests/answer"
    link({"tenant": TENANT}, scope=f"{GRAPH}Mail.Read openid")
    assert _said(control.post(answer, json={}).json()["location"]) == {
        "admin_consent": "True",
        "tenant": TENANT,
        "scope": f"{GRAPH}Mail.Read",
        "state": "s-1",
    }
    link()
    said = _said(control.post(answer, json={"tenant": TENANT}).json()["location"])
    assert said == {"admin_consent": "True", "tenant": TENANT, "state": "s-1"}
    link()
    said = _said(control.post(answer, json={"error": "declined"}).json()["location"])
    assert set(said) == {"admin_consent", "error", "error_code", "error_description", "state"}
    assert (said["admin_consent"], said["error"]) == ("True", "consent_required")
    assert said["error_code"] == "45002"


def _stop(control, kind):
    if kind == "tenant_not_found":
        control.put("/microsoft/tenants", json={"known": ["another"]})
    else:
        app = {
            "application_not_in_tenant": {"enabled": False},
            "redirect_uri_mismatch": {"callback_registered": False},
            "not_multi_tenant": {"home_tenant": "another"},
        }[kind]
        control.put("/microsoft/apps", json={"azure-app": app})


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("tenant_not_found", {"tenant": TENANT}),
        ("application_not_in_tenant", {}),
        ("redirect_uri_mismatch", {}),
        ("not_multi_tenant", {"tenant": "common"}),
    ],
)
def test_microsoft_shows_an_untrusted_link_itself_or_redirects_by_switch(
    link, browser, control, kind, data
):
    _stop(control, kind)
    description = CONSENT_ERRORS[kind].error_description
    location = link(data).headers["location"]
    page = browser.get(location)
    assert (page.status_code, description in page.text) == (400, True)
    assert browser.post(f"{location}/approve", data={"tenant": TENANT}).status_code == 400
    assert control.post("/microsoft/requests/answer", json={}).status_code == 409
    control.put("/switches", json={"consent_obstacle": "redirect"})
    answer = browser.get(location)
    assert answer.status_code == 302
    assert _said(answer.headers["location"])["error_description"] == description
    link(data)
    answer = control.post("/microsoft/requests/answer", json={}).json()
    assert _said(answer["location"])["error_description"] == description


def test_the_admin_of_another_tenant_cannot_consent_for_this_one(link, control, browser):
    location = link({"tenant": TENANT}).headers["location"]
    answer = browser.post(f"{location}/approve", data={"tenant": "fabrikam.example"})
    assert "AADSTS50020" in _said(answer.headers["location"])["error_description"]
    assert control.get("/microsoft/consents").json() == []


def test_a_single_tenant_application_is_for_its_own_tenant_only(link, browser, control):
    control.put("/microsoft/apps", json={"azure-app": {"home_tenant": "home"}})
    page = browser.get(link({"tenant": TENANT}).headers["location"])
    assert "AADSTS700016" in page.text
    assert browser.get(link({"tenant": "home"}).headers["location"]).status_code == 200


def test_a_tenant_that_does_not_exist_cannot_consent(link, browser, control):
    control.put("/microsoft/tenants", json={"known": [TENANT]})
    location = link().headers["location"]
    answer = browser.post(f"{location}/approve", data={"tenant": "nowhere"})
    assert "AADSTS90002" in _said(answer.headers["location"])["error_description"]
