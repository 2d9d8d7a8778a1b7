"""The link for the admin, and the address that the answer comes to."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from bulkgrants.errors import Misconfigured
from bulkgrants.onboarding.links import checked_redirect_uri, consent_link

HERE = "https://airflow.example.com/bulkgrants/consent"
GUID = "11111111-2222-4333-8444-555555555555"


def link(**changed):
    fields = {
        "base_url": "https://api.eu.nylas.com",
        "client_id": "app-1",
        "credential_id": "cred-1",
        "redirect_uri": HERE,
        "state": "S-_.1",
    }
    return consent_link(**(fields | changed))


def test_a_link_asks_for_what_the_azure_app_is_configured_for():
    parts = urlsplit(link())
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == (
        "https://api.eu.nylas.com/v3/connect/auth"
    )
    assert parse_qsl(parts.query, strict_parsing=True) == [
        ("client_id", "app-1"),
        ("provider", "microsoft"),
        ("response_type", "adminconsent"),
        ("redirect_uri", HERE),
        ("credential_id", "cred-1"),
        ("state", "S-_.1"),
    ]


@pytest.mark.parametrize("tenant", [GUID, "contoso.example"])
def test_a_link_for_one_tenant_says_that_it_asks_for_the_apps_permissions(tenant):
    query = dict(parse_qsl(urlsplit(link(microsoft_tenant=tenant)).query))
    assert query["scope"] == "https://graph.microsoft.com/.default"


@pytest.mark.parametrize("tenant", ["", "common"])
def test_a_link_for_any_tenant_names_no_scope(tenant):
    assert "scope" not in dict(parse_qsl(urlsplit(link(microsoft_tenant=tenant)).query))


def test_a_link_has_its_own_scopes_only_with_a_tenant_id():
    scopes = "https://graph.microsoft.com/.default offline_access"
    query = dict(parse_qsl(urlsplit(link(microsoft_tenant=GUID, scopes=scopes)).query))
    assert query["scope"] == scopes


@pytest.mark.parametrize("tenant", ["", "common"])
def test_its_own_scopes_with_common_are_an_error_that_names_both_solutions(tenant):
    with pytest.raises(Misconfigured, match=r"`consent_scopes` empty, or .* `microsoft_tenant`"):
        link(microsoft_tenant=tenant, scopes="Mail.Read")


def test_whatever_a_value_holds_stays_in_its_parameter():
    hostile = "a&scope=b#c?d=e f%20g\r\nh"
    query = dict(parse_qsl(urlsplit(link(state=hostile, credential_id=hostile)).query))
    assert query["state"] == query["credential_id"] == hostile
    assert "scope" not in query


@pytest.mark.parametrize(
    "uri",
    [
        HERE,
        "https://airflow.example.com:8443/prefix/bulkgrants/consent",
        "http://localhost:8080/bulkgrants/consent",
        "http://127.0.0.1:8080/bulkgrants/consent",
        "http://[::1]:8080/bulkgrants/consent",
    ],
)
def test_a_valid_redirect_uri_is_used_exactly_as_written(uri):
    assert checked_redirect_uri(uri) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "consent",
        "/bulkgrants/consent",
        "airflow.example.com/bulkgrants/consent",
        "http://airflow.example.com/bulkgrants/consent",
        "http://10.0.0.1/bulkgrants/consent",
        "http://localhost.example.com/bulkgrants/consent",
        "ftp://airflow.example.com/bulkgrants/consent",
        "javascript:alert(1)",
        "https:///bulkgrants/consent",
        "https://user@airflow.example.com/bulkgrants/consent",
        "https://airflow.example.com/bulkgrants/consent?next=1",
        "https://airflow.example.com/bulkgrants/consent#here",
        "https://airflow.example.com:0/bulkgrants/consent",
        "https://airflow.example.com:99999/bulkgrants/consent",
        "https://[::1/bulkgrants/consent",
        "https://münchen.example.com/bulkgrants/consent",
        "https://airflow.example.com/bulkgrants/consent\n",
        " https://airflow.example.com/bulkgrants/consent",
        "https://airflow.example.com/" + "a" * 400,
    ],
)
def test_any_other_redirect_uri_is_refused_with_a_sentence_that_names_the_setting(uri):
    with pytest.raises(Misconfigured, match="consent_redirect_uri") as refusal:
        checked_redirect_uri(uri)
    assert len(str(refusal.value)) < 400
