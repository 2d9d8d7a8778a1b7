"""What admins answer, and what becomes of it: a no, an error, a yes that is worth nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bulkgrants.errors import NotPropagated, Superseded
from bulkgrants.ledger import onboarding as steps
from bulkgrants.model import (
    Awaiting,
    ConsentStatus,
    Stop,
)
from bulkgrants.onboarding.callback import Verdict
from bulkgrants.onboarding.waiting import (
    AwaitAnswer,
    Declined,
    Given,
    MakeLink,
    step_of,
)
from bulkgrants.refusals import Actor, consent_error
from support.journeys import (
    ENTRA,
    MICROSOFT,
    REDIRECT,
    SCOPES,
    START,
    TENANTS,
    TERMS,
    state_in,
)

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


@pytest.mark.parametrize("error", ["access_denied", "consent_required", "permission_denied"])
@pytest.mark.parametrize("entra", TENANTS)
def test_an_admins_no_is_recorded_and_ends_the_wait(journey, entra, error):
    journey.control.set_switches(consent_declined_error=error)
    journey.microsoft(entra)
    journey.take_up()
    received = journey.consent(approve=False)
    assert received.verdict is Verdict.REFUSED
    decided = journey.step()
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


def recorded_refusal(journey, asked, location):
    assert journey.receive(location).verdict is Verdict.REFUSED
    row = next(one for one in journey.rows("consents") if one["id"] == asked.consent_id)
    assert (row["status"], row["answered_at"]) == ("refused", journey.now)
    meaning = consent_error(
        error=row["error"], description=row["error_description"], code=row["error_code"]
    )
    return row, meaning


@pytest.mark.parametrize("switches", SWITCHES)
def test_what_passes_at_microsoft_does_not_use_the_link_up(journey, switches):
    journey.control.set_switches(**switches)
    journey.microsoft(ENTRA)
    journey.take_up()
    asked = journey.ask()
    passed = journey.receive(journey.answer(asked, error="principal_exists"))
    assert (passed.verdict, passed.status) == (Verdict.PASSING, ConsentStatus.PENDING)
    assert isinstance(journey.step(), AwaitAnswer)
    journey.receive(journey.answer(asked, approve=True, tenant="contoso.example"))
    journey.wait()
    assert journey.standing().awaiting is None


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
    assert isinstance(journey.step(), Declined)


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_keeps_microsoft_from_asking_comes_back_or_is_shown_there(journey, name):
    """Shown, nothing comes back: the tenant waits on, and a reminder is due as ever."""
    number, _, remedy = ERRORS[name]
    journey.microsoft("common" if name == "not_multi_tenant" else ENTRA)
    journey.take_up()
    OBSTACLES[name](journey.control)
    shown = journey.open(journey.ask())
    assert (shown.status_code, f"AADSTS{number}" in shown.text) == (400, True)
    assert journey.step() == AwaitAnswer(START + timedelta(days=2))
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


def test_permissions_that_are_added_after_the_consent_come_by_the_same_link(journey):
    """As the sentence at the deadline says."""
    journey.control.set_microsoft_apps({"azure-app": {"scopes": ["User.Read.All"]}})
    journey.microsoft(ENTRA)
    journey.take_up()
    asked = journey.ask()
    journey.receive(journey.answer(asked, approve=True, tenant="contoso.example"))
    said = worthless(journey, "run-1")
    assert "have the admin open the same consent link again" in said
    assert "Then trigger onboard_tenants with `tenants` set to contoso" in said
    journey.control.set_microsoft_apps({"azure-app": {"scopes": SCOPES.split()}})
    again = journey.receive(journey.answer(asked, approve=True, tenant="contoso.example"))
    assert again.verdict is Verdict.REPEATED
    journey.take_up("manual", names=["contoso"])
    journey.wait(run="manual")
    assert journey.standing().awaiting is None


def test_after_a_no_a_person_asks_again_and_the_tenant_gets_ready(journey):
    journey.microsoft()
    journey.take_up()
    journey.consent(approve=False)
    journey.stop(Stop.REFUSED)
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
    assert journey.step() == MakeLink(is_reminder=True)
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


def test_a_page_that_never_came_may_be_loaded_again(journey):
    journey.microsoft()
    journey.take_up()
    location = journey.answer(journey.ask(), approve=True, tenant="contoso.example")
    first = journey.receive(location)
    journey.sleep(timedelta(minutes=1))
    again = journey.receive(location)
    assert (first.verdict, again.verdict) == (Verdict.GIVEN, Verdict.REPEATED)
    assert again.answered_at == first.answered_at == journey.standing().since


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
    assert journey.step() == MakeLink(is_reminder=False)
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
