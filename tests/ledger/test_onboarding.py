"""How far a tenant has come, and which run takes it there, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import chain
from threading import Event

import pytest
from sqlalchemy import update

from bulkgrants.errors import Misconfigured, Superseded
from bulkgrants.ledger import onboarding as steps
from bulkgrants.ledger.onboarding import CLAIM_TERM, Stop, read_onboarding
from bulkgrants.ledger.tables import tenants
from bulkgrants.ledger.tenants import quarantine, record_tenants
from bulkgrants.model import Awaiting, Provider, Tenant
from support.children import at_once
from support.ledgers import APPLICATION, NOW, rows

LATER = NOW + timedelta(hours=1)
OTHER = "another application"


def customer(name, provider=Provider.MICROSOFT, **changed):
    values = {
        "tenant": name,
        "provider": provider,
        "credential": "shared",
        "secret_conn_id": "azure",
        "scopes": "",
        "grace": timedelta(days=7),
        "enabled": True,
        "canary": f"nyla@{name}.example",
        "required": "User.Read.All",
    }
    return Tenant(**values | changed)


def listed(ledger, *customers, application=APPLICATION):
    known = [customer(one) if isinstance(one, str) else one for one in customers]
    with ledger.begin() as connection:
        record_tenants(connection, application, known)


def taken(ledger, run="run-1", now=NOW, names=(), limit=1000, application=APPLICATION):
    with ledger.begin() as connection:
        found = steps.take_up(connection, application, run, now, names=names, limit=limit)
    return [one.tenant for one in found]


def step(ledger, work, tenant="acme", *more):
    with ledger.begin() as connection:
        return work(connection, APPLICATION, tenant, *more)


def row(ledger, tenant="acme"):
    return next(one for one in rows(ledger, "tenants") if one["tenant"] == tenant)


def standing(ledger, tenant="acme"):
    found = row(ledger, tenant)
    return tuple(found[name] for name in ("awaiting", "awaiting_since", "stopped", "ready_at"))


def change(ledger, tenant="acme", **values):
    with ledger.begin() as connection:
        connection.execute(update(tenants).where(tenants.c.tenant == tenant).values(**values))


def test_a_tenant_is_taken_up_with_all_that_is_known_of_it(ledger):
    umbra = customer(
        "umbra", microsoft_tenant="umbra.example", consent_scopes="Mail.Send", azure_manifest="m"
    )
    listed(ledger, umbra)
    with ledger.begin() as connection:
        (found,) = steps.take_up(connection, APPLICATION, "run-1", NOW)
    assert found == read_onboarding(ledger, APPLICATION, "umbra")
    expected = {
        "application": APPLICATION,
        "tenant": "umbra",
        "provider": Provider.MICROSOFT,
        "credential": "shared",
        "secret_conn_id": "azure",
        "microsoft_tenant": "umbra.example",
        "canary": "nyla@umbra.example",
        "scopes": "",
        "required": "User.Read.All",
        "consent_scopes": "Mail.Send",
        "azure_manifest": "m",
        "awaiting": Awaiting.CONSENT,
        "since": NOW,
        "stop": None,
    }
    assert {name: getattr(found, name) for name in expected} == expected


def test_a_tenant_is_one_runs_until_that_has_been_silent_for_the_term(ledger):
    listed(ledger, "acme")
    assert taken(ledger) == ["acme"]
    last = NOW + CLAIM_TERM - timedelta(microseconds=1)
    assert taken(ledger, "run-2", last) == []
    assert taken(ledger, "run-2", NOW + CLAIM_TERM) == ["acme"]
    assert row(ledger)["claimed_by"] == "run-2"


def test_a_run_that_asks_twice_keeps_its_tenants_and_their_beginning(ledger):
    listed(ledger, "acme")
    assert taken(ledger) == taken(ledger, now=LATER) == ["acme"]
    assert row(ledger)["claimed_until"] == LATER + CLAIM_TERM
    assert read_onboarding(ledger, APPLICATION, "acme").since == NOW


def test_a_wait_that_another_run_takes_up_does_not_begin_anew(ledger):
    listed(ledger, "acme")
    taken(ledger)
    taken(ledger, "run-2", NOW + CLAIM_TERM)
    assert read_onboarding(ledger, APPLICATION, "acme").since == NOW


def test_a_sign_of_life_puts_the_term_off(ledger):
    listed(ledger, "acme")
    taken(ledger)
    step(ledger, steps.keep_claim, "acme", "run-1", LATER)
    assert taken(ledger, "run-2", NOW + CLAIM_TERM) == []
    assert taken(ledger, "run-2", LATER + CLAIM_TERM) == ["acme"]


@pytest.mark.parametrize("stopped", ["", Stop.EXPIRED])
def test_a_person_who_names_a_tenant_gets_it_and_its_wait_begins_anew(ledger, stopped):
    listed(ledger, "acme", "umbra")
    taken(ledger)
    change(ledger, stopped=stopped)
    assert taken(ledger, "manual", LATER, names=["acme", "unheard-of"]) == ["acme"]
    assert standing(ledger) == ("consent", LATER, "", None)
    assert row(ledger, "umbra")["claimed_by"] == "run-1"
    with pytest.raises(Superseded, match="acme is in the hands of another run"):
        step(ledger, steps.keep_claim, "acme", "run-1", LATER)
    step(ledger, steps.keep_claim, "acme", "manual", LATER)


def test_a_run_that_names_its_tenant_again_begins_nothing_anew(ledger):
    """A task that is tried again asks as it asked before."""
    listed(ledger, "acme")
    taken(ledger, "manual", names=["acme"])
    assert taken(ledger, "manual", LATER, names=["acme"]) == ["acme"]
    assert read_onboarding(ledger, APPLICATION, "acme").since == NOW


@pytest.mark.parametrize("why", Stop)
def test_a_stopped_tenant_rests_until_a_person_names_it(ledger, why):
    listed(ledger, "acme")
    taken(ledger)
    step(ledger, steps.stop, "acme", why)
    assert read_onboarding(ledger, APPLICATION, "acme").stop is why
    assert taken(ledger, "run-2", NOW + timedelta(days=365)) == []
    assert taken(ledger, "manual", LATER, names=["acme"]) == ["acme"]
    assert read_onboarding(ledger, APPLICATION, "acme").stop is None


def test_no_more_are_taken_than_were_asked_for_and_the_rest_comes_next(ledger):
    listed(ledger, *(f"t-{number}" for number in range(5)))
    assert taken(ledger, limit=2) == ["t-0", "t-1"]
    assert taken(ledger, "run-2", limit=2) == ["t-2", "t-3"]
    assert taken(ledger, "run-3") == ["t-4"]


def test_disabled_unlisted_ready_and_foreign_tenants_are_left_alone(ledger):
    listed(ledger, "gone")
    disabled = customer("disabled", enabled=False)
    listed(ledger, "ready", disabled, customer("plain", Provider.GOOGLE, canary=""))
    listed(ledger, "foreign", application=OTHER)
    change(ledger, "ready", awaiting=None)
    assert taken(ledger) == []
    names = ["gone", "disabled", "ready", "plain", "foreign"]
    assert taken(ledger, names=names) == []
    assert {one["claimed_by"] for one in rows(ledger, "tenants")} == {None}
    assert {one["awaiting_since"] for one in rows(ledger, "tenants")} == {None}
    assert taken(ledger, application=OTHER) == ["foreign"]


def test_a_google_tenant_with_a_canary_begins_with_its_propagation(ledger):
    listed(ledger, customer("acme", Provider.GOOGLE))
    assert taken(ledger) == ["acme"]
    assert standing(ledger) == ("propagation", NOW, "", None)


def test_a_claim_is_kept_by_its_run_alone(ledger):
    listed(ledger, "acme")
    taken(ledger)
    for tenant, run in (("acme", "run-2"), ("unheard-of", "run-1")):
        with pytest.raises(Superseded, match=f"The tenant {tenant} is in the hands"):
            step(ledger, steps.keep_claim, tenant, run, LATER)
    assert row(ledger)["claimed_until"] == NOW + CLAIM_TERM
    step(ledger, steps.keep_claim, "acme", "run-1", NOW + 3 * CLAIM_TERM)  # late, and nobody came


def test_a_tenant_that_is_let_go_is_free_at_once_and_keeps_its_beginning(ledger):
    listed(ledger, "acme")
    taken(ledger)
    step(ledger, steps.let_go, "acme", "run-2")
    assert taken(ledger, "run-2") == []
    step(ledger, steps.let_go, "acme", "run-1")
    assert taken(ledger, "run-2", LATER) == ["acme"]
    assert read_onboarding(ledger, APPLICATION, "acme").since == NOW


STANDINGS = {
    "consent": {"awaiting": "consent", "awaiting_since": NOW},
    "stopped": {"awaiting": "consent", "awaiting_since": NOW, "stopped": "expired"},
    "propagation": {"awaiting": "propagation", "awaiting_since": NOW},
    "ready": {"awaiting": None, "ready_at": NOW},
}
MOVES = {
    "consented": (steps.consented, (LATER,), ("propagation", LATER, "", None)),
    "stop": (steps.stop, (Stop.REFUSED,), ("consent", NOW, "refused", None)),
    "ready": (steps.ready, (LATER,), (None, None, "", LATER)),
    "lose": (steps.lose, (), ("consent", None, "", None)),
}
FITTING = {
    ("consented", "consent"),
    ("consented", "stopped"),
    ("stop", "consent"),
    ("stop", "stopped"),
    ("ready", "propagation"),
    ("lose", "ready"),
}


@pytest.mark.parametrize("before", STANDINGS)
@pytest.mark.parametrize("move", MOVES)
def test_each_step_is_taken_from_its_own_standing_only(ledger, move, before):
    listed(ledger, "acme", "other")
    for name in ("acme", "other"):
        change(ledger, name, claimed_by="run-1", claimed_until=LATER, **STANDINGS[before])
    untouched = row(ledger), row(ledger, "other")
    work, more, after = MOVES[move]
    step(ledger, work, "acme", *more)
    if (move, before) in FITTING:
        assert standing(ledger) == after
    else:
        assert row(ledger) == untouched[0]
    assert row(ledger, "other") == untouched[1]


def test_losing_tells_whether_the_tenant_was_ready_and_is_for_microsoft_alone(ledger):
    listed(ledger, "acme", customer("globex", Provider.GOOGLE, canary=""))
    assert not step(ledger, steps.lose, "acme")
    change(ledger, awaiting=None, ready_at=NOW)
    assert step(ledger, steps.lose, "acme")
    assert not step(ledger, steps.lose, "acme")
    assert not step(ledger, steps.lose, "globex")
    assert standing(ledger, "globex")[0] is None
    assert taken(ledger, now=LATER) == ["acme"]
    assert standing(ledger) == ("consent", LATER, "", None)


def test_a_stopped_tenant_is_nobodys(ledger):
    listed(ledger, "acme")
    taken(ledger)
    step(ledger, steps.stop, "acme", Stop.EXPIRED)
    assert (row(ledger)["claimed_by"], row(ledger)["claimed_until"]) == (None, None)


def test_being_ready_ends_a_quarantine(ledger):
    listed(ledger, "acme")
    change(ledger, awaiting="propagation", awaiting_since=NOW)
    with ledger.begin() as connection:
        quarantine(connection, APPLICATION, "acme", until=LATER, reason="no consent")
    step(ledger, steps.ready, "acme", LATER)
    found = row(ledger)
    assert (found["quarantined_until"], found["quarantine_reason"]) == (None, "")


def test_another_applications_tenant_of_the_same_name_takes_no_step(ledger):
    listed(ledger, "acme")
    listed(ledger, "acme", application=OTHER)
    taken(ledger)
    step(ledger, steps.consented, "acme", LATER)
    found = read_onboarding(ledger, OTHER, "acme")
    assert (found.awaiting, found.since) == (Awaiting.CONSENT, None)


def test_what_onboarding_has_reached_outlives_a_change_of_the_table(ledger):
    listed(ledger, "acme")
    taken(ledger)
    step(ledger, steps.consented, "acme", LATER)
    listed(ledger, customer("acme", canary="other@acme.example"))
    found = read_onboarding(ledger, APPLICATION, "acme")
    assert (found.awaiting, found.since) == (Awaiting.PROPAGATION, LATER)
    assert found.canary == "other@acme.example"
    assert row(ledger)["claimed_by"] == "run-1"


def test_a_tenant_that_the_ledger_lacks_is_a_clear_error(ledger):
    with pytest.raises(Misconfigured, match=r"knows no tenant 'acme'.*Set it back, or start"):
        read_onboarding(ledger, APPLICATION, "acme")


def grab(number, engine):
    """What one run gets, asking for some at a time until nothing is left to get."""
    return list(chain.from_iterable(iter(lambda: more(engine, f"run-{number}"), [])))


def more(engine, run):
    known = [one["tenant"] for one in rows(engine, "tenants") if one["claimed_by"] == run]
    return [name for name in taken(engine, run, limit=len(known) + 3) if name not in known]


def test_runs_that_ask_at_the_same_moment_never_get_the_same_tenant(ledger):
    names = [f"t-{number:02}" for number in range(30)]
    listed(ledger, *names)
    shares = at_once(grab, 4, ledger.url)
    everything = [name for share in shares for name in share]
    assert sorted(everything) == names
    holders = {one["tenant"]: one["claimed_by"] for one in rows(ledger, "tenants")}
    for number, share in enumerate(shares):
        assert all(holders[name] == f"run-{number}" for name in share)


def test_of_many_runs_that_want_all_at_once_one_gets_everything(ledger):
    names = [f"t-{number:02}" for number in range(20)]
    listed(ledger, *names)
    shares = at_once(lambda number, engine: taken(engine, f"run-{number}"), 4, ledger.url)
    assert sorted(map(len, shares)) == [0, 0, 0, 20]


def test_a_run_that_comes_while_another_is_taking_waits_and_gets_nothing(ledger):
    """The second one begins after the first has chosen and before it has committed."""
    listed(ledger, "acme")
    began = Event()

    def second():
        began.set()
        return taken(ledger, "run-2")

    with ThreadPoolExecutor(1) as pool:
        with ledger.begin() as connection:
            (first,) = steps.take_up(connection, APPLICATION, "run-1", NOW)
            late = pool.submit(second)
            assert began.wait(10)
            with pytest.raises(TimeoutError):
                late.result(0.3)
        assert late.result(30) == []
    assert first.tenant == "acme"
    assert row(ledger)["claimed_by"] == "run-1"


def test_of_two_people_who_name_a_tenant_at_once_the_later_one_has_it(ledger):
    listed(ledger, "acme", "umbra")
    at_once(
        lambda number, engine: taken(engine, f"run-{number}", names=["umbra", "acme"]),
        4,
        ledger.url,
    )
    (holder,) = {one["claimed_by"] for one in rows(ledger, "tenants")}
    step(ledger, steps.keep_claim, "acme", holder, LATER)
    for run in {f"run-{number}" for number in range(4)} - {holder}:
        with pytest.raises(Superseded):
            step(ledger, steps.keep_claim, "umbra", run, LATER)
