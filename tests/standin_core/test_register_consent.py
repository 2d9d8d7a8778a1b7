"""Credentials for admin consent, with an application of their own or with the connector's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bulkgrants.credentials.connectors import ensure_connector
from bulkgrants.credentials.register import Registered, Registration, Wanted, register
from bulkgrants.credentials.secrets import (
    OAuthApp,
    admin_consent_data,
    fingerprint,
    fingerprint_key,
)
from bulkgrants.errors import Misconfigured, Refused, RequestRefused
from bulkgrants.ledger.tenants import find_credential, left_alone
from bulkgrants.model import CredentialType, Provider
from bulkgrants.nylas.calls import authenticate, create_credential, list_credentials
from bulkgrants.nylas.sending import PatientSender

START = datetime(2026, 11, 20, tzinfo=UTC)
CREDS = "/v3/connectors/microsoft/creds"
GUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"
SECRET = "Zx8Q~of-the-first-year"
NEW_SECRET = "Zx8Q~of-the-second-year"
CONNECTOR_SECRET = "Zx8Q~of-the-connector"
OWN = OAuthApp("app-of-umbra", SECRET)


@pytest.fixture
def microsoft(sender):
    return ensure_connector(
        sender, Provider.MICROSOFT, OAuthApp("connector-app", CONNECTOR_SECRET, "common")
    )


@pytest.fixture
def ask(sender, microsoft, ledger):
    """Registers `umbra`: with an application of its own, or None for the connector's."""
    moments = iter(START + timedelta(days=day) for day in range(20))

    def call(app=OWN, tenant="", *, name="umbra", api_key="api-key", through=None):
        data = admin_consent_data(app, tenant)
        return register(
            through or PatientSender(sender, pause=lambda _: None),
            ledger,
            application="app-1",
            wanted=Wanted(
                Provider.MICROSOFT,
                name,
                CredentialType.ADMIN_CONSENT,
                data,
                fingerprint(data, fingerprint_key(api_key)),
            ),
            clock=lambda: next(moments),
        )

    return call


def recorded(ledger, name="umbra"):
    return find_credential(ledger, "app-1", Provider.MICROSOFT, name)


def names(sender):
    page = sender.send(list_credentials(Provider.MICROSOFT))
    return sorted(one.name for one in page.items)


def asked(sender, method):
    return sum(
        count
        for route, count in sender.control.requests_by_route().items()
        if route.startswith(f"{method} ") and "creds" in route
    )


def grant(sender, credential_id, email="ann@umbra.example.com"):
    return sender.send(authenticate(Provider.MICROSOFT, email, credential_id, ""))


def secrets_at_microsoft(sender, client_id, **secrets):
    app = {"scopes": ["User.Read.All"], "secrets": secrets}
    sender.control.set_microsoft_apps({client_id: app})


@pytest.mark.parametrize("tenant", ["", "common", GUID])
def test_a_credential_is_created_kept_and_rotated_under_one_id(ask, sender, ledger, tenant):
    renewed = OAuthApp(OWN.client_id, NEW_SECRET)
    done = [ask(app, tenant) for app in (OWN, OWN, renewed, renewed)]
    assert [one.registration for one in done] == [
        Registration.CREATED,
        Registration.KEPT,
        Registration.ROTATED,
        Registration.KEPT,
    ]
    assert len({one.credential_id for one in done}) == 1
    record = recorded(ledger)
    assert (record.credential_id, record.registered_at) == (done[0].credential_id, START)
    assert record.rotated_at == START + timedelta(days=1)
    assert names(sender).count("umbra") == 1


def test_the_rotated_secret_is_the_one_that_microsoft_sees(ask, sender):
    """And the tenant is not lost, though Nylas replaces the contents whole."""
    secrets_at_microsoft(sender, OWN.client_id, **{SECRET: "expired", NEW_SECRET: "valid"})
    sender.control.give_consent(GUID, OWN.client_id)
    created = ask(tenant=GUID)
    with pytest.raises(Refused, match="AADSTS7000222"):
        grant(sender, created.credential_id)
    rotated = ask(OAuthApp(OWN.client_id, NEW_SECRET), GUID)
    assert grant(sender, rotated.credential_id).credential_id == created.credential_id


def test_another_tenant_in_the_table_goes_into_the_same_credential(ask):
    first, moved = ask(tenant="common"), ask(tenant=GUID)
    assert moved.registration is Registration.ROTATED
    assert moved.credential_id == first.credential_id


def test_the_connectors_own_application_serves_where_there_is_no_other(ask, sender, ledger):
    sender.control.give_consent("umbra.example.com", "connector-app")
    created, kept = ask(None), ask(None)
    assert (created.registration, kept.registration) == (Registration.CREATED, Registration.KEPT)
    assert kept.credential_id == created.credential_id == recorded(ledger).credential_id
    assert grant(sender, created.credential_id).email == "ann@umbra.example.com"
    assert (asked(sender, "POST"), asked(sender, "PATCH")) == (1, 0)


@pytest.mark.parametrize("app", [OWN, None])
def test_a_process_that_died_before_its_record_ends_in_the_same_state(ask, sender, ledger, app):
    created = ask(app)
    with ledger.begin() as connection:
        connection.exec_driver_sql("DELETE FROM credentials")
    again = ask(app)
    assert again.credential_id == created.credential_id
    assert again.registration is (Registration.ROTATED if app else Registration.KEPT)
    assert recorded(ledger).credential_id == created.credential_id
    assert ask(app).registration is Registration.KEPT
    assert names(sender).count("umbra") == 1


def test_another_api_key_makes_the_contents_unknown_and_changes_nothing(ask, sender, ledger):
    created, again = ask(None), ask(None, api_key="next-key")
    assert again.credential_id == created.credential_id
    assert again.registration is Registration.KEPT
    assert recorded(ledger).registered_at == START
    assert ask(None, api_key="next-key").registration is Registration.KEPT
    assert (asked(sender, "POST"), asked(sender, "PATCH")) == (2, 0)


@pytest.mark.parametrize("app", [OWN, None])
def test_an_answer_lost_after_the_commit_leaves_one_credential(ask, sender, app):
    sender.control.add_fault(
        "reset_after_commit", times=1, match={"method": "POST", "path": "/v3/*/creds"}
    )
    assert ask(app).registration is Registration.CREATED
    assert names(sender).count("umbra") == 1


def test_tenants_with_the_same_application_and_tenant_have_one_credential(ask, sender):
    """As Nylas returns the credential that has the same contents, whatever its name."""
    one, other, again = ask(None), ask(None, name="vault"), ask(None, name="vault")
    assert other.credential_id == again.credential_id == one.credential_id
    assert again.registration is Registration.KEPT
    assert names(sender) == ["microsoft connector", "umbra"]


@pytest.mark.parametrize("before", [(OWN, ""), (None, GUID)])
def test_a_taken_name_is_said_where_the_contents_cannot_be_replaced(ask, sender, ledger, before):
    held = ask(*before)
    record = recorded(ledger)
    with pytest.raises(Misconfigured, match=r"'umbra' exists .* another name, or set `secret"):
        ask(None, "contoso.onmicrosoft.com")
    assert recorded(ledger) == record
    assert ask(*before) == Registered(held.credential_id, Registration.KEPT)
    assert asked(sender, "PATCH") == 0


def test_an_application_of_its_own_may_take_the_place_of_the_connectors(ask):
    created, moved = ask(None), ask(OWN)
    assert moved.registration is Registration.ROTATED
    assert moved.credential_id == created.credential_id


def test_a_name_held_by_another_type_is_not_touched(ask, sender):
    data = {"client_id": "x", "client_secret": "y"}
    sender.send(create_credential(Provider.MICROSOFT, "umbra", CredentialType.CONNECTOR, data))
    for app in (OWN, None):
        with pytest.raises(Misconfigured, match=r"type 'connector', not 'adminconsent'.*another"):
            ask(app)
    assert asked(sender, "PATCH") == 0


@pytest.mark.parametrize("app", [OWN, None])
def test_a_name_taken_by_another_type_meanwhile_is_not_touched(ask, sender, app):
    class Overtaken:
        def send(self, call):
            if call.method == "POST":
                data = {"client_id": "x", "client_secret": "y"}
                kind = CredentialType.CONNECTOR
                sender.send(create_credential(Provider.MICROSOFT, "umbra", kind, data))
            return sender.send(call)

    with pytest.raises(Misconfigured, match="type 'connector', not 'adminconsent'"):
        ask(app, through=Overtaken())
    assert asked(sender, "PATCH") == 0


def test_a_credential_deleted_at_nylas_is_made_anew(ask, sender, ledger):
    gone = ask(None)
    headers = {"Authorization": f"Bearer {sender.api_key}"}
    deleted = sender.client.delete(f"{CREDS}/{gone.credential_id}", headers=headers)
    assert deleted.status_code == 200
    made = ask(None)
    assert made.registration is Registration.CREATED
    assert recorded(ledger).credential_id == made.credential_id != gone.credential_id


def test_a_rotated_secret_frees_its_tenants_from_quarantine(ask, ledger, quarantine):
    ask()
    quarantine(Provider.MICROSOFT, START, umbra="umbra")
    ask()
    assert "umbra" in resting(ledger)
    ask(OAuthApp(OWN.client_id, NEW_SECRET))
    assert resting(ledger) == {}


def resting(ledger):
    return left_alone(ledger, "app-1", START)[0]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_secret_that_nylas_echoes_is_in_no_sentence(ask, sender, ledger, method):
    if method == "PATCH":
        ask()
    echo = {"status": 403, "type": "api.forbidden", "message": f"no: {NEW_SECRET}, {SECRET}"}
    sender.control.add_fault(
        "error", error=echo, match={"method": method, "path": "/v3/connectors/*"}
    )
    with pytest.raises(RequestRefused) as raised:
        ask(OAuthApp(OWN.client_id, NEW_SECRET))
    assert NEW_SECRET not in str(raised.value)
    assert "HTTP 403" in str(raised.value)
    with ledger.connect() as connection:
        rows = str(connection.exec_driver_sql("SELECT * FROM credentials").all())
    assert not any(secret in rows for secret in (SECRET, NEW_SECRET, CONNECTOR_SECRET))
