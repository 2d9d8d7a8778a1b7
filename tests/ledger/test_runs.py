"""A run's record is used again until it is planned; after that it does not change."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from sqlalchemy import insert, update

from bulkgrants.errors import Misconfigured, Superseded
from bulkgrants.ledger import runs, tables
from bulkgrants.ledger.database import open_ledger
from bulkgrants.ledger.rights import writing
from bulkgrants.ledger.upgrade import upgrade
from bulkgrants.model import Mode, RunKind, Selection
from support.children import at_once, opened_alike
from support.ledgers import APPLICATION, NOW, lease_run, opened, rows, wait_until_blocked


def record(engine, key="night", application=APPLICATION) -> int:
    kind = RunKind.RECONCILE
    return runs.open_record(engine, application=application, key=key, kind=kind, now=NOW)


def note(engine, run_id, **values) -> None:
    """Write into the record of a run that may not hold the lease."""
    with engine.begin() as connection:
        connection.execute(update(tables.runs).where(tables.runs.c.id == run_id).values(**values))


def keys(engine) -> list[str]:
    return [row["key"] for row in sorted(rows(engine, "runs"), key=lambda row: row["id"])]


def test_a_record_is_used_again_until_it_is_planned(ledger):
    assert record(ledger) == record(ledger)
    assert keys(ledger) == ["night"]


@pytest.mark.parametrize("end", ["planned_at", "closed_at"])
def test_a_planned_or_closed_record_is_followed_by_a_numbered_one(ledger, end):
    first = record(ledger)
    note(ledger, first, **{end: NOW})
    second = record(ledger)
    assert second == record(ledger)
    note(ledger, second, **{end: NOW})
    third = record(ledger)
    assert len({first, second, third}) == 3
    assert keys(ledger) == ["night", "night #2", "night #3"]


def test_keys_with_the_same_beginning_are_different_runs(ledger):
    ids = {record(ledger, key) for key in ("night", "night 2", "n_ght", "night%", "night #x#")}
    ids.add(record(ledger, "night", "another application"))
    assert len(ids) == 6


def test_a_run_may_already_have_the_name_with_the_next_number(ledger):
    for key in ("night", "night #3"):
        note(ledger, record(ledger, key), planned_at=NOW)
    fresh = record(ledger)
    assert fresh == record(ledger)
    assert len(keys(ledger)) == 3


def test_a_run_that_another_process_is_opening_is_not_opened_twice(postgres_url):
    ledger = open_ledger(postgres_url)
    upgrade(ledger)
    with ThreadPoolExecutor(1) as thread, ledger.connect() as slow:
        first = slow.execute(
            insert(tables.runs)
            .values(
                application=APPLICATION,
                key="night",
                kind=RunKind.RECONCILE,
                mode=Mode.AUDIT,
                opened_at=NOW,
            )
            .returning(tables.runs.c.id)
        ).scalar_one()
        other = thread.submit(record, ledger)
        wait_until_blocked(ledger)
        slow.commit()
        assert other.result(timeout=30) == first
    ledger.dispose()


def test_processes_that_open_the_same_run_at_once_open_one(ledger):
    ids = at_once(opened_alike, 4, ledger.url)
    assert len(set(ids)) == 1
    assert keys(ledger) == ["the same"]


def test_a_run_is_read_as_it_was_admitted(ledger):
    selection = Selection(tenants=("acme", "umbrella"), mailbox="a@example.com")
    run = opened(ledger, mode=Mode.DRY_RUN, selection=selection, roster_date=date(2026, 3, 1))
    assert run == runs.read_run(ledger, run.run_id)
    assert (run.mode, run.roster_date) == (Mode.DRY_RUN, date(2026, 3, 1))
    assert run.selection == selection
    assert run.selection != Selection()
    assert opened(ledger).selection == Selection()


def test_a_run_of_another_ledger_is_an_error_for_a_person(ledger):
    with pytest.raises(Misconfigured, match="no run 77"):
        runs.read_run(ledger, 77)


@pytest.mark.parametrize("end", ["planned_at", "closed_at"])
def test_input_is_refused_once_the_run_is_planned_or_closed(ledger, end):
    run = lease_run(ledger)
    with writing(ledger, run, NOW) as write:
        runs.require_unplanned(write)
    note(ledger, run.run_id, **{end: NOW})
    with pytest.raises(Superseded, match="already planned"), writing(ledger, run, NOW) as write:
        runs.require_unplanned(write)


def test_the_newest_applied_roster_is_that_of_a_run_that_planned_to_apply(ledger):
    def newest():
        return runs.newest_applied(ledger, APPLICATION, date(2026, 3, 10))

    assert newest() is None
    days = [
        (date(2026, 3, 1), Mode.APPLY, NOW),
        (date(2026, 3, 2), Mode.APPLY, NOW),
        (date(2026, 3, 3), Mode.APPLY, None),
        (date(2026, 3, 4), Mode.DRY_RUN, NOW),
        (date(2026, 3, 5), Mode.AUDIT, NOW),
    ]
    for day, mode, planned_at in days:
        note(
            ledger,
            record(ledger, f"run for {day}"),
            roster_date=day,
            mode=mode,
            planned_at=planned_at,
        )
    other = record(ledger, "night", "another application")
    note(ledger, other, roster_date=date(2026, 3, 9), mode=Mode.APPLY, planned_at=NOW)
    assert newest() == date(2026, 3, 2)


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_a_roster_of_the_future_that_was_applied_by_mistake_does_not_make_all_others_old(ledger):
    for day in (date(2026, 3, 1), date(2062, 3, 1)):
        run_id = record(ledger, f"run for {day}")
        note(ledger, run_id, roster_date=day, mode=Mode.APPLY, planned_at=NOW)
    assert runs.newest_applied(ledger, APPLICATION, date(2026, 3, 2)) == date(2026, 3, 1)
