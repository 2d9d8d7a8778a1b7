"""Canaries that have a grant already, at the stand-in: whose it is, and how it is spelled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bulkgrants.errors import Misconfigured
from bulkgrants.ledger.tenants import record_credential
from bulkgrants.model import (
    Awaiting,
    CredentialType,
    ProbeOutcome,
    Provider,
    RegisteredCredential,
)
from bulkgrants.nylas.calls import create_credential
from bulkgrants.onboarding.propagation import Ready
from support.journeys import (
    APPLICATION,
    CALENDAR,
    CANARY,
    ENTRA,
    GOOGLE,
    MAIL,
    MICROSOFT,
    ROBOT,
    acme,
    custom_calls,
)
from support.ledgers import put

YEAR = 365 * 86400


ANN = "ann@acme.example"


def seed(journey, email, provider, *, age=YEAR, credential_id=None, scopes=(), **fields):
    """A grant that was there before the tenant was taken up; returns it."""
    made = int(journey.now.timestamp()) - age
    grant = {"email": email, "provider": provider, "scopes": list(scopes), "created_at": made}
    grant |= {"updated_at": made, "credential_id": credential_id, **fields}
    journey.control.seed([grant])
    return journey.grants()[email.lower()]


def known(journey, grant, tenant, **fields):
    """The ledger's record of that grant, as a listing or a change made it."""
    row = {
        "application": APPLICATION,
        "provider": grant["provider"],
        "email": grant["email"].lower(),
        "grant_id": grant["id"],
        "status": grant["grant_status"],
        "scopes": " ".join(sorted(grant["scope"])),
        "credential_id": grant["settings"].get("credential_id"),
        "blocked": False,
        "created_at": grant["created_at"],
        "updated_at": grant["updated_at"],
        "owned": True,
        "tenant": tenant,
    }
    put(journey.ledger, "grants", row | fields)


def stopped(journey, words, tenant="contoso", pace=MICROSOFT):
    """The probe stops with a sentence that says what to do, and nothing was sent or recorded."""
    before = journey.grants(), journey.rows("grants")
    with pytest.raises(Misconfigured, match="was not probed: it already has") as raised:
        journey.advance(tenant, pace)
    assert words in str(raised.value)
    assert "column" in str(raised.value)
    assert (journey.grants(), journey.rows("grants")) == before
    assert (custom_calls(journey), journey.outcomes()) == (0, [])
    assert journey.standing(tenant).awaiting is Awaiting.PROPAGATION


CREDENTIALS = ["somebody-elses", None]


@pytest.mark.parametrize("credential_id", CREDENTIALS)
@pytest.mark.parametrize("email", [CANARY, CANARY.title()])
def test_a_foreign_grant_of_the_canary_is_not_rewritten(probing, email, credential_id):
    seed(probing, email, "microsoft", credential_id=credential_id, scopes=["Mail.Read"])
    stopped(probing, "a grant of another party")


@pytest.mark.parametrize("credential_id", CREDENTIALS)
def test_a_foreign_grant_at_google_is_not_rewritten(delegated, credential_id):
    delegated.control.set_delegations({ROBOT: None})
    seed(delegated, ANN, "google", credential_id=credential_id, scopes=[MAIL])
    stopped(delegated, "a grant of another party", "acme", GOOGLE)


def test_a_foreign_grant_that_the_listing_does_not_show_yet_is_known_to_the_ledger(probing):
    probing.control.set_switches(email_match="exact")
    grant = seed(probing, CANARY.upper(), "microsoft", credential_id="somebody-elses")
    known(probing, grant, None, owned=False)
    stopped(probing, "a grant of another party")


def test_a_foreign_grant_that_is_gone_does_not_hinder_the_probe(probing):
    grant = seed(probing, "other@contoso.example", "microsoft", credential_id="somebody-elses")
    known(probing, grant, None, owned=False, email=CANARY, gone_at=probing.now)
    assert probing.advance() == Ready()
    assert probing.rows("grants")[0]["owned"] is True


def test_our_grant_under_another_credential_of_ours_is_not_moved(probing):
    data = {"tenant": ENTRA, "client_id": "azure-app", "client_secret": "the-other"}
    call = create_credential(Provider.MICROSOFT, "other", CredentialType.ADMIN_CONSENT, data)
    other = probing.sender.send(call).credential_id
    record_credential(
        probing.ledger,
        RegisteredCredential(other, "f", probing.now, None),
        application=APPLICATION,
        provider=Provider.MICROSOFT,
        name="other",
        credential_type=CredentialType.ADMIN_CONSENT,
    )
    grant = seed(probing, CANARY, "microsoft", credential_id=other)
    known(probing, grant, "contoso")
    for status in ("valid", "invalid"):
        probing.control.change_grant(grant["id"], grant_status=status)
        stopped(probing, "Write the former credential into the tenants table again")


@pytest.mark.parametrize(("status", "mended"), [("invalid", True), ("valid", False)])
def test_our_grant_whose_credential_was_made_anew_is_mended_if_it_is_broken(
    probing, status, mended
):
    grant = seed(probing, CANARY, "microsoft", credential_id="deleted", grant_status=status)
    known(probing, grant, "contoso")
    if not mended:
        stopped(probing, "not under the tenant's credential 'shared'")
        return
    assert probing.advance() == Ready()
    assert probing.grants()[CANARY]["id"] == grant["id"]
    assert probing.rows("grants")[0]["owned"] is True


def our_credential(journey):
    return journey.rows("credentials")[0]["credential_id"]


def test_a_healthy_grant_of_ours_keeps_the_scopes_that_it_has_more(delegated):
    delegated.control.set_delegations({ROBOT: None})
    more = [CALENDAR, MAIL, f"{MAIL}.more"]
    grant = seed(delegated, ANN, "google", credential_id=our_credential(delegated), scopes=more)
    known(delegated, grant, "acme")
    assert delegated.advance("acme", GOOGLE) == Ready()
    after = delegated.grants()[ANN]
    assert after["id"] == grant["id"]
    assert set(more) <= set(after["scope"])
    (row,) = delegated.rows("grants")
    assert (row["scopes"].split(), row["owned"]) == (more, True)


@pytest.mark.parametrize("enough", [True, False])
def test_a_grant_of_our_credential_that_we_did_not_make_keeps_its_scopes_and_its_owner(
    delegated, enough
):
    delegated.control.set_delegations({ROBOT: None})
    scopes = [CALENDAR, MAIL, f"{MAIL}.more"] if enough else [MAIL]
    seed(delegated, ANN, "google", credential_id=our_credential(delegated), scopes=scopes)
    if not enough:
        stopped(delegated, "a grant with other scopes", "acme", GOOGLE)
        return
    assert delegated.advance("acme", GOOGLE) == Ready()
    (row,) = delegated.rows("grants")
    assert (row["scopes"].split(), row["owned"]) == (scopes, False)


class Behind:
    """A sender whose filtered listing is behind, as Nylas' may be by more than a minute."""

    def __init__(self, sender):
        self.sender = sender

    def send(self, call):
        answer = self.sender.send(call)
        return replace(answer, items=()) if call.method == "GET" else answer


def test_a_grant_that_appears_after_the_look_and_is_older_does_not_become_ours(probing):
    seed(probing, CANARY, "microsoft", credential_id=our_credential(probing))
    assert probing.advance(through=Behind(probing.sender)) == Ready()
    assert probing.rows("grants")[0]["owned"] is False


def test_a_look_that_is_not_answered_is_no_verdict_and_nothing_is_authenticated(probing):
    probing.control.add_fault("empty_502", match={"path": "/v3/grants"}, times=1)
    found = probing.advance()
    assert found.probed.outcome is ProbeOutcome.UNSERVED
    assert custom_calls(probing) == 0
    probing.wait()
    assert probing.standing().awaiting is None


OTHER_SPELLINGS = {
    "upper case": (ANN, "ANN@ACME.EXAMPLE"),
    "full width": (ANN, "\uff41nn@acme.example"),
    "combining letters": ("zo\xeb@acme.example", "zoe\u0308@acme.example"),
    "Unicode domain": ("ann@xn--bcher-kva.example", "ann@b\xfccher.example"),
    "the primary address of an alias": (ANN, "anna@acme.example"),
}


@pytest.fixture
def exact(delegated):
    """A Google tenant whose canary is probed at a Nylas that keeps spellings apart."""
    delegated.control.set_delegations({ROBOT: None})
    delegated.control.set_switches(email_match="exact")
    return delegated


def there(journey):
    """The ids of all grants at the stand-in."""
    return [one["id"] for one in journey.control.grants()]


@pytest.mark.parametrize(("canary", "spelled"), OTHER_SPELLINGS.values(), ids=OTHER_SPELLINGS)
def test_a_grant_in_another_spelling_gets_no_second_one_beside_it(exact, canary, spelled):
    exact.list(replace(acme(), canary=canary))
    grant = seed(exact, spelled, "google", credential_id=our_credential(exact), scopes=[MAIL])
    known(exact, grant, "acme", email=canary, address=spelled)
    assert exact.advance("acme", GOOGLE) == Ready()
    assert there(exact) == [grant["id"]]
    (row,) = exact.rows("grants")
    assert (row["email"], row["address"], row["owned"]) == (canary, spelled, True)
    assert row["scopes"] == f"{CALENDAR} {MAIL}"
    assert exact.rows("probes")[0]["message"] == ""


@pytest.mark.parametrize("name", ["upper case", "full width"])
def test_a_listing_that_shows_the_grant_tells_its_spelling_too(exact, name):
    """Nylas may filter more loosely by an address than it finds a grant by it."""

    class Loose:
        def send(self, call):
            query = {name: value for name, value in call.query.items() if name != "email"}
            return exact.sender.send(replace(call, query=query))

    _, spelled = OTHER_SPELLINGS[name]
    scopes = [CALENDAR, MAIL]
    grant = seed(exact, spelled, "google", credential_id=our_credential(exact), scopes=scopes)
    assert exact.advance("acme", GOOGLE, through=Loose()) == Ready()
    assert there(exact) == [grant["id"]]


@pytest.mark.parametrize("age", [0, YEAR])
def test_an_answer_with_another_grant_is_said_and_ours_only_if_the_probe_made_it(
    delegated, age, caplog
):
    delegated.control.set_delegations({ROBOT: None})
    scopes = [CALENDAR, MAIL]
    ours = our_credential(delegated)
    other = seed(delegated, ANN, "google", age=age, credential_id=ours, scopes=scopes)
    known(delegated, other | {"id": "the-one-of-yesterday"}, "acme")
    assert delegated.advance("acme", GOOGLE, through=Behind(delegated.sender)) == Ready()
    (row,) = delegated.rows("grants")
    assert (row["grant_id"], row["owned"]) == (other["id"], age == 0)
    said = delegated.rows("probes")[0]["message"]
    assert f"answered with the grant {other['id']}, not with the-one-of-yesterday" in said
    assert said in caplog.text


def test_a_canary_that_is_an_alias_is_said_and_then_known_under_its_primary_address(delegated):
    delegated.control.set_aliases({ANN: "anna@acme.example"})
    delegated.control.set_delegations({ROBOT: None})
    assert delegated.advance("acme", GOOGLE) == Ready()
    said = delegated.rows("probes")[0]["message"]
    assert "answered with the address anna@acme.example: the roster may name an alias" in said
    (row,) = delegated.rows("grants")
    assert (row["email"], row["address"]) == (ANN, "anna@acme.example")
