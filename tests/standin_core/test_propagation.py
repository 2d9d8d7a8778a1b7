"""Canaries probed at the stand-in until all is there, never is, or cannot be."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bulkgrants.errors import ApiKeyRefused, Misconfigured, NotPropagated, Superseded
from bulkgrants.ledger import onboarding as steps
from bulkgrants.ledger.rights import HOLD_TERM, claim_batch, writing
from bulkgrants.model import (
    Awaiting,
    ProbeOutcome,
)
from bulkgrants.onboarding import propagation
from bulkgrants.onboarding.propagation import ProbeAgain, Ready, why_it_waits
from bulkgrants.refusals import Refusal, recorded_refusal
from support.journeys import (
    APPLICATION,
    CALENDAR,
    CANARY,
    CUSTOM,
    GOOGLE,
    MAIL,
    MICROSOFT,
    ROBOT,
    SCOPES,
    START,
    contoso,
    custom_calls,
)
from support.ledgers import opened, put

SOME = "Mail.Send User.Read.All"
REST = "Calendars.ReadWrite Mail.ReadWrite"

HOPELESS = {
    "client_secret_invalid": "Put the secret's value, not its id, into the credential's Airflow",
    "client_secret_expired": "Make a new client secret of the Azure app in the Azure portal",
    "tenant_not_found": "Correct the tenant in the credential's Airflow connection",
    "grant_type_on_common": "Put the tenant's id into the credential's Airflow connection",
    "mailbox_not_enabled": "restore the mailbox in Exchange Online",
}
HOPELESS_AT_GOOGLE = {
    "invalid_jwt_signature": "Make a new key of the service account in Google Cloud",
    "invalid_jwt": "Make a new key of the service account in Google Cloud",
    "unknown_mailbox": "restore the mailbox, or correct it in the roster",
    "not_a_valid_email": "restore the mailbox, or correct it in the roster",
}
WAITED_FOR = {
    "consent_missing": "Have an admin of the tenant open a new consent link and accept",
    "application_not_in_tenant": "enable the app in the Azure portal under Enterprise",
    "insufficient_privileges": "add the application permission to the Azure app",
}
WAITED_FOR_AT_GOOGLE = {
    "unauthorized_client": "Manage domain wide delegation",
    "access_denied": "Manage domain wide delegation",
}
UNSERVED = {
    "internal_failure": {"kind": "mailbox_error", "error": "internal_failure"},
    "nylas_429": {"kind": "nylas_429"},
    "provider_429": {"kind": "provider_429"},
    "empty_502": {"kind": "empty_502"},
    "server_error": {"kind": "server_error"},
    "malformed_json": {"kind": "malformed_json"},
    "cut_body": {"kind": "cut_body"},
    "reset_before_commit": {"kind": "reset_before_commit"},
    "reset_after_commit": {"kind": "reset_after_commit"},
}


def refuse(journey, name):
    journey.control.add_fault("mailbox_error", error=name, match=CUSTOM)


def test_scopes_arrive_in_three_steps_and_each_is_seen(consented):
    consented.control.set_switches(propagation_none="refuse")
    consented.control.set_propagation(delay=3600, some_after=900, some=SOME.split())
    waits = consented.wait()
    seen = [(one.probed.outcome, one.probed.missing) for one in waits if one.probed]
    assert list(dict.fromkeys(seen)) == [
        (ProbeOutcome.REFUSED, tuple(SCOPES.split())),
        (ProbeOutcome.PARTIAL, tuple(REST.split())),
    ]
    assert consented.outcomes() == [
        *((outcome, " ".join(missing)) for outcome, missing in seen),
        ("granted", ""),
    ]
    assert "AADSTS65001" in consented.rows("probes")[0]["message"]
    assert len({one["email"] for one in consented.rows("probes")}) == 1
    assert timedelta(hours=1) <= consented.now - START < timedelta(hours=1.3)
    assert consented.rows("grants")[0]["scopes"] == SCOPES
    assert len(consented.grants()) == 1


def test_a_grant_that_has_no_scope_yet_is_partial_and_ours(probing):
    probing.control.set_propagation(stage="none")
    found = probing.advance()
    assert found.probed.outcome is ProbeOutcome.PARTIAL
    assert found.probed.missing == tuple(SCOPES.split())
    (grant,) = probing.rows("grants")
    assert (grant["scopes"], grant["owned"], grant["tenant"]) == ("", True, "contoso")


def test_nothing_is_asked_before_the_floor_is_over(consented):
    for _ in range(5):
        assert consented.advance() == ProbeAgain(START + MICROSOFT.floor, None)
        consented.sleep(timedelta(seconds=59))
    assert (custom_calls(consented), consented.outcomes()) == (0, [])


def test_more_scopes_than_are_required_are_no_matter(journey):
    journey.microsoft(required="user.read.all")
    journey.take_up()
    journey.consent()
    journey.wait()
    assert journey.rows("grants")[0]["scopes"] == SCOPES


@pytest.mark.parametrize(
    ("stage", "none", "missing", "remedy"),
    [
        ("none", "empty", SCOPES, "Add them to the Azure app as application permissions"),
        ("none", "refuse", SCOPES, "Have an admin of the tenant open a new consent link"),
        ("some", "empty", REST, "Add them to the Azure app as application permissions"),
    ],
)
def test_scopes_that_never_arrive_are_named_at_the_deadline(
    consented, stage, none, missing, remedy
):
    consented.control.set_switches(propagation_none=none)
    consented.control.set_propagation(stage=stage, some=SOME.split())
    with pytest.raises(NotPropagated) as raised:
        consented.wait()
    names = ", ".join(missing.split())
    assert str(raised.value).startswith(
        "The tenant contoso is not ready 2 h after its consent: "
        f"the grant of its canary {CANARY} lacks {names}. "
    )
    assert remedy in str(raised.value)
    assert consented.now == START + MICROSOFT.deadline
    probes = consented.rows("probes")
    assert [one for one in probes if one["at"] >= START + MICROSOFT.deadline] == probes[-1:]
    back = none == "refuse"
    assert consented.standing().awaiting is (Awaiting.CONSENT if back else Awaiting.PROPAGATION)


def test_after_the_deadline_a_later_run_may_still_find_it_ready(consented):
    consented.control.set_propagation(stage="none")
    with pytest.raises(NotPropagated):
        consented.wait()
    consented.sleep(HOLD_TERM)
    assert [one.tenant for one in consented.take_up("run-2")] == ["contoso"]
    before = custom_calls(consented)
    with pytest.raises(NotPropagated):
        consented.advance(run="run-2")
    assert custom_calls(consented) == before + 1
    consented.control.set_propagation(stage="all")
    assert consented.advance(run="run-2") == Ready()


def hopeless(journey, name, tenant="contoso", pace=MICROSOFT):
    refuse(journey, name)
    with pytest.raises(Misconfigured, match="waiting will not change that") as raised:
        journey.advance(tenant, pace)
    assert journey.rows("grants") == []
    assert [outcome for outcome, _ in journey.outcomes()] == ["refused"]
    journey.control.clear_faults()
    assert journey.standing(tenant).awaiting is Awaiting.PROPAGATION
    return str(raised.value)


@pytest.mark.parametrize("name", HOPELESS)
def test_what_no_waiting_mends_is_told_at_once_with_its_remedy(probing, name):
    said = hopeless(probing, name)
    assert said.startswith(f"The canary {CANARY} of the tenant contoso was refused")
    assert HOPELESS[name] in said
    assert ("in the column `canary`" in said) == (name == "mailbox_not_enabled")
    assert probing.advance() == Ready()


@pytest.mark.parametrize("name", HOPELESS_AT_GOOGLE)
def test_what_no_waiting_mends_at_google_is_told_at_once_too(delegated, name):
    said = hopeless(delegated, name, "acme", GOOGLE)
    assert HOPELESS_AT_GOOGLE[name] in said
    assert ("in the column `canary`" in said) == ("mail" in name)
    delegated.control.set_delegations({ROBOT: None})
    assert delegated.advance("acme", GOOGLE) == Ready()


def waited_for(journey, name, remedy, tenant="contoso", pace=MICROSOFT):
    refuse(journey, name)
    found = journey.advance(tenant, pace)
    assert isinstance(found, ProbeAgain)
    assert found.probed.outcome is ProbeOutcome.REFUSED
    assert found.probed.known.refusal not in propagation.HOPELESS
    assert remedy in found.probed.known.remedy
    probe = journey.rows("probes")[0]
    assert probe["message"] == found.probed.message
    assert recorded_refusal(probe["reason"], probe["code"]) == found.probed.known
    with pytest.raises(NotPropagated) as raised:
        journey.wait(tenant, pace)
    for scope in journey.standing(tenant).required.split():
        assert scope in str(raised.value)
    assert remedy in str(raised.value)
    journey.control.clear_faults()


@pytest.mark.parametrize("name", WAITED_FOR)
def test_what_time_may_mend_is_waited_for_and_has_a_remedy_at_the_end(probing, name):
    waited_for(probing, name, WAITED_FOR[name])
    assert probing.standing().awaiting is Awaiting.CONSENT


@pytest.mark.parametrize("name", WAITED_FOR_AT_GOOGLE)
def test_what_time_may_mend_at_google_is_waited_for_too(delegated, name):
    waited_for(delegated, name, WAITED_FOR_AT_GOOGLE[name], "acme", GOOGLE)
    assert delegated.standing("acme").awaiting is Awaiting.PROPAGATION


def why(journey, again, tenant="contoso", pace=MICROSOFT):
    return why_it_waits(journey.standing(tenant), again, pace)


def test_each_wait_says_what_it_waits_for_and_until_when(consented):
    consented.control.set_switches(propagation_none="refuse")
    consented.control.set_propagation(delay=3600, some_after=900, some=SOME.split())
    end = "the wait ends at 2026-03-01 04:00:00 UTC."
    said = why(consented, consented.advance())
    assert said == (
        "The tenant contoso awaits propagation: a probe right after the consent would come too "
        f"early. The next probe is due at 2026-03-01 02:05:00 UTC; {end}"
    )
    consented.sleep(MICROSOFT.floor)
    for _ in range(3):
        said = why(consented, consented.advance())
        assert said.startswith(
            f"The tenant contoso awaits propagation: the grant of its canary {CANARY} lacks "
            f"{', '.join(SCOPES.split())}. No admin of the tenant has consented"
        ), said
        assert "new consent link" not in said  # there is none while the tenant awaits propagation
        assert said.endswith(end)
        consented.sleep(timedelta(minutes=1))
    consented.sleep(timedelta(minutes=15))
    said = why(consented, consented.advance())
    assert f"lacks {', '.join(REST.split())}. The next probe is due at" in said
    consented.control.add_fault("empty_502", match=CUSTOM, times=1)
    said = why(consented, consented.advance())
    assert "awaits propagation: its canary's last probe was not answered. (" in said


@pytest.mark.parametrize("name", UNSERVED)
def test_a_probe_that_is_not_answered_is_no_verdict(probing, name):
    probing.control.add_fault(**UNSERVED[name], match=CUSTOM, times=1)
    found = probing.advance()
    assert isinstance(found, ProbeAgain)
    assert (found.probed.outcome, found.probed.known) == (ProbeOutcome.UNSERVED, None)
    assert found.until > probing.now
    assert probing.rows("grants") == []
    there = probing.grants().get(CANARY)
    assert (there is not None) == (name in {"reset_after_commit", "cut_body"})
    probing.wait()
    assert [outcome for outcome, _ in probing.outcomes()] == ["unserved", "granted"]
    (grant,) = probing.rows("grants")
    assert grant["grant_id"] == probing.grants()[CANARY]["id"]
    assert there is None or grant["grant_id"] == there["id"]


@pytest.mark.parametrize("name", UNSERVED)
def test_at_the_deadline_silence_is_not_called_a_refusal(probing, name):
    probing.control.add_fault(**UNSERVED[name], match=CUSTOM)
    probing.sleep(MICROSOFT.deadline - MICROSOFT.floor)
    with pytest.raises(NotPropagated) as raised:
        probing.advance()
    said = str(raised.value)
    assert "no probe was answered, so it is unknown whether" in said
    assert f"carries {', '.join(SCOPES.split())}" in said
    assert "trigger onboard_tenants with `tenants` set to contoso, which begins the wait" in said
    assert "lacks" not in said
    probing.control.clear_faults()
    (again,) = probing.take_up("manual", names=["contoso"])
    assert again.since == probing.now
    assert probing.wait(run="manual")[0].until == probing.now
    assert probing.standing().awaiting is None


@pytest.mark.parametrize("refused", [True, False])
def test_a_last_probe_without_an_answer_hides_nothing_that_was_seen_before(probing, refused):
    if refused:
        refuse(probing, "insufficient_privileges")
    probing.control.set_propagation(stage="some", some=SOME.split())
    probing.advance()
    probing.control.clear_faults()
    probing.control.add_fault("empty_502", match=CUSTOM)
    with pytest.raises(NotPropagated, match="as the last answered probe shows") as raised:
        probing.wait()
    said = str(raised.value)
    assert f"lacks {', '.join((SCOPES if refused else REST).split())}, as" in said
    assert ("add the application permission" if refused else "Add them to the Azure app") in said
    assert ("asks the canary once more; if it says the same" in said) is refused
    probing.control.clear_faults()
    probing.control.set_switches(propagation_none="refuse")
    probing.control.set_propagation(stage="none" if refused else "all")
    probing.let_go()
    probing.take_up("run-2")
    if not refused:
        assert probing.advance(run="run-2") == Ready()
        return
    with pytest.raises(NotPropagated, match="the next run of onboard_tenants makes a new link"):
        probing.advance(run="run-2")
    assert probing.standing().awaiting is Awaiting.CONSENT


def test_what_an_earlier_wait_saw_is_not_taken_for_this_one(probing):
    probing.control.set_propagation(stage="none")
    probing.advance()
    probing.sleep(timedelta(hours=1))
    probing.take_up("manual", names=["contoso"])
    probing.control.add_fault("empty_502", match=CUSTOM)
    with pytest.raises(NotPropagated, match="no probe was answered"):
        probing.wait(run="manual")


@pytest.mark.parametrize("kind", ["nylas_429", "provider_429"])
def test_who_asks_for_rest_gets_it(probing, kind):
    probing.control.add_fault(kind, retry_after=1200, match=CUSTOM, times=1)
    found = probing.advance()
    assert found.until == probing.now + timedelta(minutes=20)


def test_a_refused_api_key_ends_the_probe_and_is_no_word_on_the_tenant(probing):
    probing.control.add_fault("unauthorized", match=CUSTOM, times=1)
    with pytest.raises(ApiKeyRefused, match="check the key and the region"):
        probing.advance()
    assert (probing.outcomes(), probing.standing().awaiting) == ([], Awaiting.PROPAGATION)
    assert probing.advance() == Ready()


def test_the_number_that_explains_is_found_behind_long_words_of_nylas(probing):
    said = {"error": "invalid_request", "error_description": "AADSTS700016: " + "no " * 70}
    error = {"status": 400, "type": "api.x", "message": "so " * 70, "provider_error": said}
    probing.control.add_fault("error", error=error, match=CUSTOM, times=1)
    found = probing.advance()
    assert found.probed.known.code == "AADSTS700016"
    assert "request id" in probing.rows("probes")[0]["message"]


def test_a_refusal_that_is_not_in_the_table_is_waited_for_and_has_a_sentence(probing):
    said = {"error": "brand_new"}
    error = {"status": 400, "type": "api.x", "message": "no", "provider_error": said}
    probing.control.add_fault("error", error=error, match=CUSTOM)
    assert probing.advance().probed.known.refusal is Refusal.OTHER
    with pytest.raises(NotPropagated, match="ask Nylas' support, quoting the request id"):
        probing.wait()


def test_a_google_tenant_is_probed_at_once_and_until_its_delegation_is_there(delegated):
    since = delegated.now
    found = delegated.advance("acme", GOOGLE)
    assert (found.probed.outcome, found.probed.known.refusal) == (
        ProbeOutcome.REFUSED,
        Refusal.DELEGATION_MISSING,
    )
    assert found.until == since + timedelta(seconds=10)
    for there, hours in (([MAIL], 5), ([MAIL, CALENDAR], 11)):
        while delegated.now < since + timedelta(hours=hours):
            delegated.sleep(found.until - delegated.now)
            found = delegated.advance("acme", GOOGLE)
            assert found.probed.outcome is ProbeOutcome.REFUSED
        delegated.control.set_delegations({ROBOT: there})
    delegated.wait("acme", GOOGLE)
    assert delegated.standing("acme").awaiting is None
    (grant,) = delegated.rows("grants")
    assert (grant["tenant"], grant["scopes"]) == ("acme", f"{CALENDAR} {MAIL}")


def test_a_delegation_that_never_comes_is_told_after_a_day(delegated):
    with pytest.raises(NotPropagated, match=r"24 h after the first probe: .* lacks") as raised:
        delegated.wait("acme", GOOGLE)
    assert f"{CALENDAR}, {MAIL}" in str(raised.value)
    assert "Manage domain wide delegation" in str(raised.value)
    assert len(delegated.outcomes()) < 150


class Doing:
    """A sender beside which something happens, once an authentication has done its work."""

    def __init__(self, sender, after):
        self.sender, self.after = sender, after

    def send(self, call):
        try:
            return self.sender.send(call)
        finally:
            if call.path == CUSTOM["path"]:
                self.after()


class DiedError(Exception):
    """The end of a process."""


def die():
    raise DiedError


def test_dying_between_the_call_and_the_record_loses_nothing(probing):
    with pytest.raises(DiedError):
        probing.advance(through=Doing(probing.sender, die))
    made = probing.grants()[CANARY]["id"]
    assert (probing.outcomes(), probing.rows("grants")) == ([], [])
    probing.sleep(timedelta(minutes=1))
    assert probing.advance() == Ready()
    assert [one["grant_id"] for one in probing.rows("grants")] == [made]
    assert len(probing.grants()) == 1


def written(journey):
    """All but who holds the tenant."""
    return journey.outcomes(), journey.rows("grants"), journey.standing().awaiting


def test_a_run_that_lost_its_tenant_sends_nothing_and_writes_nothing(probing):
    probing.take_up("manual", names=["contoso"])
    probing.sleep(MICROSOFT.floor)
    with pytest.raises(Superseded):
        probing.advance()
    assert custom_calls(probing) == 0
    assert written(probing) == ([], [], Awaiting.PROPAGATION)


@pytest.mark.parametrize("stage", ["all", "some"])
def test_a_run_that_loses_its_tenant_while_it_asks_writes_nothing(probing, stage):
    probing.control.set_propagation(stage=stage)
    overtaken = Doing(probing.sender, lambda: probing.take_up("manual", names=["contoso"]))
    with pytest.raises(Superseded):
        probing.advance(through=overtaken)
    assert written(probing) == ([], [], Awaiting.PROPAGATION)
    assert probing.rows("tenants")[0]["claimed_by"] == "manual"
    probing.control.set_propagation(stage="all")
    probing.wait(run="manual")
    assert probing.rows("grants")[0]["grant_id"] == probing.grants()[CANARY]["id"]


def test_a_run_that_loses_its_tenant_before_no_answer_comes_writes_nothing(probing):
    probing.control.add_fault("reset_after_commit", match=CUSTOM)
    overtaken = Doing(probing.sender, lambda: probing.take_up("manual", names=["contoso"]))
    with pytest.raises(Superseded):
        probing.advance(through=overtaken)
    assert written(probing) == ([], [], Awaiting.PROPAGATION)


def test_a_run_that_waits_keeps_its_tenant_longer_than_the_term(delegated):
    with pytest.raises(NotPropagated):
        delegated.wait("acme", GOOGLE)
    assert delegated.now - START > 2 * HOLD_TERM
    assert delegated.rows("tenants")[0]["claimed_by"] == "run-1"
    assert delegated.take_up("run-2") == []


def test_a_tenant_that_awaits_its_admin_is_never_called_ready(journey):
    journey.microsoft()
    journey.take_up()
    with pytest.raises(Superseded, match="awaits its admin's consent"):
        journey.advance()
    assert custom_calls(journey) == 0


def lose_consent(journey, *tenants):
    """What applying a batch does to a tenant whose consent is gone."""
    run = opened(journey.ledger, application=APPLICATION, now=journey.now)
    put(
        journey.ledger, "batches", {"run_id": run.run_id, "batch": 1, "first_seq": 1, "last_seq": 1}
    )
    claim = claim_batch(journey.ledger, run, 1, journey.now)
    with writing(journey.ledger, claim, journey.now) as write:
        return steps.lose_consent(write, tenants)


def test_a_lost_tenant_is_ready_again_only_by_a_new_consent_and_keeps_its_grant(probing):
    assert probing.advance() == Ready()
    (before,) = probing.rows("grants")
    assert lose_consent(probing, "contoso") == ["contoso"]
    probing.let_go()
    probing.take_up("run-2")
    with pytest.raises(Superseded):
        probing.advance(run="run-2")
    probing.consent("run-2")
    probing.wait(run="run-2")
    (after,) = probing.rows("grants")
    assert after["grant_id"] == before["grant_id"]


def test_without_a_canary_the_table_is_named(journey):
    journey.microsoft()
    journey.list(contoso(canary=""))
    journey.take_up()
    journey.consent()
    journey.sleep(MICROSOFT.floor)
    with pytest.raises(Misconfigured, match="does not name a canary; write the address of"):
        journey.advance()
    assert journey.outcomes() == []
