"""Tenants on their way to ready: asked, answered, probed; without Airflow."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import timedelta

import pytest

from bulkgrants.errors import Misconfigured, NotPropagated, Superseded
from bulkgrants.ledger import onboarding as steps
from bulkgrants.ledger.database import metadata
from bulkgrants.ledger.rights import answering
from bulkgrants.model import (
    Awaiting,
    CredentialType,
    Hold,
    Provider,
    Stop,
)
from bulkgrants.onboarding.callback import Verdict
from bulkgrants.onboarding.links import key_id, state_key
from bulkgrants.onboarding.propagation import Ready, require_probable
from bulkgrants.onboarding.waiting import (
    AwaitAnswer,
    Given,
    MakeLink,
    needs_attention,
    step_of,
)
from support.journeys import (
    APPLICATION,
    CANARY,
    CUSTOM,
    ENTRA,
    MAIL,
    MICROSOFT,
    REDIRECT,
    SCOPES,
    SECRET,
    START,
    TENANTS,
    TERMS,
    contoso,
    state_in,
)


@pytest.mark.parametrize("omitted", ["connector", "application"])
@pytest.mark.parametrize("override", ["application", "configured", "delegated"])
@pytest.mark.parametrize("entra", TENANTS)
@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_the_link_asks_for_the_apps_own_permissions_however_scopes_are_read(
    journey, entra, omitted, override
):
    journey.control.set_switches(consent_scope_omitted=omitted, consent_scope_override=override)
    journey.microsoft(entra)
    journey.take_up()
    journey.consent()
    journey.wait()
    assert journey.rows("grants")[0]["scopes"] == SCOPES


@pytest.mark.parametrize("form", ["nylas", "microsoft"])
@pytest.mark.parametrize("entra", TENANTS)
def test_the_whole_way_from_a_row_to_ready(journey, entra, form):
    journey.control.set_switches(consent_success_form=form)
    journey.microsoft(entra)
    (found,) = journey.take_up()
    assert (found.awaiting, found.since) == (Awaiting.CONSENT, START)
    assert journey.step() == MakeLink(is_reminder=False)
    asked = journey.ask()
    assert journey.step() == AwaitAnswer(START + timedelta(days=2))
    journey.sleep(timedelta(hours=30))
    location = journey.answer(asked, approve=True, tenant="contoso.example")
    received = journey.receive(location)
    assert (received.verdict, received.tenant) == (Verdict.GIVEN, "contoso")
    assert step_of(journey.ledger, found, TERMS, journey.now) == Given()
    given_at = journey.now
    standing = journey.standing()
    assert (standing.awaiting, standing.since) == (Awaiting.PROPAGATION, given_at)
    waits = journey.wait()
    assert waits[0].until == given_at + MICROSOFT.floor
    assert waits[0].probed is None
    assert journey.standing().awaiting is None
    assert isinstance(journey.advance(), Ready)
    (consent,) = journey.rows("consents")
    assert (consent["status"], consent["answered_at"]) == ("given", given_at)
    assert consent["admin_tenant"] == (ENTRA if form == "microsoft" else "")
    assert journey.rows("tenants")[0]["ready_at"] == journey.now


def test_the_canarys_grant_is_recorded_as_any_other_and_ours(journey):
    journey.microsoft()
    journey.take_up()
    journey.consent()
    journey.wait()
    (recorded,) = journey.rows("grants")
    there = journey.grants()[CANARY]
    assert (recorded["grant_id"], recorded["email"]) == (there["id"], CANARY)
    assert (recorded["owned"], recorded["tenant"]) == (True, "contoso")
    assert (recorded["scopes"], recorded["status"]) == (SCOPES, "valid")
    assert recorded["credential_id"] == journey.rows("credentials")[0]["credential_id"]
    assert recorded["orphan_since"] is recorded["gone_at"] is None


def test_a_link_may_ask_one_tenant_for_scopes_of_its_own(journey):
    wanted = "Contacts.Read User.Read.All"
    journey.microsoft(ENTRA, consent_scopes=wanted, required=wanted)
    journey.take_up()
    journey.consent()
    journey.wait()
    assert journey.rows("grants")[0]["scopes"] == wanted


def test_a_link_for_everybody_may_not(journey):
    journey.microsoft("common", consent_scopes="Contacts.Read")
    journey.take_up()
    with pytest.raises(Misconfigured, match="Leave `consent_scopes` empty, or write the customer"):
        journey.ask()
    assert journey.rows("consents") == []


def test_a_tenant_that_is_enabled_again_after_months_has_a_fresh_wait(journey):
    journey.microsoft(ENTRA)
    journey.take_up()
    journey.ask()
    journey.let_go()
    off = contoso(microsoft_tenant=ENTRA, enabled=False)
    on = contoso(microsoft_tenant=ENTRA)
    journey.list(off)
    journey.sleep(timedelta(days=90))
    journey.list(on)
    (again,) = journey.take_up("run-2")
    assert again.since == journey.now
    assert journey.step() == MakeLink(is_reminder=False)
    journey.consent("run-2")
    journey.sleep(MICROSOFT.floor)
    journey.let_go(run="run-2")
    journey.list(off)
    journey.sleep(timedelta(days=90))
    journey.list(on)
    journey.take_up("run-3")
    assert journey.advance(run="run-3").until == journey.now + MICROSOFT.floor


def test_a_link_for_a_credential_that_was_made_anew_is_replaced(journey):
    journey.microsoft(ENTRA)
    journey.take_up()
    old = journey.ask()
    location = journey.answer(old, approve=True, tenant="contoso.example")
    journey.sleep(timedelta(hours=1))
    data = {"tenant": ENTRA, "client_id": "azure-app", "client_secret": "another"}
    journey.register(Provider.MICROSOFT, CredentialType.ADMIN_CONSENT, data, "anew")
    assert journey.receive(location).verdict is Verdict.STALE
    hold = Hold(APPLICATION, "contoso", "run-1")
    assert needs_attention(journey.ledger, hold, journey.now)
    assert journey.step() == MakeLink(is_reminder=True)
    journey.consent()
    journey.wait()
    assert journey.standing().awaiting is None


def test_a_link_that_an_earlier_api_key_signed_is_replaced(journey):
    journey.microsoft(ENTRA)
    journey.take_up()
    journey.ask()
    hold = Hold(APPLICATION, "contoso", "run-1")
    same, other = (key_id(state_key(key)) for key in (journey.sender.api_key, "nyk_rotated"))
    for known, stale in ((same, False), (None, False), (other, True)):
        assert needs_attention(journey.ledger, hold, journey.now, known) is stale
        found = step_of(journey.ledger, journey.standing(), TERMS, journey.now, known)
        assert (found == MakeLink(is_reminder=True)) is stale


@pytest.mark.parametrize("behind", [timedelta(seconds=20), timedelta(hours=2)])
def test_a_link_belongs_to_its_wait_even_if_the_clock_of_its_maker_is_behind(journey, behind):
    journey.microsoft(ENTRA)
    journey.take_up()
    begun = journey.now
    journey.now = begun - behind
    journey.ask()
    assert isinstance(journey.step(), AwaitAnswer)
    assert journey.rows("consents")[0]["requested_at"] == begun


def test_without_a_canary_that_may_be_probed_no_admin_is_asked(journey):
    journey.microsoft(ENTRA)
    journey.list(contoso(microsoft_tenant=ENTRA, canary=""))
    journey.take_up()
    with pytest.raises(Misconfigured, match="does not name a canary"):
        require_probable(journey.ledger, journey.sender, journey.standing())
    journey.list(contoso(microsoft_tenant=ENTRA))
    require_probable(journey.ledger, journey.sender, journey.standing())
    theirs = {"email": CANARY, "provider": "microsoft", "credential_id": "somebody-elses"}
    journey.control.seed([theirs | {"created_at": 1_600_000_000}])
    with pytest.raises(Misconfigured, match="a grant of another party"):
        require_probable(journey.ledger, journey.sender, journey.standing())


@pytest.mark.parametrize("stopped", [False, True])
def test_a_consent_that_comes_while_no_run_waits_is_not_lost(journey, stopped):
    """The run is long over; the next one finds the tenant a step further, and asks no admin."""
    journey.microsoft()
    journey.take_up()
    asked = journey.ask()
    journey.let_go()
    if stopped:
        journey.stop(Stop.EXPIRED)
    journey.sleep(timedelta(days=6))
    journey.receive(journey.answer(asked, approve=True, tenant="contoso.example"))
    given_at = journey.now
    journey.sleep(timedelta(minutes=4))
    (found,) = journey.take_up("run-2")
    assert (found.awaiting, found.since, found.stop) == (Awaiting.PROPAGATION, given_at, None)
    waits = journey.wait(run="run-2")
    assert waits[0].until == given_at + MICROSOFT.floor
    assert len(journey.rows("consents")) == 1


def test_a_link_that_ran_out_is_made_anew_and_the_old_one_is_worth_nothing(journey):
    journey.microsoft()
    journey.take_up()
    old = journey.ask()
    location = journey.answer(old, approve=True, tenant="contoso.example")
    journey.sleep(TERMS.link)
    assert journey.step() == MakeLink(is_reminder=True)
    new = journey.ask()
    assert journey.receive(location).verdict is Verdict.EXPIRED
    assert [one["status"] for one in journey.rows("consents")] == ["expired", "pending"]
    journey.receive(journey.answer(new, approve=True, tenant="contoso.example"))
    assert journey.standing().awaiting is Awaiting.PROPAGATION


def test_a_run_that_lost_its_tenant_makes_no_link(journey):
    journey.microsoft()
    journey.take_up()
    journey.take_up("manual", names=["contoso"])
    with pytest.raises(Superseded):
        journey.ask()
    assert journey.rows("consents") == []


def test_without_a_registered_credential_no_admin_is_asked_and_nothing_probed(journey):
    journey.list(contoso())
    journey.take_up()
    with pytest.raises(Misconfigured, match="'shared' of the tenant contoso is not registered"):
        journey.ask()
    with answering(journey.ledger) as connection:
        steps.consented(connection, APPLICATION, "contoso", START)
    journey.sleep(MICROSOFT.floor)
    with pytest.raises(Misconfigured, match="'shared' of the tenant contoso is not registered"):
        journey.advance()
    assert journey.outcomes() == []


def test_no_secret_no_state_and_no_link_is_kept_or_logged(journey, caplog):
    caplog.set_level(logging.DEBUG, "bulkgrants")
    journey.microsoft(ENTRA)
    journey.take_up()
    declined, given = journey.ask(), journey.ask()
    no = journey.answer(declined, approve=False)
    echo = f"{state_in(declined)} {journey.sender.api_key}"
    yes = journey.answer(given, approve=True, tenant="contoso.example")
    for location in (no, no + "&admin_consent=true", yes, yes, yes[:-1]):
        journey.receive(location)
    journey.sleep(MICROSOFT.floor)
    said = {"status": 400, "type": "api.error", "message": "no", "provider_error": {"error": echo}}
    journey.control.add_fault("error", error=said, times=1, match=CUSTOM)
    journey.wait()
    own = [one for one in caplog.records if one.name.startswith("bulkgrants")]
    kept = [
        str(value)
        for table in metadata.tables
        for row in journey.rows(table)
        for value in row.values()
    ]
    assert any("[redacted]" in one["message"] for one in journey.rows("probes"))
    assert own
    assert len(kept) > 100
    hidden = [SECRET, journey.sender.api_key, *journey.links, *map(state_in, (declined, given))]
    for text in [*kept, *(f"{one.getMessage()} {one.args}" for one in own)]:
        assert not any(secret in text for secret in hidden), text
        assert "/v3/connect/auth" not in text
    for secret in hidden:
        assert not any(secret in repr(one) for one in (declined, given))


OTHER_ENTRA = "0b5f4f5e-0000-4000-8000-00000000000b"


def correct(journey, **changed):
    """Change the tenant's row in the tenants table."""
    journey.list(contoso(**changed))


def test_the_yes_of_the_old_organisation_does_not_count_for_the_new_one(journey):
    journey.microsoft(OTHER_ENTRA)
    journey.take_up()
    link = journey.ask()
    location = f"{REDIRECT}?admin_consent=true&state={state_in(link)}"
    correct(journey, microsoft_tenant=ENTRA)
    assert journey.receive(location).verdict is Verdict.EXPIRED
    assert journey.standing().awaiting is Awaiting.CONSENT
    with pytest.raises(Superseded, match="its row in the tenants table has changed"):
        journey.step()
    journey.sleep(timedelta(minutes=1))
    journey.take_up("run-2")
    assert journey.step() == MakeLink(is_reminder=False)


def test_a_yes_that_was_recorded_for_the_old_organisation_is_lost(journey):
    journey.microsoft(OTHER_ENTRA)
    journey.take_up()
    journey.receive(f"{REDIRECT}?admin_consent=true&state={state_in(journey.ask())}")
    assert journey.standing().awaiting is Awaiting.PROPAGATION
    correct(journey, microsoft_tenant=ENTRA)
    assert journey.standing().awaiting is Awaiting.CONSENT
    assert [one["status"] for one in journey.rows("consents")] == ["lost"]


def test_a_permission_that_is_required_later_is_waited_for_and_shown_by_the_canary(journey):
    journey.control.set_microsoft_apps({"azure-app": {"scopes": SCOPES.split()}})
    journey.microsoft(ENTRA)
    journey.take_up()
    journey.consent()
    journey.wait()
    journey.let_go()
    more = f"{SCOPES} Contacts.Read"
    journey.control.set_microsoft_apps({"azure-app": {"scopes": more.split()}})
    correct(journey, microsoft_tenant=ENTRA, required=more)
    (again,) = journey.take_up("run-2")
    assert (again.awaiting, again.since) == (Awaiting.PROPAGATION, journey.now)
    journey.sleep(MICROSOFT.floor)
    found = journey.advance(run="run-2")
    assert found.probed.missing == ("Contacts.Read",)
    journey.control.give_consent(ENTRA, "azure-app")
    journey.wait(run="run-2")
    assert "Contacts.Read" in journey.rows("grants")[0]["scopes"]


@pytest.mark.parametrize("stage", ["all", "none"])
def test_what_a_probe_finds_for_the_old_settings_does_not_count_for_the_new_ones(journey, stage):
    """The row changes while the probe is under way, whose run then finds the hold free."""
    journey.control.set_propagation(stage=stage)
    journey.microsoft(ENTRA)
    journey.take_up()
    journey.consent()
    journey.sleep(MICROSOFT.deadline)
    if stage == "none":
        journey.control.set_switches(propagation_none="refuse")
    more = f"{SCOPES} Contacts.Read"

    class Meanwhile:
        def send(self, call):
            try:
                return journey.sender.send(call)
            finally:
                correct(journey, microsoft_tenant=ENTRA, required=more)

    with suppress(NotPropagated):
        journey.advance(through=Meanwhile())
    standing = journey.standing()
    assert (standing.awaiting, standing.since) == (Awaiting.PROPAGATION, None)
    assert [one["status"] for one in journey.rows("consents")] == ["given"]


def test_a_provider_that_is_corrected_does_not_wait_for_an_admin(journey):
    journey.microsoft(ENTRA)
    journey.take_up()
    journey.ask()
    correct(journey, provider=Provider.GOOGLE, microsoft_tenant="", scopes=MAIL, required=MAIL)
    (again,) = journey.take_up("run-2")
    assert again.awaiting is Awaiting.PROPAGATION
    assert [one["status"] for one in journey.rows("consents")] == ["expired"]
