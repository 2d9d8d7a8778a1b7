"""A plan is complete or absent, the same for the same changes, and never made from lost input."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import event, insert

from bulkgrants.errors import Superseded, Unavailable
from bulkgrants.ledger import runs
from bulkgrants.ledger.database import open_ledger, reading
from bulkgrants.ledger.rights import LEASE_TERM, writing
from bulkgrants.ledger.tables import attempts
from bulkgrants.ledger.upgrade import upgrade
from bulkgrants.model import Mode, Plan
from bulkgrants.reconcile.plan import plan
from support.batches import plan_of
from support.ledgers import (
    NOW,
    entry,
    grant,
    granted,
    noted,
    opened,
    put,
    ready,
    rows,
    wait_until_blocked,
    with_tenants,
)


def people(count: int) -> list[tuple[str, str]]:
    return [("acme", f"user{number:05d}@example.com") for number in range(count)]


def planned(engine, run, batch_size=2000, now=NOW) -> Plan:
    return plan(engine, run, batch_size=batch_size, now=now)


MICROSOFT = ({"provider": "microsoft"}, {"provider": "microsoft"})


@pytest.mark.parametrize(
    ("wanted", "there", "label"),
    [
        ({}, {}, "unchanged"),
        ({}, None, "create"),
        ({}, {"gone_at": NOW}, "create"),
        ({}, {"status": "invalid"}, "renew"),
        ({}, {"scopes": "other"}, "rescope"),
        ({"scopes": ""}, {}, "rescope"),
        ({}, {"blocked": True}, "skip:grant_blocked"),
        ({}, {"credential_id": "cred-2"}, "skip:credential_differs"),
        ({}, {"credential_id": None}, "skip:credential_differs"),
        ({"credential_id": None}, {}, "skip:credential_not_registered"),
        ({"credential_id": None}, None, "skip:credential_not_registered"),
        (None, {"orphan_since": NOW - timedelta(days=8)}, "revoke"),
        (None, {}, "skip:in_grace"),
        (None, {"owned": False}, "foreign"),
        (MICROSOFT[0], MICROSOFT[1], "unchanged"),
        (MICROSOFT[0], MICROSOFT[1] | {"scopes": "other"}, "unchanged"),
        (MICROSOFT[0], MICROSOFT[1] | {"status": "invalid"}, "renew"),
        ({}, {"owned": False}, "unchanged"),
        ({}, {"tenant": "umbrella"}, "unchanged"),
    ],
)
def test_each_single_difference_is_seen_and_nothing_else_is(ledger, wanted, there, label):
    with_tenants(ledger, "acme")
    entries_ = [] if wanted is None else [entry("acme", "a@example.com", **wanted)]
    ours = {"owned": True, "tenant": "acme"}
    grants = [] if there is None else [grant("a@example.com", **ours | there)]
    made = plan_of(ledger, *entries_, grants=grants)
    sizes = {"entries": len(entries_), "rejected": 0, "unchanged": 0, "foreign": 0}
    assert made.counts == sizes | {label: 1}


def test_one_address_at_two_providers_is_two_mailboxes(ledger):
    made = plan_of(
        ledger,
        entry("acme", "a@example.com"),
        grants=[grant("a@example.com", provider="microsoft")],
    )
    assert (made.counts["create"], made.counts["foreign"]) == (1, 1)


def test_another_applications_roster_and_grants_are_not_compared(ledger):
    run = ready(ledger, opened(ledger), people(1))
    put(ledger, "entries", entry("acme", "b@example.com", application="another"))
    put(ledger, "grants", grant(people(1)[0][1], application="another", owned=True))
    put(
        ledger,
        "escrow",
        {
            "application": "another",
            "provider": "google",
            "email": people(1)[0][1],
            "tenant": "acme",
            "reason": "no",
            "refusals": 1,
            "first_refused_at": NOW,
            "due_at": None,
        },
    )
    assert planned(ledger, run).counts == {
        "create": 1,
        "entries": 1,
        "unchanged": 0,
        "foreign": 0,
        "rejected": 0,
    }


def test_a_second_call_returns_the_same_plan_whatever_has_changed_meanwhile(ledger):
    run = ready(ledger, opened(ledger), people(5))
    made = planned(ledger, run, batch_size=2)
    assert made.batches == (1, 2, 3)
    before = rows(ledger, "changes")
    with ledger.begin() as connection:
        connection.exec_driver_sql("DELETE FROM entries")
    assert planned(ledger, run, batch_size=1) == made
    assert rows(ledger, "changes") == before


@pytest.mark.parametrize("at", ["INSERT INTO batches", "UPDATE grants", "UPDATE runs"])
def test_a_plan_that_is_killed_leaves_nothing(ledger, at):
    put(ledger, "grants", grant("gone@example.com", owned=True, tenant="acme"))
    stale = granted(ledger)["gone@example.com"]
    run = ready(ledger, opened(ledger), people(5))

    class Killed(BaseException):
        pass

    def kill(connection, cursor, statement, *_) -> None:
        if statement.startswith(at):
            raise Killed

    event.listen(ledger, "after_cursor_execute", kill)
    with pytest.raises(Killed):
        planned(ledger, run)
    event.remove(ledger, "after_cursor_execute", kill)
    for table in ("changes", "skips", "batches"):
        assert rows(ledger, table) == []
    assert granted(ledger)["gone@example.com"] == stale
    assert planned(ledger, run).counts["create"] == 5


def test_more_candidates_than_fit_into_a_block_are_planned_in_order(ledger):
    run = ready(ledger, opened(ledger), people(4_500))
    made = planned(ledger, run, batch_size=1000)
    assert made.counts["create"] == 4_500
    assert made.batches == (1, 2, 3, 4, 5)
    changes = sorted(rows(ledger, "changes"), key=lambda row: row["seq"])
    assert [row["email"] for row in changes] == [email for _, email in people(4_500)]


def test_however_large_the_plan_it_has_at_most_a_thousand_batches(make_ledger):
    ledger = make_ledger()
    run = ready(ledger, opened(ledger), people(2_501))
    made = planned(ledger, run, batch_size=1)
    assert len(made.batches) <= 1_000
    spans = [(row["first_seq"], row["last_seq"]) for row in rows(ledger, "batches")]
    covered = [seq for first, last in sorted(spans) for seq in range(first, last + 1)]
    assert covered == list(range(1, 2_502))


@pytest.mark.parametrize("mode", [Mode.DRY_RUN, Mode.AUDIT])
def test_a_run_that_may_not_apply_has_the_same_plan_without_batches(ledger, mode):
    wet = plan_of(ledger, entry("acme", "a@example.com"))
    dry = plan_of(ledger, entry("acme", "a@example.com"), mode=mode, key="dry")
    assert (dry.fingerprint, dry.counts) == (wet.fingerprint, wet.counts)
    assert (wet.batches, dry.batches) == ((1,), ())


def test_the_fingerprint_depends_only_on_the_changes(ledger):
    one, two = entry("acme", "a@example.com"), entry("umbrella", "b@example.com")
    base = plan_of(ledger, one, two, key="base").fingerprint
    assert plan_of(ledger, two, one, key="turned").fingerprint == base
    unconcerned = [grant("foreign@example.com"), grant("c@example.com", owned=True)]
    assert plan_of(ledger, one, two, grants=unconcerned, key="skips").fingerprint == base
    invalid = grant("a@example.com", status="invalid")
    other = [
        plan_of(ledger, one),
        plan_of(ledger, one, two | {"email": "c@example.com"}),
        plan_of(ledger, one, two | {"tenant": "acme"}),
        plan_of(ledger, one, two | {"scopes": "other"}),
        plan_of(ledger, one, two | {"credential_id": "cred-2"}),
        plan_of(ledger, one, two | {"provider": "microsoft"}),
        plan_of(ledger, one, two, grants=[invalid]),
        plan_of(ledger, one, two, grants=[invalid | {"grant_id": "other"}]),
    ]
    prints = {base, *(made.fingerprint for made in other)}
    assert len(prints) == len(other) + 1


def test_no_choice_of_names_makes_two_plans_look_the_same(make_ledger):
    """The fingerprint is what a person approves, and tenants name themselves."""
    ledger = make_ledger()
    whole = plan_of(ledger, entry("acme\tx", "a@example.com", scopes="y"))
    split = plan_of(ledger, entry("acme", "a@example.com", scopes="x\ty"))
    assert whole.fingerprint != split.fingerprint


@pytest.mark.parametrize("lost", ["all", "one"])
def test_a_staged_roster_that_was_lost_is_never_read_as_an_empty_one(ledger, lost):
    put(ledger, "grants", *(grant(e, owned=True, tenant="acme") for _, e in people(3)))
    run = ready(ledger, opened(ledger), people(3))
    which = "" if lost == "all" else " WHERE email = 'user00001@example.com'"
    with ledger.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM entries{which}")
    with pytest.raises(Unavailable, match=r"incomplete \([02] of 3 entries\)"):
        planned(ledger, run)
    assert {row["orphan_since"] for row in granted(ledger).values()} == {None}
    assert rows(ledger, "skips") == []


@pytest.mark.parametrize("missing", ["entries", "observed"])
def test_a_run_without_roster_or_listing_is_not_planned(ledger, missing):
    run = ready(ledger, opened(ledger))
    run = noted(ledger, run, **{missing: None})
    with pytest.raises(Unavailable):
        planned(ledger, run)


def test_a_run_that_is_opened_again_does_not_plan_what_it_read_for_another_day(ledger):
    run = ready(ledger, opened(ledger, roster_date=NOW.date()), people(3))
    tomorrow = NOW + timedelta(days=1)
    again = opened(ledger, now=tomorrow, roster_date=tomorrow.date())
    assert (again.run_id, again.roster_date) == (run.run_id, tomorrow.date())
    with pytest.raises(Unavailable, match=r"has not read its roster .* clear the task that reads"):
        planned(ledger, again)
    assert rows(ledger, "changes") == []
    assert planned(ledger, ready(ledger, again, people(2))).counts["create"] == 2


def test_a_run_that_lost_its_lease_plans_nothing(ledger):
    late = ready(ledger, opened(ledger, "late"), people(3))
    opened(ledger, "heir", now=NOW + LEASE_TERM)
    with pytest.raises(Superseded):
        planned(ledger, late)
    assert rows(ledger, "changes") == rows(ledger, "batches") == []


def test_plans_and_readers_do_not_wait_for_each_other(ledger):
    """SQLite lets one process write, so a reader must not be treated as a writer."""
    run = ready(ledger, opened(ledger), people(3))
    with reading(ledger) as reader:
        reader.exec_driver_sql("SELECT count(*) FROM changes").scalar()
        planned(ledger, run)
    with ledger.begin() as writer:
        writer.exec_driver_sql("UPDATE runs SET kind = 'other'")
        assert runs.read_run(ledger, run.run_id).kind == "reconcile"


def test_planning_again_while_the_plan_is_applied_does_not_block_a_task_forever(postgres_url):
    """A task that writes holds the lease, and needs the run's record for its foreign keys."""
    ledger = open_ledger(postgres_url)
    upgrade(ledger)
    run = ready(ledger, opened(ledger), people(3))
    made = planned(ledger, run)
    attempt = {"run_id": run.run_id, "seq": 1, "number": 1, "claim": 1, "intended_at": NOW}
    with ThreadPoolExecutor(1) as thread:
        with writing(ledger, run, NOW) as task:
            again = thread.submit(planned, ledger, run)
            wait_until_blocked(ledger)
            task.connection.execute(insert(attempts).values(attempt))
        assert again.result(timeout=30) == made
    ledger.dispose()
