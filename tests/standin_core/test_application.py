"""A key of another application is noticed before anything is written."""

import pytest

from bulkgrants.credentials.application import require_application
from bulkgrants.errors import ApiKeyRefused, Misconfigured, Unavailable
from support.ledgers import grant, put
from support.senders import HttpxSender

OURS = "standin-application"

pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


def require(sender, ledger, application=OURS):
    require_application(
        sender, ledger, application=application, connection="Airflow connection 'n'"
    )


@pytest.mark.parametrize("in_list", [False, True])
def test_the_keys_application_is_compared_in_one_call(sender, ledger, in_list):
    sender.control.set_switches(application_in_list=in_list)
    require(sender, ledger)
    require(sender, ledger, " Standin-Application")
    with pytest.raises(Misconfigured) as caught:
        require(sender, ledger, "another-one")
    assert str(caught.value) == (
        "The API key of the Airflow connection 'n' belongs to the application "
        '"standin-application", but its field `client_id` says "another-one"; correct one of '
        "them. Nothing was written to Nylas."
    )
    assert sender.control.requests_by_route() == {"GET /v3/applications": 3}


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_key_that_may_not_read_its_application_is_known_by_grants(sender, ledger, status):
    sender.control.set_switches(application_status=status)
    sender.control.seed(5, domain="acme.example")
    known = {one["email"]: one["id"] for one in sender.control.grants()}
    put(
        ledger,
        "grants",
        *(
            grant(name, application=OURS, grant_id=grant_id, owned=True, tenant="acme")
            for name, grant_id in known.items()
        ),
        *(grant(name, application="theirs", owned=True, tenant="acme") for name in known),
    )
    require(sender, ledger)
    with pytest.raises(Misconfigured, match=r"of 5 grants .* it sees none"):
        require(sender, ledger, "theirs")


def test_too_few_grants_tell_nothing(sender, ledger):
    sender.control.set_switches(application_status=403)
    names = [f"u{number}@acme.example" for number in range(4)]
    put(ledger, "grants", *(grant(n, application=OURS, owned=True, tenant="a") for n in names))
    put(ledger, "grants", grant("gone@acme.example", application=OURS))
    require(sender, ledger)


def test_an_outage_is_not_taken_for_a_yes(sender, ledger):
    sender.control.add_fault("server_error", status=503)
    with pytest.raises(Unavailable):
        require(sender, ledger)


def test_a_key_that_is_refused_everywhere_is_left_to_the_next_call(sender, ledger):
    wrong = HttpxSender(sender.base_url, "no-such-key")
    require(wrong, ledger)
    names = [f"u{number}@acme.example" for number in range(5)]
    put(ledger, "grants", *(grant(n, application=OURS, owned=True, tenant="a") for n in names))
    with pytest.raises(ApiKeyRefused):
        require(wrong, ledger)
    wrong.close()
