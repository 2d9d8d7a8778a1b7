"""Tenants on their way to ready: asked, answered, probed; without Airflow."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import timedelta

import pytest

from bulkgrants.errors import Misconfigured, NotPropagated, Superseded
from bulkgrants.ledger import onboarding as steps
from bulkgrants.ledger.database import metadata
from bulkgrants.ledger.rights import answering, writing
from bulkgrants.ledger.tenants import record_credential
from bulkgrants.model import (
    Awaiting,
    ConsentStatus,
    CredentialType,
    Hold,
    Provider,
    RegisteredCredential,
    Stop,
)
from bulkgrants.nylas.calls import create_credential
from bulkgrants.onboarding.callback import Verdict
from bulkgrants.onboarding.links import key_id, state_key
from bulkgrants.onboarding.propagation import Ready, require_probable
from bulkgrants.onboarding.waiting import (
    AwaitAnswer,
    Declined,
    Given,
    MakeLink,
    needs_attention,
    step_of,
)
from bulkgrants.refusals import Actor, consent_error
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
    TERMS,
    Journey,
    contoso,
    state_in,
)

TENANTS = ["common", ENTRA, "contoso.example"]
ERRORS = {
    "declined": ("65004", Actor.DECLINED, "have them open a new consent link and accept"),
    "redirect_uri_mismatch": ("50011", Actor.SETUP, "as a redirect URI of the platform Web"),
    "user_not_in_tenant": ("50020", Actor.ADMIN, "sign in at a new link with an account"),
    "not_multi_tenant": ("50194", Actor.SETUP, "supports accounts in any organisation's directory"),
    "mfa_required": ("50076", Actor.ADMIN, "complete it, after setting it up"),
    "conditional_access": ("53003", Actor.ADMIN, "change the policy in the Azure portal"),
    "resource_missing": ("650052", Actor.ADMIN, "subscribe to that service"),
    "misconfigured": ("650056", Actor.SETUP, "application permission it needs, User.Read.All"),
    "application_not_in_tenant": ("700016", Actor.ADMIN, "under Enterprise applications"),
    "tenant_not_found": ("90002", Actor.SETUP, "Correct the tenant in the credential's"),
    "admin_required": ("90094", Actor.ADMIN, "who may consent for the whole tenant"),
}
SWITCHES = [
    {},
    {"consent_obstacle": "redirect"},
    {"consent_error_admin_consent": True},
    {"consent_error_uri": False},
    {"consent_error_code": True},
    {
        "consent_obstacle": "redirect",
        "consent_error_admin_consent": True,
        "consent_error_uri": False,
    },
]
OBSTACLES = {
    "tenant_not_found": lambda control: control.set_microsoft_tenants(
        domains={"contoso.example": None}, known=[]
    ),
    "application_not_in_tenant": lambda control: control.set_microsoft_apps({"*": None}),
    "redirect_uri_mismatch": lambda control: control.set_microsoft_apps(
        {"azure-app": {"callback_registered": False}}
    ),
    "not_multi_tenant": lambda control: control.set_microsoft_apps(
        {"azure-app": {"home_tenant": "elsewhere.example"}}
    ),
}


@pytest.fixture
def journey(sender, ledger):
    return Journey(ledger, sender)


def step(journey):
    return step_of(journey.ledger, journey.standing(), TERMS, journey.now)


def stop(journey, why):
    with writing(journey.ledger, Hold(APPLICATION, "contoso", "run-1"), journey.now) as write:
        steps.stop(write, why)


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
    assert step(journey) == MakeLink(is_reminder=False)
    asked = journey.ask()
    assert step(journey) == AwaitAnswer(START + timedelta(days=2))
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


@pytest.mark.parametrize("error", ["access_denied", "consent_required", "permission_denied"])
@pytest.mark.parametrize("entra", TENANTS)
def test_an_admins_no_is_recorded_and_ends_the_wait(journey, entra, error):
    journey.control.set_switches(consent_declined_error=error)
    journey.microsoft(entra)
    journey.take_up()
    received = journey.consent(approve=False)
    assert received.verdict is Verdict.REFUSED
    decided = step(journey)
    assert isinstance(decided, Declined)
    assert decided.error == received.error
    said = consent_error(error=received.error.error, description=received.error.error_description)
    assert (received.error.error, said.code, said.actor) == (error, "AADSTS65004", Actor.DECLINED)
    assert journey.standing().awaiting is Awaiting.CONSENT
    assert (journey.rows("grants"), journey.rows("probes")) == ([], [])


def refused(journey, **said):
    """Ask and be refused; returns the record, and what it means."""
    asked = journey.ask()
    location = journey.answer(asked, **said)
    return recorded_refusal(journey, asked, location)


@pytest.mark.parametrize("switches", SWITCHES)
def test_what_passes_at_microsoft_does_not_use_the_link_up(journey, switches):
    journey.control.set_switches(**switches)
    journey.microsoft(ENTRA)
    journey.take_up()
    asked = journey.ask()
    passed = journey.receive(journey.answer(asked, error="principal_exists"))
    assert (passed.verdict, passed.status) == (Verdict.PASSING, ConsentStatus.PENDING)
    assert isinstance(step(journey), AwaitAnswer)
    journey.receive(journey.answer(asked, approve=True, tenant="contoso.example"))
    journey.wait()
    assert journey.standing().awaiting is None


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
    assert step(journey) == MakeLink(is_reminder=False)
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
    made = journey.sender.send(
        create_credential(Provider.MICROSOFT, "anew", CredentialType.ADMIN_CONSENT, data)
    )
    record_credential(
        journey.ledger,
        RegisteredCredential(made.credential_id, "f", journey.now, None),
        application=APPLICATION,
        provider=Provider.MICROSOFT,
        name="shared",
        credential_type=CredentialType.ADMIN_CONSENT,
    )
    assert journey.receive(location).verdict is Verdict.MISMATCHED
    hold = Hold(APPLICATION, "contoso", "run-1")
    assert needs_attention(journey.ledger, hold, journey.now)
    assert step(journey) == MakeLink(is_reminder=True)
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
    assert isinstance(step(journey), AwaitAnswer)
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


def recorded_refusal(journey, asked, location):
    assert journey.receive(location).verdict is Verdict.REFUSED
    row = next(one for one in journey.rows("consents") if one["id"] == asked.consent_id)
    assert (row["status"], row["answered_at"]) == ("refused", journey.now)
    meaning = consent_error(
        error=row["error"], description=row["error_description"], code=row["error_code"]
    )
    return row, meaning


@pytest.mark.parametrize("name", ERRORS)
def test_each_refusal_is_recorded_with_its_four_fields_and_has_a_remedy(journey, name):
    number, actor, remedy = ERRORS[name]
    journey.microsoft(ENTRA)
    journey.take_up()
    for switches in SWITCHES:
        defaults = dict.fromkeys(("consent_error_admin_consent", "consent_error_code"), False)
        journey.control.set_switches(
            **{"consent_obstacle": "page", "consent_error_uri": True, **defaults}
        )
        journey.control.set_switches(**switches)
        row, meaning = refused(journey, error=name)
        assert row["error"]
        assert row["error_description"].startswith(f"AADSTS{number}: ")
        with_uri = switches.get("consent_error_uri", True)
        uri = f"https://login.microsoftonline.com/error?code={number}"
        assert row["error_uri"] == (uri if with_uri else ""), switches
        assert row["error_code"] == ("45002" if "consent_error_code" in switches else "")
        assert (meaning.code, meaning.actor) == (f"AADSTS{number}", actor), switches
        assert remedy in meaning.remedy
    assert journey.standing().awaiting is Awaiting.CONSENT
    assert isinstance(step(journey), Declined)


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_keeps_microsoft_from_asking_comes_back_or_is_shown_there(journey, name):
    """Shown, nothing comes back: the tenant waits on, and a reminder is due as ever."""
    number, _, remedy = ERRORS[name]
    journey.microsoft("common" if name == "not_multi_tenant" else ENTRA)
    journey.take_up()
    OBSTACLES[name](journey.control)
    shown = journey.open(journey.ask())
    assert (shown.status_code, f"AADSTS{number}" in shown.text) == (400, True)
    assert step(journey) == AwaitAnswer(START + timedelta(days=2))
    assert journey.rows("consents")[0]["status"] == "pending"
    journey.control.set_switches(consent_obstacle="redirect")
    asked = journey.ask()
    location = journey.open(asked).headers["location"]
    row, meaning = recorded_refusal(journey, asked, location)
    assert row["error_description"].startswith(f"AADSTS{number}: ")
    assert remedy in meaning.remedy


def test_the_admin_of_another_organisation_is_refused(journey):
    journey.microsoft(ENTRA)
    journey.take_up()
    row, meaning = refused(journey, approve=True, tenant="fabrikam.example")
    assert meaning.code == "AADSTS50020"
    assert row["admin_tenant"] == ""
    assert journey.control.consents() == []


def test_after_a_no_a_person_asks_again_and_the_tenant_gets_ready(journey):
    journey.microsoft()
    journey.take_up()
    journey.consent(approve=False)
    stop(journey, Stop.REFUSED)
    assert journey.take_up("run-2") == []
    journey.sleep(timedelta(days=3))
    (again,) = journey.take_up("manual", names=["contoso"])
    assert step_of(journey.ledger, again, TERMS, journey.now) == MakeLink(is_reminder=False)
    journey.consent("manual")
    journey.wait(run="manual")
    assert [one["status"] for one in journey.rows("consents")] == ["refused", "given"]


def test_an_older_link_is_as_good_as_its_reminder(journey):
    journey.microsoft()
    journey.take_up()
    older = journey.ask()
    journey.sleep(timedelta(days=2))
    assert step(journey) == MakeLink(is_reminder=True)
    newer = journey.ask()
    found = journey.standing()
    journey.open(newer)
    location = journey.answer(older, approve=True, tenant="contoso.example")
    assert journey.receive(location).verdict is Verdict.GIVEN
    assert [one["status"] for one in journey.rows("consents")] == ["given", "pending"]
    given_at = journey.now
    journey.sleep(timedelta(minutes=1))
    late = journey.receive(journey.reply(newer, approve=False))
    assert (late.verdict, late.status) == (Verdict.USED, ConsentStatus.GIVEN)
    assert [one["status"] for one in journey.rows("consents")] == ["given", "pending"]
    assert step_of(journey.ledger, found, TERMS, journey.now) == Given()
    assert journey.standing().since == given_at
    assert journey.wait()[0].until == given_at + MICROSOFT.floor
    assert journey.standing().awaiting is None


@pytest.mark.parametrize("stopped", [False, True])
def test_a_consent_that_comes_while_no_run_waits_is_not_lost(journey, stopped):
    """The run is long over; the next one finds the tenant a step further, and asks no admin."""
    journey.microsoft()
    journey.take_up()
    asked = journey.ask()
    journey.let_go()
    if stopped:
        stop(journey, Stop.EXPIRED)
    journey.sleep(timedelta(days=6))
    journey.receive(journey.answer(asked, approve=True, tenant="contoso.example"))
    given_at = journey.now
    journey.sleep(timedelta(minutes=4))
    (found,) = journey.take_up("run-2")
    assert (found.awaiting, found.since, found.stop) == (Awaiting.PROPAGATION, given_at, None)
    waits = journey.wait(run="run-2")
    assert waits[0].until == given_at + MICROSOFT.floor
    assert len(journey.rows("consents")) == 1


def test_a_page_that_never_came_may_be_loaded_again(journey):
    journey.microsoft()
    journey.take_up()
    location = journey.answer(journey.ask(), approve=True, tenant="contoso.example")
    first = journey.receive(location)
    journey.sleep(timedelta(minutes=1))
    again = journey.receive(location)
    assert (first.verdict, again.verdict) == (Verdict.GIVEN, Verdict.REPEATED)
    assert again.answered_at == first.answered_at == journey.standing().since


def test_a_link_that_ran_out_is_made_anew_and_the_old_one_is_worth_nothing(journey):
    journey.microsoft()
    journey.take_up()
    old = journey.ask()
    location = journey.answer(old, approve=True, tenant="contoso.example")
    journey.sleep(TERMS.link)
    assert step(journey) == MakeLink(is_reminder=True)
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
        step(journey)
    journey.sleep(timedelta(minutes=1))
    journey.take_up("run-2")
    assert step(journey) == MakeLink(is_reminder=False)


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


def forge(journey, run):
    """A yes that never was at Microsoft, to the newest link."""
    journey.receive(f"{REDIRECT}?admin_consent=true&state={state_in(journey.ask(run))}")


def worthless(journey, run):
    """Probe until the deadline; returns what is said then."""
    with pytest.raises(NotPropagated) as raised:
        journey.wait(run=run)
    return str(raised.value)


@pytest.mark.parametrize("missing", ["consent_missing", "application_not_in_tenant"])
def test_after_a_forged_yes_the_admin_is_asked_again_and_the_tenant_gets_ready(journey, missing):
    journey.control.set_switches(consent_missing_error=missing)
    journey.microsoft(ENTRA)
    journey.take_up()
    forge(journey, "run-1")
    assert "the next run of onboard_tenants makes a new link" in worthless(journey, "run-1")
    assert [one["status"] for one in journey.rows("consents")] == ["lost"]
    (again,) = journey.take_up("run-2")
    assert (again.awaiting, again.since, again.stop) == (Awaiting.CONSENT, journey.now, None)
    assert step(journey) == MakeLink(is_reminder=False)
    journey.consent("run-2")
    journey.wait(run="run-2")
    assert journey.standing().awaiting is None
    assert [one["status"] for one in journey.rows("consents")] == ["lost", "given"]


def test_the_yes_of_another_organisation_to_a_link_for_all_leads_back_to_the_admin(journey):
    journey.control.set_microsoft_tenants(
        domains={"contoso.example": ENTRA, "fabrikam.example": "fabrikam"}
    )
    journey.microsoft("common")
    journey.take_up()
    journey.consent(approve=True, tenant="fabrikam.example")
    worthless(journey, "run-1")
    journey.take_up("run-2")
    journey.consent("run-2")
    journey.wait(run="run-2")
    assert journey.standing().awaiting is None


def test_a_yes_to_an_older_link_counts_after_a_forged_one(journey):
    journey.microsoft(ENTRA)
    journey.take_up()
    older = journey.ask()
    forge(journey, "run-1")
    worthless(journey, "run-1")
    given = journey.receive(journey.answer(older, approve=True, tenant="contoso.example"))
    assert given.verdict is Verdict.GIVEN
    assert journey.standing().awaiting is Awaiting.PROPAGATION


def test_forged_answers_without_end_do_not_send_mail_without_end(journey):
    journey.microsoft(ENTRA)
    for number in range(1, steps.MOST_UNHONOURED):
        journey.take_up(f"run-{number}")
        forge(journey, f"run-{number}")
        assert "awaits its admin again" in worthless(journey, f"run-{number}")
    journey.take_up("last")
    forge(journey, "last")
    assert "trigger onboard_tenants with `tenants` set to contoso" in worthless(journey, "last")
    assert journey.standing().stop is Stop.UNHONOURED
    assert journey.take_up("run-9") == []
    assert len(journey.take_up("manual", names=["contoso"])) == 1
    journey.consent("manual")
    journey.wait(run="manual")
    assert journey.standing().awaiting is None


def test_a_run_that_lost_its_tenant_does_not_send_it_back(journey):
    journey.microsoft(ENTRA)
    journey.take_up()
    forge(journey, "run-1")
    journey.sleep(MICROSOFT.deadline)
    journey.take_up("manual", names=["contoso"])
    journey.sleep(MICROSOFT.deadline)
    with pytest.raises(Superseded):
        journey.advance()
    assert journey.standing().awaiting is Awaiting.PROPAGATION
    assert journey.rows("consents")[0]["status"] == "given"
