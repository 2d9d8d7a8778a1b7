"""A staged roster is complete: every row is an entry or a reject, on both databases."""

from datetime import timedelta

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, event, select, text

from bulkgrants.errors import Superseded, Unavailable
from bulkgrants.ledger.rights import writing
from bulkgrants.ledger.tables import entries, leases, rejects
from bulkgrants.model import Provider, Tenant
from bulkgrants.rosters.read import Staged, read_chunks, read_roster, stage_roster
from bulkgrants.rosters.warehouse import roster_source, tenants_source
from support.ledgers import NOW, entry, opened, put

CALENDAR = "https://www.googleapis.com/auth/calendar"
GMAIL = "https://www.googleapis.com/auth/gmail.readonly"
DAYS = timedelta(days=7)
TENANTS = {
    tenant.tenant: tenant
    for tenant in (
        Tenant("acme", Provider.GOOGLE, "acme-sa", "google_acme", CALENDAR, DAYS, enabled=True),
        Tenant("globex", Provider.GOOGLE, "globex-sa", "google_glob", CALENDAR, DAYS, enabled=True),
        Tenant("umbra", Provider.MICROSOFT, "umbra-ac", "azure_umbra", "", DAYS, enabled=True),
        Tenant("odd\t\\N\nname", Provider.GOOGLE, "acme-sa", "google_acme", CALENDAR, DAYS,
               enabled=True),
    )
}  # fmt: skip
IDS = {("google", "acme-sa"): "id-acme", ("microsoft", "umbra-ac"): "id-umbra"}


@pytest.fixture
def run(ledger):
    return new_run(ledger, "first")


def new_run(ledger, key, application="app"):
    """A run that follows the one before."""
    with ledger.begin() as connection:
        connection.execute(leases.delete().where(leases.c.application == application))
    return opened(ledger, key, application=application)


def row(tenant, email, **others):
    return {"tenant": tenant, "email": email, "scopes": None, "credential": None} | others


def chunks_of(rows, size):
    for start in range(0, len(rows), size):
        frame = pd.DataFrame(rows[start : start + size], dtype="object")
        yield frame.assign(row_number=range(start + 1, start + 1 + len(frame)))


def stage(ledger, run, *rows, size=2):
    return stage_chunks(ledger, run, chunks_of(rows, size))


def stage_chunks(ledger, run, chunks):
    with writing(ledger, run, NOW) as write:
        return stage_roster(write, chunks=chunks, tenants=TENANTS, credential_ids=IDS)


def kept(ledger, application="app"):
    with ledger.begin() as connection:
        chosen = select(entries).where(entries.c.application == application)
        return connection.execute(chosen.order_by(entries.c.row_number)).mappings().all()


def rejected(ledger, run):
    with ledger.begin() as connection:
        chosen = select(rejects).where(rejects.c.run_id == run.run_id)
        return connection.execute(chosen.order_by(rejects.c.row_number)).mappings().all()


def test_valid_rows_become_entries_and_others_rejects(ledger, run):
    staged = stage(
        ledger,
        run,
        row("acme", " Ann@acme.example.com"),
        row("nobody", "bob@acme.example.com"),
        row("umbra", "eve@umbra.example.com"),
        row("acme", "no address"),
        row("globex", "dan@globex.example.com", scopes=[GMAIL], credential="acme-sa"),
    )
    assert staged == Staged(entries=3, rejected=2, read=5)
    assert [dict(one) for one in kept(ledger)] == [
        {"application": "app", "provider": "google", "email": "ann@acme.example.com",
         "tenant": "acme", "scopes": CALENDAR, "credential_id": "id-acme", "row_number": 1},
        {"application": "app", "provider": "microsoft", "email": "eve@umbra.example.com",
         "tenant": "umbra", "scopes": "", "credential_id": "id-umbra", "row_number": 3},
        {"application": "app", "provider": "google", "email": "dan@globex.example.com",
         "tenant": "globex", "scopes": GMAIL, "credential_id": "id-acme", "row_number": 5},
    ]  # fmt: skip
    unknown, bad = rejected(ledger, run)
    assert (unknown["reason"], unknown["provider"], unknown["mailbox"], unknown["tenant"]) == (
        "unknown_tenant", None, "bob@acme.example.com", "nobody",
    )  # fmt: skip
    assert (bad["reason"], bad["provider"], bad["mailbox"], bad["email"]) == (
        "bad_address", "google", None, "no address",
    )  # fmt: skip


def test_a_row_without_a_readable_date_is_rejected_and_its_mailbox_is_left_alone(ledger, run):
    staged = stage(
        ledger,
        run,
        row("acme", "ann@acme.example.com", unreadable_date=None),
        row("acme", "Bob@acme.example.com", unreadable_date=""),
        row("nobody", "eve@acme.example.com", unreadable_date="5 Feb"),
        row("acme", "no address", unreadable_date="5 Feb"),
        row("acme", "Ann@acme.example.com", unreadable_date="5 Feb"),
        size=10,
    )
    assert staged == Staged(entries=1, rejected=4, read=5)
    assert [entry["email"] for entry in kept(ledger)] == ["ann@acme.example.com"]
    found = rejected(ledger, run)
    assert {reject["reason"] for reject in found} == {"unreadable_date"}
    assert [(reject["provider"], reject["mailbox"]) for reject in found] == [
        ("google", "bob@acme.example.com"), (None, "eve@acme.example.com"), ("google", None),
        ("google", "ann@acme.example.com"),
    ]  # fmt: skip
    assert "is empty" in found[0]["sentence"]
    assert '"5 Feb", which is not a day' in found[1]["sentence"]


def test_text_that_copy_would_misread_arrives_as_it_was(ledger, run):
    stage(ledger, run, row("odd\t\\N\nname", "ann@acme.example.com"), row("\\N", "\\."))
    assert [entry["tenant"] for entry in kept(ledger)] == ["odd\t\\N\nname"]
    [reject] = rejected(ledger, run)
    assert (reject["tenant"], reject["email"]) == ("\\N", "\\.")


def test_of_rows_that_say_the_same_the_first_is_kept(ledger, run):
    staged = stage(
        ledger,
        run,
        row("acme", "ann@acme.example.com"),
        row("acme", "ANN@acme.example.com", scopes=CALENDAR, credential="acme-sa"),
        row("acme", "bob@acme.example.com"),
        row("acme", " ann@ACME.example.com"),
    )
    assert staged == Staged(entries=2, rejected=2, read=4)
    assert [entry["row_number"] for entry in kept(ledger)] == [1, 3]
    for reject in rejected(ledger, run):
        assert reject["reason"] == "duplicate"
        assert (reject["provider"], reject["mailbox"]) == ("google", "ann@acme.example.com")
        assert "already in row 1" in reject["sentence"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (row("globex", "x@acme.example.com", credential="acme-sa"), 'tenant ("acme", "globex");'),
        (row("acme", "X@acme.example.com", scopes=GMAIL), "differ in scopes;"),
        (row("acme", "x@acme.example.com", credential="globex-sa"), "differ in credential;"),
        (row("umbra", "x@acme.example.com"), 'tenant ("acme", "umbra") and scopes and credential'),
    ],
)
def test_of_rows_that_contradict_each_other_none_is_kept(ledger, run, other, said):
    first = row("acme", "x@acme.example.com")
    staged = stage(ledger, run, first, row("acme", "y@acme.example.com"), other)
    assert staged == Staged(entries=1, rejected=2, read=3)
    found = rejected(ledger, run)
    assert [reject["row_number"] for reject in found] == [1, 3]
    for reject in found:
        assert reject["reason"] == "conflicting_duplicate"
        assert reject["mailbox"] == "x@acme.example.com"
        assert "is in rows 1 and 3," in reject["sentence"]
        assert said in reject["sentence"]


def test_many_contradicting_rows_are_named_as_a_range(ledger, run):
    rows = [row(name, "x@acme.example.com") for name in ("acme", "acme", "globex", "acme")]
    assert stage(ledger, run, *rows) == Staged(entries=0, rejected=4, read=4)
    assert "is in 4 rows from 1 to 4," in rejected(ledger, run)[0]["sentence"]


def test_a_rejected_row_does_not_make_another_a_duplicate(ledger, run):
    staged = stage(
        ledger, run, row("nobody", "x@acme.example.com"), row("acme", "x@acme.example.com")
    )
    assert staged == Staged(entries=1, rejected=1, read=2)


def test_more_duplicates_than_one_fetch_takes_are_all_moved(ledger, run):
    rows = [row("acme", f"n{n % 6000}@acme.example.com") for n in range(12_500)]
    staged = stage(ledger, run, *rows, size=4_000)
    assert staged == Staged(entries=6_000, rejected=6_500, read=12_500)
    assert [entry["row_number"] for entry in kept(ledger)] == list(range(1, 6_001))


def test_staging_again_starts_over_and_leaves_other_applications_alone(ledger, run):
    theirs = new_run(ledger, "theirs", "other")
    stage(ledger, theirs, row("acme", "o@acme.example.com"), row(None, None))
    stage(ledger, run, row("acme", "a@acme.example.com"), row("nobody", "b@acme.example.com"))
    again = stage(ledger, run, row("acme", "c@acme.example.com"), row(None, "d@acme.example.com"))
    assert again == Staged(entries=1, rejected=1, read=2)
    assert [entry["email"] for entry in kept(ledger)] == ["c@acme.example.com"]
    assert [reject["reason"] for reject in rejected(ledger, run)] == ["empty_tenant"]
    assert [entry["email"] for entry in kept(ledger, "other")] == ["o@acme.example.com"]
    assert len(rejected(ledger, theirs)) == 1


def test_the_rejects_of_an_earlier_run_are_kept_and_touch_no_row_of_this_one(ledger, run):
    same = [row("acme", "a@acme.example.com"), row("acme", "A@acme.example.com")]
    stage(ledger, run, *same)
    later = new_run(ledger, "second")
    fresh = [row("acme", "b@acme.example.com"), row("acme", "c@acme.example.com")]
    assert stage(ledger, later, *fresh) == Staged(entries=2, rejected=0, read=2)
    assert len(rejected(ledger, run)) == 1


def test_an_empty_roster_stages_nothing(ledger, run):
    stage(ledger, run, row("acme", "a@acme.example.com"))
    assert stage(ledger, run) == Staged(entries=0, rejected=0, read=0)
    assert kept(ledger) == []


def test_a_failure_half_way_leaves_the_former_roster_staged(ledger, run):
    stage(ledger, run, row("acme", "a@acme.example.com"))

    def broken():
        yield from chunks_of([row("acme", "b@acme.example.com")], 1)
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - our own, above
        stage_chunks(ledger, run, broken())
    assert [entry["email"] for entry in kept(ledger)] == ["a@acme.example.com"]


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("definition", "insert", "day"),
    [
        ("tenant, email", None, None),
        ("roster_date, tenant, email", "('2026-03-02', 'acme', 'a@acme.example.com')", True),
        ("roster_date, tenant, email", "(NULL, 'acme', 'a@acme.example.com')", True),
    ],
)
def test_a_roster_without_rows_for_the_run_is_an_error_and_leaves_the_former_one_staged(
    ledger, tmp_path, definition, insert, day
):
    warehouse = create_engine(f"sqlite:///{tmp_path / 'warehouse.db'}")
    with warehouse.begin() as connection:
        connection.execute(text(f"CREATE TABLE roster ({definition})"))
        connection.execute(
            text("CREATE TABLE tenants (tenant, provider, credential, secret_conn_id, scopes)")
        )
        connection.execute(
            text(f"INSERT INTO tenants VALUES ('acme', 'google', 'sa', 'google_sa', '{CALENDAR}')")
        )
        if insert:
            connection.execute(text(f"INSERT INTO roster VALUES {insert}"))
    run = opened(ledger, "first", application="app", roster_date=NOW.date() if day else None)
    stage(ledger, run, row("acme", "b@acme.example.com"))
    with pytest.raises(Unavailable, match="has no rows"):
        read_roster(
            ledger, warehouse, run,
            roster=roster_source("roster"), tenants=tenants_source("tenants"), clock=lambda: NOW,
        )  # fmt: skip
    assert [entry["email"] for entry in kept(ledger)] == ["b@acme.example.com"]
    warehouse.dispose()


def test_entries_that_another_process_stages_meanwhile_are_noticed(postgres_url):
    from bulkgrants.ledger.database import open_ledger
    from bulkgrants.ledger.upgrade import upgrade

    ledger = open_ledger(postgres_url)
    upgrade(ledger)

    other = open_ledger(postgres_url)

    @event.listens_for(ledger, "before_cursor_execute")
    def interrupt(_connection, _cursor, statement, *_rest) -> None:
        if statement.startswith("ANALYZE"):
            put(other, "entries", entry("acme", "b@acme.example.com", application="app"))

    with pytest.raises(Superseded, match="another process is staging the roster"):
        stage(ledger, new_run(ledger, "one"), row("acme", "a@acme.example.com"))
    other.dispose()
    ledger.dispose()


def test_a_roster_goes_from_the_warehouse_to_the_ledger(ledger, run, tmp_path):
    warehouse = create_engine(f"sqlite:///{tmp_path / 'warehouse.db'}")
    with warehouse.begin() as connection:
        connection.execute(text("CREATE TABLE roster (tenant, email)"))
        connection.execute(
            text("INSERT INTO roster VALUES ('acme', 'a@acme.example.com'), ('acme', 7), (1, NULL),"
                 " ('acme', X'00ff'), ('acme', 'A@acme.example.com')")
        )  # fmt: skip
    chunks = read_chunks(warehouse, roster_source("roster"), None, chunk_rows=2)
    staged = stage_chunks(ledger, run, chunks)
    assert staged == Staged(entries=1, rejected=4, read=5)
    reasons = [reject["reason"] for reject in rejected(ledger, run)]
    assert reasons == ["not_text", "not_text", "not_text", "duplicate"]
    warehouse.dispose()


ROWS = st.lists(
    st.builds(
        row,
        st.sampled_from(["acme", "globex", "umbra", "nobody", "", None, 5]),
        st.sampled_from(
            ["a@x.example.com", "A@x.example.com", "b@x.example.com", "", "bad", None, 1]
        ),
        scopes=st.sampled_from([None, CALENDAR, GMAIL, "|", ["x"]]),
        credential=st.sampled_from([None, "acme-sa", "globex-sa", "umbra-ac", "?"]),
    ),
    max_size=12,
)


@given(rows=ROWS, size=st.integers(1, 5))
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example starts over
)
def test_every_row_ends_up_once_as_entry_or_reject(ledger, run, rows, size):
    staged = stage(ledger, run, *rows, size=size)
    good, bad = kept(ledger), rejected(ledger, run)
    assert (staged.read, staged.entries, staged.rejected) == (len(rows), len(good), len(bad))
    numbers = sorted([*(e["row_number"] for e in good), *(r["row_number"] for r in bad)])
    assert numbers == list(range(1, len(rows) + 1))
    mailboxes = [entry["email"] for entry in good]
    assert len(set(mailboxes)) == len(mailboxes)
    for reject in bad:
        if reject["reason"] == "conflicting_duplicate":
            assert reject["mailbox"] not in mailboxes
        if reject["reason"] == "duplicate":
            assert reject["mailbox"] in mailboxes
