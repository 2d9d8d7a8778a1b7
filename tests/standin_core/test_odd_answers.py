"""Answers in any order: whatever came, what the page and the task say then leads to ready."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bulkgrants.ledger.database import metadata, open_ledger
from bulkgrants.ledger.upgrade import upgrade
from bulkgrants.model import Awaiting, ConsentStatus, CredentialType, Provider, Stop
from bulkgrants.onboarding.callback import Verdict
from bulkgrants.onboarding.waiting import AwaitAnswer, Declined, Expired, Given, MakeLink
from support.journeys import ENTRA, REDIRECT, TERMS, Journey, state_in

NO = "error=access_denied&error_description=AADSTS65004: no"
PASSING = "error=server_error&error_description=AADSTS90006: later"
ANSWERS = {
    "yes": "admin_consent=true",
    "no": NO,
    "passing": PASSING,
    "the right organisation": f"admin_consent=True&tenant={ENTRA}",
    "another organisation": "admin_consent=True&tenant=0b5f4f5e-0000-4000-8000-0000000000ff",
}
SAME_LINK = {Verdict.MISMATCHED, Verdict.PASSING}
"""The verdicts whose pages say that the same link can be opened again."""
DONE = {Verdict.GIVEN, Verdict.REPEATED, Verdict.USED}


@pytest.fixture
def small(sender, tmp_path):
    """Makes a journey that begins with nothing, on SQLite."""
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    upgrade(ledger)

    def begin():
        sender.control.reset()
        with ledger.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        return Journey(ledger, sender)

    yield begin
    ledger.dispose()


events = st.one_of(
    st.tuples(st.sampled_from([*ANSWERS]), st.sampled_from(["first", "second"])),
    st.sampled_from(["the links expire", "the credential is made anew", "a run looks"]),
)


def make_anew(journey):
    """Register the credential anew, for the same Azure app, which keeps its consents."""
    name = f"anew {len(journey.rows('former_credentials'))}"
    data = {"tenant": ENTRA, "client_id": "azure-app", "client_secret": name}
    journey.register(Provider.MICROSOFT, CredentialType.ADMIN_CONSENT, data, name)


def say(journey, link, answer):
    """What Microsoft does when it is given this answer, and what our page says of it."""
    if answer in {"yes", "the right organisation"}:
        journey.control.give_consent(ENTRA, "azure-app")
    return journey.receive(f"{REDIRECT}?{ANSWERS[answer]}&state={state_in(link)}")


def look(journey):
    """What the waiting task does: a no, or too long a silence, ends the wait."""
    standing = journey.standing()
    if standing.awaiting is Awaiting.CONSENT:
        step = journey.step()
        if isinstance(step, Declined | Expired):
            journey.stop(Stop.REFUSED if isinstance(step, Declined) else Stop.EXPIRED)


def require_a_way_out(journey, last, link, links):
    """Do what the last page and the task say; the tenant gets ready."""
    if last in SAME_LINK:
        assert say(journey, link, "yes").verdict is Verdict.GIVEN
    look(journey)
    run = "run-1"
    if journey.standing().stop is not None:  # the task has failed, and says so
        run = "manual"
        journey.take_up(run, names=["contoso"])
    if journey.standing().awaiting is Awaiting.CONSENT:
        match journey.step():
            case MakeLink():
                assert journey.consent(run).verdict is Verdict.GIVEN
            case AwaitAnswer():
                said = {say(journey, one, "yes").verdict for one in links}
                assert Verdict.GIVEN in said, "the task waits for a link that leads nowhere"
            case Given() | Declined() | Expired() as step:
                raise AssertionError(step)
    journey.wait(run=run)
    assert journey.standing().awaiting is None


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example([("yes", "second"), ("no", "first")])
@example([("no", "first"), ("yes", "second"), ("no", "first")])
@example([("another organisation", "first")])
@example([("yes", "first"), ("yes", "first"), ("no", "first")])
@example(["the links expire", ("yes", "first")])
@example(["the links expire"] * 4)
@example(["the credential is made anew", ("no", "first"), ("yes", "second")])
@example([("no", "first"), "a run looks", ("yes", "second")])
@given(st.lists(events, min_size=1, max_size=6))
def test_whatever_is_answered_what_is_said_leads_to_ready(small, happened):
    journey = small()
    journey.microsoft(ENTRA)
    journey.take_up()
    links = {"first": journey.ask(), "second": journey.ask()}
    last, link = None, None
    for one in happened:
        journey.sleep(timedelta(minutes=1))
        before = journey.standing().awaiting
        if one == "the links expire":
            journey.sleep(TERMS.link)
            last = None
        elif one == "the credential is made anew":
            make_anew(journey)
            last = None
        elif one == "a run looks":
            look(journey)
        else:
            answer, which = one
            link = links[which]
            received = say(journey, link, answer)
            last = received.verdict
            after = journey.standing().awaiting
            moved = before is Awaiting.CONSENT and after is Awaiting.PROPAGATION
            assert moved <= (last is Verdict.GIVEN)
            if last in SAME_LINK:
                assert received.status is ConsentStatus.PENDING
            if received.status is ConsentStatus.GIVEN:
                assert last in DONE
                assert after is not Awaiting.CONSENT
    require_a_way_out(journey, last, link, links.values())
