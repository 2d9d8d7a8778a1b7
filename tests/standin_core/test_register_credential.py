from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bulkgrants.credentials.connectors import ensure_connector
from bulkgrants.credentials.register import Registration, Wanted
from bulkgrants.credentials.register import register as register_credential
from bulkgrants.credentials.secrets import (
    OAuthApp,
    fingerprint,
    fingerprint_key,
    service_account_key,
)
from bulkgrants.errors import Misconfigured, Unavailable
from bulkgrants.ledger.tenants import find_credential, left_alone
from bulkgrants.model import CredentialType, Provider
from bulkgrants.nylas.calls import create_credential, list_credentials
from bulkgrants.nylas.sending import PatientSender

START = datetime(2026, 11, 20, tzinfo=UTC)
CREDS = "/v3/connectors/google/creds"


@pytest.fixture
def google(sender):
    return ensure_connector(sender, Provider.GOOGLE, OAuthApp("id", "oauth-secret"))


@pytest.fixture
def register(sender, google, ledger, key_files):
    moments = iter(START + timedelta(days=day) for day in range(20))

    def call(number=0, name="acme", through=None):
        key = service_account_key(key_files[number], connection="acme_google")
        return register_credential(
            through or PatientSender(sender, pause=lambda _: None),
            ledger,
            application="app-1",
            wanted=Wanted(
                Provider.GOOGLE,
                name,
                CredentialType.SERVICE_ACCOUNT,
                key.credential_data,
                fingerprint(key.credential_data, fingerprint_key("api-key")),
            ),
            clock=lambda: next(moments),
        )

    return call


def recorded(ledger, name="acme"):
    return find_credential(ledger, "app-1", Provider.GOOGLE, name)


def names(sender):
    page = sender.send(list_credentials(Provider.GOOGLE))
    return sorted(one.name for one in page.items)


def test_a_credential_is_created_then_kept_then_rotated_under_one_id(register, sender, ledger):
    created, kept, rotated, again = register(), register(), register(1), register(1)
    assert [one.registration for one in (created, kept, rotated, again)] == [
        Registration.CREATED,
        Registration.KEPT,
        Registration.ROTATED,
        Registration.KEPT,
    ]
    assert len({one.credential_id for one in (created, kept, rotated, again)}) == 1
    record = recorded(ledger)
    assert record.credential_id == created.credential_id
    assert record.registered_at == START
    assert record.rotated_at == START + timedelta(days=1)
    assert names(sender).count("acme") == 1


def test_a_rotated_secret_frees_its_tenants_from_quarantine_and_no_others(
    register, ledger, quarantine
):
    register()
    quarantine(Provider.GOOGLE, START, acme="acme", umbrella="umbrella")
    register()
    assert set(resting(ledger)) == {"acme", "umbrella"}
    register(1)
    assert set(resting(ledger)) == {"umbrella"}


def resting(ledger):
    return left_alone(ledger, "app-1", START)[0]


def test_keeping_a_credential_sends_no_secret(register, sender):
    register()
    before = sender.control.requests_by_route()
    register()
    after = sender.control.requests_by_route()
    changed = {route for route in after if after[route] != before.get(route)}
    assert all(route.startswith("GET ") for route in changed if "creds" in route), changed


def test_a_second_name_for_the_same_secret_is_the_same_credential_and_stays_it(register, ledger):
    first, second, again = register(), register(name="other"), register(name="other")
    assert {one.credential_id for one in (second, again)} == {first.credential_id}
    assert (second.registration, again.registration) == (Registration.CREATED, Registration.KEPT)
    assert recorded(ledger, "other").registered_at == START + timedelta(days=1)


def test_a_process_that_died_before_its_record_ends_in_the_same_state(register, ledger, sender):
    created = register()
    with ledger.begin() as connection:
        connection.exec_driver_sql("DELETE FROM credentials")
    again = register()
    assert again.credential_id == created.credential_id
    assert again.registration is Registration.ROTATED
    assert recorded(ledger).fingerprint
    assert names(sender).count("acme") == 1


def test_a_credential_deleted_at_nylas_is_made_anew(register, sender, ledger):
    gone = register()
    path = f"{CREDS}/{gone.credential_id}"
    headers = {"Authorization": f"Bearer {sender.api_key}"}
    assert sender.client.delete(path, headers=headers).status_code == 200
    made = register()
    assert made.registration is Registration.CREATED
    assert made.credential_id != gone.credential_id
    assert recorded(ledger).credential_id == made.credential_id
    assert recorded(ledger).rotated_at is None


def test_a_credential_that_another_client_made_is_brought_to_our_secret(
    register, sender, key_files, ledger
):
    call = create_credential(Provider.GOOGLE, "acme", CredentialType.SERVICE_ACCOUNT, key_files[1])
    theirs = sender.send(call)
    ours = register()
    assert ours.credential_id == theirs.credential_id
    assert ours.registration is Registration.ROTATED
    assert register().registration is Registration.KEPT


def test_two_at_once_end_with_one_credential(register, sender, key_files):
    """The second finds no such name, and is told on creating it that there is one."""

    class Overtaken:
        def __init__(self):
            self.overtaken = False

        def send(self, call):
            if call.method == "POST" and not self.overtaken:
                self.overtaken = True
                theirs = {**key_files[0], "project_id": "other"}
                sender.send(
                    create_credential(
                        Provider.GOOGLE, "acme", CredentialType.SERVICE_ACCOUNT, theirs
                    )
                )
            return sender.send(call)

    done = register(through=Overtaken())
    assert done.registration is Registration.ROTATED
    assert names(sender).count("acme") == 1
    assert register().registration is Registration.KEPT


def test_a_name_held_by_another_type_is_not_touched(register, sender):
    call = create_credential(
        Provider.GOOGLE,
        "acme",
        CredentialType.CONNECTOR,
        {"client_id": "x", "client_secret": "y"},
    )
    sender.send(call)
    with pytest.raises(Misconfigured, match="another name"):
        register()


def test_a_credential_beyond_the_first_page_is_found(register, sender, key_files):
    sender.control.set_limiter(per_second=100_000)
    for number in range(210):
        data = {**key_files[0], "project_id": f"p{number}"}
        sender.send(
            create_credential(Provider.GOOGLE, f"n-{number}", CredentialType.SERVICE_ACCOUNT, data)
        )
    assert register(name="n-209").registration is Registration.ROTATED


def test_an_answer_lost_after_the_commit_leaves_one_credential(register, sender):
    sender.control.add_fault(
        "reset_after_commit", times=1, match={"method": "POST", "path": "/v3/*/creds"}
    )
    assert register().registration is Registration.CREATED
    assert names(sender).count("acme") == 1


def test_a_connector_whose_answer_was_lost_is_found(sender):
    sender.control.add_fault("reset_after_commit", times=1, match={"method": "POST"})
    made = ensure_connector(sender, Provider.GOOGLE, OAuthApp("id", "oauth-secret"))
    assert made.provider == "google"
    assert sender.control.requests_by_route()["POST /v3/connectors"] == 1


def test_a_connector_that_cannot_be_made_stays_an_error(sender):
    sender.control.add_fault("reset_before_commit", times=1, match={"method": "POST"})
    with pytest.raises(Unavailable):
        ensure_connector(sender, Provider.GOOGLE, OAuthApp("id", "oauth-secret"))
