"""How far a tenant's onboarding is, and which run works on it, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from datetime import timedelta
from itertools import chain
from threading import Event
from urllib.parse import quote

import pytest
from sqlalchemy import event, select, update

from bulkgrants.errors import Misconfigured, Superseded
from bulkgrants.ledger import onboarding as steps
from bulkgrants.ledger.database import open_ledger
from bulkgrants.ledger.onboarding import read_onboarding
from bulkgrants.ledger.rights import HOLD_TERM, answering, claim_batch, release_hold, writing
from bulkgrants.ledger.tables import tenants
from bulkgrants.ledger.tenants import left_alone, record_credential, standings, write_settings
from bulkgrants.ledger.upgrade import upgrade
from bulkgrants.model import (
    Awaiting,
    CredentialType,
    Hold,
    Provider,
    RegisteredCredential,
    Stop,
    Tenant,
)
from bulkgrants.reconcile.report import close_run
from support.children import at_once
from support.ledgers import APPLICATION, NOW, opened, put, rows, wait_until_blocked

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
        write_settings(connection, application, known)


def taken(ledger, run="run-1", now=NOW, names=(), limit=1000, application=APPLICATION):
    table = the_list(ledger, application)
    found = steps.take_up(ledger, application, run, now, listed=table, names=names, limit=limit)
    return [one.tenant for one in found]


def the_list(ledger, application):
    """Record the tenants table."""
    renamed = {"required": "required_scopes"}
    return [
        Tenant(
            grace=timedelta(seconds=one["grace_seconds"]),
            provider=Provider(one["provider"]),
            **{
                field.name: one[renamed.get(field.name, field.name)]
                for field in fields(Tenant)
                if field.name not in {"grace", "provider"}
            },
        )
        for one in rows(ledger, "tenants")
        if one["application"] == application and one["listed"]
    ]


def held(ledger, tenant="acme", run="run-1", now=LATER):
    """A transaction in which the run may write for the tenant."""
    return writing(ledger, Hold(APPLICATION, tenant, run), now)


def keep(ledger, tenant, run, now):
    with held(ledger, tenant, run, now):
        pass


def consented(ledger):
    with answering(ledger) as connection:
        steps.consented(connection, APPLICATION, "acme", LATER)


def stop(ledger, why=Stop.REFUSED):
    with held(ledger) as write:
        steps.stop(write, why)


def ready(ledger):
    with held(ledger) as write:
        steps.ready(write)


def lose(ledger, *names):
    """Lose the tenants' consent as a batch of a new run does; returns those that were ready."""
    run = opened(ledger)
    spans = {"first_seq": 1, "last_seq": 1, "claim": 0}
    put(ledger, "batches", {"run_id": run.run_id, "batch": 1, **spans})
    with writing(ledger, claim_batch(ledger, run, 1, NOW), NOW) as write:
        lost = steps.lose_consent(write, names or ["acme"])
    close_run(ledger, run, NOW)
    return lost


def row(ledger, tenant="acme"):
    return next(one for one in rows(ledger, "tenants") if one["tenant"] == tenant)


def standing(ledger, tenant="acme"):
    found = row(ledger, tenant)
    return tuple(found[name] for name in ("awaiting", "awaiting_since", "stopped", "ready_at"))


def change(ledger, tenant="acme", **values):
    with ledger.begin() as connection:
        connection.execute(update(tenants).where(tenants.c.tenant == tenant).values(**values))


def test_a_tenant_is_taken_up_with_everything_that_is_known_about_it(ledger):
    umbra = customer(
        "umbra", microsoft_tenant="umbra.example", consent_scopes="Mail.Send", azure_manifest="m"
    )
    (found,) = steps.take_up(ledger, APPLICATION, "run-1", NOW, listed=[umbra])
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


def test_a_tenant_belongs_to_one_run_until_that_run_is_silent_for_the_term(ledger):
    listed(ledger, "acme")
    assert taken(ledger) == ["acme"]
    last = NOW + HOLD_TERM - timedelta(microseconds=1)
    assert taken(ledger, "run-2", last) == []
    assert taken(ledger, "run-2", NOW + HOLD_TERM) == ["acme"]
    assert row(ledger)["claimed_by"] == "run-2"


def test_a_run_that_asks_twice_keeps_its_tenants_and_the_start_of_their_wait(ledger):
    listed(ledger, "acme")
    assert taken(ledger) == taken(ledger, now=LATER) == ["acme"]
    assert row(ledger)["claimed_until"] == LATER + HOLD_TERM
    assert read_onboarding(ledger, APPLICATION, "acme").since == NOW


def test_a_wait_that_another_run_takes_up_does_not_start_over(ledger):
    listed(ledger, "acme")
    taken(ledger)
    taken(ledger, "run-2", NOW + HOLD_TERM)
    assert read_onboarding(ledger, APPLICATION, "acme").since == NOW


def test_renewing_the_hold_postpones_its_end(ledger):
    listed(ledger, "acme")
    taken(ledger)
    keep(ledger, "acme", "run-1", LATER)
    assert taken(ledger, "run-2", NOW + HOLD_TERM) == []
    assert taken(ledger, "run-2", LATER + HOLD_TERM) == ["acme"]


@pytest.mark.parametrize("stopped", ["", Stop.EXPIRED])
def test_a_person_who_names_a_tenant_gets_it_and_its_wait_starts_over(ledger, stopped):
    listed(ledger, "acme", "umbra")
    taken(ledger)
    change(ledger, stopped=stopped)
    assert taken(ledger, "manual", LATER, names=["acme", "unheard-of"]) == ["acme"]
    assert standing(ledger) == ("consent", LATER, "", None)
    assert row(ledger, "umbra")["claimed_by"] == "run-1"
    with pytest.raises(Superseded, match="Another run is now onboarding the tenant acme"):
        keep(ledger, "acme", "run-1", LATER)
    keep(ledger, "acme", "manual", LATER)


def test_a_run_that_names_its_tenant_again_does_not_start_its_wait_over(ledger):
    """A task that is retried makes the same request again."""
    listed(ledger, "acme")
    taken(ledger, "manual", names=["acme"])
    assert taken(ledger, "manual", LATER, names=["acme"]) == ["acme"]
    assert read_onboarding(ledger, APPLICATION, "acme").since == NOW


@pytest.mark.parametrize("why", Stop)
def test_a_stopped_tenant_rests_until_a_person_names_it(ledger, why):
    listed(ledger, "acme")
    taken(ledger)
    stop(ledger, why)
    assert read_onboarding(ledger, APPLICATION, "acme").stop is why
    assert taken(ledger, "run-2", NOW + timedelta(days=365)) == []
    assert taken(ledger, "manual", LATER, names=["acme"]) == ["acme"]
    assert read_onboarding(ledger, APPLICATION, "acme").stop is None


def test_only_as_many_tenants_are_taken_as_were_asked_for(ledger):
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


def test_only_the_run_that_holds_a_tenant_can_keep_it(ledger):
    listed(ledger, "acme")
    taken(ledger)
    for tenant, run in (("acme", "run-2"), ("unheard-of", "run-1")):
        with pytest.raises(Superseded, match=f"Another run is now onboarding the tenant {tenant}"):
            keep(ledger, tenant, run, LATER)
    assert row(ledger)["claimed_until"] == NOW + HOLD_TERM
    keep(ledger, "acme", "run-1", NOW + 3 * HOLD_TERM)  # late, but no other run came


def test_a_released_tenant_is_free_at_once_and_keeps_the_start_of_its_wait(ledger):
    listed(ledger, "acme")
    taken(ledger)
    release_hold(ledger, Hold(APPLICATION, "acme", "run-2"))
    assert taken(ledger, "run-2") == []
    release_hold(ledger, Hold(APPLICATION, "acme", "run-1"))
    assert taken(ledger, "run-2", LATER) == ["acme"]
    assert read_onboarding(ledger, APPLICATION, "acme").since == NOW


STANDINGS = {
    "consent": {"awaiting": "consent", "awaiting_since": NOW},
    "stopped": {"awaiting": "consent", "awaiting_since": NOW, "stopped": "expired"},
    "propagation": {"awaiting": "propagation", "awaiting_since": NOW},
    "ready": {"awaiting": None, "ready_at": NOW},
}
MOVES = {
    "consented": (consented, ("propagation", LATER, "", None)),
    "stop": (stop, ("consent", NOW, "refused", None)),
    "ready": (ready, (None, None, "", LATER)),
    "lose": (lose, ("consent", None, "", None)),
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
        change(
            ledger, name, claimed_by="run-1", claimed_until=LATER + HOLD_TERM, **STANDINGS[before]
        )
    untouched = row(ledger), row(ledger, "other")
    work, after = MOVES[move]
    work(ledger)
    if (move, before) in FITTING:
        assert standing(ledger) == after
    else:
        assert row(ledger) == untouched[0]
    assert row(ledger, "other") == untouched[1]


def test_losing_consent_returns_the_tenants_that_were_ready_and_is_for_microsoft_only(ledger):
    listed(ledger, "acme", customer("globex", Provider.GOOGLE, canary=""))
    assert lose(ledger, "acme") == []
    change(ledger, awaiting=None, ready_at=NOW)
    assert lose(ledger, "globex", "acme") == ["acme"]
    assert lose(ledger, "acme", "globex") == []
    assert standing(ledger, "globex")[0] is None
    assert taken(ledger, now=LATER) == ["acme"]
    assert standing(ledger) == ("consent", LATER, "", None)


def test_a_stopped_tenant_is_not_held_by_any_run(ledger):
    listed(ledger, "acme")
    taken(ledger)
    stop(ledger, Stop.EXPIRED)
    assert (row(ledger)["claimed_by"], row(ledger)["claimed_until"]) == (None, None)


def test_being_ready_ends_a_quarantine(ledger):
    listed(ledger, "acme")
    change(ledger, awaiting="propagation", awaiting_since=NOW)
    change(ledger, quarantined_until=LATER, quarantine_reason="no consent")
    ready(ledger)
    found = row(ledger)
    assert (found["quarantined_until"], found["quarantine_reason"]) == (None, "")


@pytest.mark.parametrize(("hours", "counts"), [(0, False), (6, True), (7, True), (13, False)])
def test_a_quarantine_ends_even_if_a_clock_was_far_ahead(ledger, hours, counts):
    listed(ledger, "acme")
    until = NOW + timedelta(hours=hours)
    change(ledger, quarantined_until=until, quarantine_reason="no delegation")
    quarantined, _ = left_alone(ledger, APPLICATION, NOW)
    assert ("acme" in quarantined) is counts
    with ledger.connect() as connection:
        assert standings(connection, APPLICATION)["acme"].is_quarantined(NOW) is counts


def test_another_applications_tenant_of_the_same_name_is_not_changed(ledger):
    listed(ledger, "acme")
    listed(ledger, "acme", application=OTHER)
    taken(ledger)
    consented(ledger)
    found = read_onboarding(ledger, OTHER, "acme")
    assert (found.awaiting, found.since) == (Awaiting.CONSENT, None)


def test_what_onboarding_has_reached_is_kept_when_the_table_changes(ledger):
    listed(ledger, "acme")
    taken(ledger)
    consented(ledger)
    listed(ledger, customer("acme", canary="other@acme.example"))
    found = read_onboarding(ledger, APPLICATION, "acme")
    assert (found.awaiting, found.since) == (Awaiting.PROPAGATION, LATER)
    assert found.canary == "other@acme.example"
    assert row(ledger)["claimed_by"] == "run-1"


def test_a_changed_row_begins_the_onboarding_anew_and_the_next_run_takes_it_up(ledger):
    listed(ledger, "acme", "other")
    taken(ledger)
    consented(ledger)
    ready(ledger)
    before = row(ledger, "other")
    more = customer("acme", required="Mail.Read User.Read.All")
    listed(ledger, more, "other")
    assert standing(ledger) == ("propagation", None, "", None)
    assert (row(ledger)["claimed_by"], row(ledger)["claimed_until"]) == (None, None)
    assert row(ledger, "other") == before
    listed(ledger, more, "other")
    assert taken(ledger, "run-2", LATER) == ["acme"]
    assert standing(ledger) == ("propagation", LATER, "", None)


def test_a_run_that_waits_notices_that_the_onboarding_began_anew(ledger):
    listed(ledger, customer("acme", microsoft_tenant="acme.example"))
    taken(ledger)
    hold = Hold(APPLICATION, "acme", "run-1")
    assert steps.hold_needs_attention(ledger, hold) == (False, NOW + HOLD_TERM)
    listed(ledger, customer("acme", microsoft_tenant="umbra.example"))
    assert steps.hold_needs_attention(ledger, hold)[0]


def test_a_tenant_that_the_ledger_does_not_know_is_a_clear_error(ledger):
    with pytest.raises(Misconfigured, match=r"not know the tenant 'acme'.*change it back, or"):
        read_onboarding(ledger, APPLICATION, "acme")


def grab(number, engine):
    """The tenants that one run gets if it asks for a few at a time until none are left."""
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


def test_if_many_runs_want_all_tenants_at_once_one_gets_them(ledger):
    names = [f"t-{number:02}" for number in range(20)]
    listed(ledger, *names)
    shares = at_once(lambda number, engine: taken(engine, f"run-{number}"), 4, ledger.url)
    assert sorted(map(len, shares)) == [0, 0, 0, 20]


def test_a_run_that_comes_while_another_is_taking_waits_and_gets_nothing(ledger):
    """The second run begins after the first has chosen and before it has committed."""
    listed(ledger, "acme")
    slow, chosen, go_on = open_ledger(ledger.url), Event(), Event()

    @event.listens_for(slow, "commit")
    def hesitate(_connection):
        chosen.set()
        assert go_on.wait(30)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(taken, slow, "run-1")
        assert chosen.wait(30)
        late = pool.submit(taken, ledger, "run-2")
        with pytest.raises(TimeoutError):
            late.result(0.3)
        go_on.set()
        assert late.result(30) == []
        assert first.result(30) == ["acme"]
    slow.dispose()
    assert row(ledger)["claimed_by"] == "run-1"


def register(ledger):
    record_credential(
        ledger,
        RegisteredCredential("cred-1", "f", NOW, None),
        application=APPLICATION,
        provider=Provider.MICROSOFT,
        name="shared",
        credential_type=CredentialType.ADMIN_CONSENT,
    )


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda ledger: listed(ledger, "zenith", "acme"), id="the table"),
        pytest.param(register, id="a credential"),
        pytest.param(lambda ledger: lose(ledger, "zenith", "acme"), id="lost consents"),
    ],
)
def test_whoever_writes_several_tenants_locks_them_by_name(postgres_url, write):
    # PostgreSQL may read the table as it lies, which is the order that a plain update locks in.
    as_it_lies = "-c enable_indexscan=off -c enable_bitmapscan=off"
    ledger = open_ledger(f"{postgres_url}&options={quote(as_it_lies)}")
    upgrade(ledger)
    listed(ledger, "acme", "zenith")
    for name in ("zenith", "acme"):  # what was written last lies last
        change(ledger, name, awaiting=None)
    acme = select(tenants.c.tenant).where(tenants.c.tenant == "acme").with_for_update()
    zenith = select(tenants.c.tenant).where(tenants.c.tenant == "zenith")
    with ThreadPoolExecutor(1) as thread, ledger.connect() as slow:
        slow.execute(acme)
        other = thread.submit(write, ledger)
        wait_until_blocked(ledger)
        assert slow.execute(zenith.with_for_update(skip_locked=True)).scalar() == "zenith"
        slow.rollback()
        other.result(timeout=30)
    ledger.dispose()


def test_if_two_people_name_a_tenant_at_once_the_later_one_gets_it(ledger):
    listed(ledger, "acme", "umbra")
    at_once(
        lambda number, engine: taken(engine, f"run-{number}", names=["umbra", "acme"]),
        4,
        ledger.url,
    )
    (holder,) = {one["claimed_by"] for one in rows(ledger, "tenants")}
    keep(ledger, "acme", holder, LATER)
    for run in {f"run-{number}" for number in range(4)} - {holder}:
        with pytest.raises(Superseded):
            keep(ledger, "umbra", run, LATER)
