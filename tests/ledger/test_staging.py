"""A merged listing writes only what has changed, and ownership is lost with the id."""

import pytest
from sqlalchemy import event

from bulkgrants.errors import Superseded
from bulkgrants.ledger.rights import LEASE_TERM, writing
from bulkgrants.ledger.staging import drop_doubles, merge_listing
from support.ledgers import NOW, grant, granted, opened, put, rows

LATER = NOW + LEASE_TERM / 2


def staged(email: str, **changed) -> dict:
    left_out = ("owned", "tenant", "orphan_since", "gone_at")
    return {name: value for name, value in grant(email, **changed).items() if name not in left_out}


def merged(engine, *listed: dict, selection=None, now=NOW) -> int:
    """How many rows of `grants` the merge wrote."""
    run = opened(engine, selection=selection)
    written = 0

    def count(connection, cursor, statement, *_):
        nonlocal written
        if statement.startswith(("INSERT INTO grants", "UPDATE grants")):
            written += cursor.rowcount

    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM observed")
    if listed:
        put(engine, "observed", *listed)
    event.listen(engine, "after_cursor_execute", count)
    try:
        with writing(engine, run, now) as write:
            seen = merge_listing(write)
    finally:
        event.remove(engine, "after_cursor_execute", count)
    assert seen == len({(one["provider"], one["email"]) for one in listed})
    return written


def test_only_what_has_changed_is_written(ledger):
    listed = [staged(f"{letter}@example.com") for letter in "abcdef"]
    assert merged(ledger, *listed) == 6
    assert merged(ledger, *listed) == 0
    changes = [
        {"grant_id": "other"},
        {"status": "invalid"},
        {"scopes": "none"},
        {"credential_id": None},
        {"blocked": True},
        {"updated_at": 2},
    ]
    for number, changed in enumerate(changes):
        listed[number] |= changed
        assert merged(ledger, *listed) == 1, changed
        email = listed[number]["email"]
        assert granted(ledger)[email].items() >= changed.items()
    assert merged(ledger, *listed) == 0


def test_a_grant_that_is_not_in_the_listing_is_gone_until_it_comes_back(ledger):
    merged(ledger, staged("a@example.com"), staged("b@example.com"))
    put(ledger, "grants", grant("ours@example.com", owned=True, tenant="acme"))
    assert merged(ledger, staged("a@example.com")) == 2
    assert granted(ledger)["b@example.com"]["gone_at"] == NOW
    assert merged(ledger, staged("a@example.com"), now=LATER) == 0
    assert granted(ledger)["b@example.com"]["gone_at"] == NOW
    merged(ledger, *(staged(f"{name}@example.com") for name in ("a", "b", "ours")))
    assert {row["gone_at"] for row in granted(ledger).values()} == {None}
    assert granted(ledger)["ours@example.com"]["owned"]


def test_ownership_and_grace_stay_with_the_grant_id(ledger):
    for name in ("same", "other"):
        row = grant(f"{name}@example.com", owned=True, tenant="acme", orphan_since=NOW)
        put(ledger, "grants", row)
    merged(
        ledger,
        staged("same@example.com", status="invalid"),
        staged("other@example.com", grant_id="made by another client"),
    )
    found = granted(ledger)
    assert found["same@example.com"]["owned"]
    assert found["same@example.com"]["orphan_since"] == NOW
    assert not found["other@example.com"]["owned"]
    assert found["other@example.com"]["orphan_since"] is None


def test_another_application_keeps_what_it_has(ledger):
    put(ledger, "grants", grant("a@example.com", application="another"))
    put(ledger, "observed", staged("b@example.com", application="another"))
    run = opened(ledger)
    with writing(ledger, run, NOW) as write:
        assert merge_listing(write) == 0
    assert granted(ledger)["a@example.com"]["gone_at"] is None
    assert "b@example.com" not in granted(ledger)


def test_a_run_that_lost_its_lease_merges_nothing(ledger):
    late = opened(ledger, "late")
    put(ledger, "observed", staged("a@example.com"))
    opened(ledger, "heir", now=NOW + LEASE_TERM)
    with pytest.raises(Superseded), writing(ledger, late, NOW) as write:
        merge_listing(write)
    assert granted(ledger) == {}


def test_many_grants_that_are_staged_twice_cost_no_statement_each(ledger):
    """Once the order of a listing is seen to change, nearly all of it is read twice."""
    listed = [staged(f"user{number}@example.com") for number in range(300)]
    other = {**staged("user7@example.com"), "grant_id": "second", "updated_at": 9}
    run = opened(ledger)
    put(ledger, "observed", *listed, *listed, other)
    statements = []
    event.listen(ledger, "after_cursor_execute", lambda *args: statements.append(args[2]))
    with writing(ledger, run, NOW) as write:
        assert drop_doubles(write) == ["user7@example.com"]
    assert len(statements) < 20
    kept = rows(ledger, "observed")
    assert len(kept) == 300
    assert {row["grant_id"] for row in kept if row["email"] == "user7@example.com"} == {"second"}
