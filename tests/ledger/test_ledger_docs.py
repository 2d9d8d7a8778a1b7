"""The words in the ledger are those in its documentation, and the sample queries run."""

import asyncio
import re
import uuid
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from bulkgrants.ledger.database import metadata, open_ledger
from bulkgrants.ledger.upgrade import upgrade
from bulkgrants.ledger.views import VIEWS
from bulkgrants.model import (
    AttemptEnd,
    Awaiting,
    ChangeKind,
    ChangeState,
    ConsentStatus,
    CredentialType,
    GrantStatus,
    Mode,
    Outcome,
    ProbeOutcome,
    Provider,
    RejectReason,
    RunKind,
    SkipReason,
    Stop,
    Verification,
)
from bulkgrants.onboarding.callback import Verdict
from bulkgrants.refusals import TABLE, Concerns, Refusal
from nylas_standin.client import Control
from reconcile.conftest import World, _credential, make_world, pem, server  # noqa: F401 - fixtures
from scripts.make_docs import ROOT
from support.ledger_docs import DELETIONS, LEDGER, QUESTIONS, VOCABULARY
from support.ledger_history import LATELY, make_history, people

ANONYMOUS = ("run_counts", "latest_runs", "latest_rosters", "coverage")
HISTORY = ("attempts", "changes", "batches", "skips", "rejects")
DATED = {"consent_attempts": "at", "consents": "expires_at", "probes": "at"}
PLANNED = {f"{kind} planned" for kind in ChangeKind if kind is not ChangeKind.REVOKE}
OVERTAKEN = {
    SkipReason.TENANT_QUARANTINED,
    SkipReason.AWAITING_CONSENT,
    SkipReason.AWAITING_PROPAGATION,
}
COUNTED = {SkipReason.FOREIGN, SkipReason.EQUAL}
STANDINGS = {"ready", "disabled", *Stop, *(f"awaiting {one}" for one in Awaiting)}
WORDS = {
    "run_counts.kind": set(RunKind),
    "run_counts.mode": set(Mode),
    "latest_runs.kind": set(RunKind),
    "latest_runs.mode": set(Mode),
    "coverage.provider": set(Provider),
    "orphans.status": set(GrantStatus),
    "fates.change": set(ChangeKind),
    "fates.fate": {*Outcome, *PLANNED, "rejected", "revoke held"},
    "fates.verified": set(Verification),
    "onboarding.provider": set(Provider),
    "onboarding.standing": STANDINGS,
    "runs.kind": set(RunKind),
    "runs.mode": set(Mode),
    "rejects.reason": set(RejectReason),
    "changes.kind": set(ChangeKind),
    "changes.state": set(ChangeState),
    "changes.outcome": set(Outcome),
    "changes.reason": {*Refusal, *OVERTAKEN},
    "changes.verified": set(Verification),
    "skips.provider": set(Provider),
    "skips.reason": set(SkipReason) - COUNTED,
    "attempts.outcome": {*Outcome, *AttemptEnd},
    "grants.status": set(GrantStatus),
    "escrow.provider": set(Provider),
    "escrow.reason": {one.refusal for one in TABLE if one.concerns is Concerns.MAILBOX},
    "tenants.provider": set(Provider),
    "tenants.awaiting": set(Awaiting),
    "tenants.stopped": set(Stop),
    "consents.status": set(ConsentStatus),
    "consent_attempts.verdict": set(Verdict),
    "probes.outcome": set(ProbeOutcome),
    "credentials.credential_type": set(CredentialType),
    "observed.status": set(GrantStatus),
}
"""The words of the code that a column may hold; it may also be empty or null."""


MEANINGS = [
    *(column.comment for table in metadata.tables.values() for column in table.columns),
    *(meaning for view in VIEWS.values() for meaning in view.columns.values()),
]


def ask(engine, query):
    with engine.connect() as connection:
        return connection.execute(text(query)).all()


def everything(engine, names):
    return {name: ask(engine, f"SELECT * FROM {name}") for name in names}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request, new_ledger, tmp_path_factory):
    """A ledger with a history, made once for each kind of database; tests do not change it."""
    running, key = request.getfixturevalue("server"), request.getfixturevalue("pem")
    engine = new_ledger(request.param, tmp_path_factory.mktemp("history"))
    with Control(running.base_url) as control:
        control.reset()
        control.set_limiter(policy="none")
        made = World(engine, running, control, _credential(running))
        asyncio.run(make_history(made, key))
        yield made
    engine.dispose()


@contextmanager
def undone(engine):
    """A connection whose changes are rolled back."""
    with engine.connect() as connection:
        yield connection
        connection.rollback()


def test_the_meaning_of_a_column_names_every_word_that_it_may_hold():
    for place, words in WORDS.items():
        name, column = place.split(".")
        said = VIEWS[name].columns[column] if name in VIEWS else column_of(name, column).comment
        named = set(re.findall(r"`([^`]+)`", said))
        assert words <= named, place


def column_of(table, column):
    return metadata.tables[table].columns[column]


def test_the_kinds_of_runs_are_those_of_the_dags():
    kinds = {
        kind
        for path in (ROOT / "dags").glob("*.py")
        for kind in re.findall(r'\bkind="(\w+)"', path.read_text())
    }
    assert kinds == set(RunKind)


@pytest.mark.parametrize(
    "words", [SkipReason, Refusal, Outcome, ChangeKind, Mode, ConsentStatus, Verdict, ProbeOutcome]
)
def test_every_word_of_the_code_is_explained(words):
    both = LEDGER + VOCABULARY + " ".join(MEANINGS)
    assert [word for word in words if f"`{word}`" not in both] == []


def test_each_word_is_explained_once():
    words = re.findall(r"^\| \*\*(.+?)\*\*", VOCABULARY, flags=re.MULTILINE)
    words = [word for word in words if word not in {"read", "send"}]
    assert sorted(words) == sorted(set(words))
    assert len(words) > 50


@pytest.mark.parametrize("name", ["ledger.md", "vocabulary.md"])
def test_no_line_is_too_long_to_read_beside_another_window(name):
    lines = {"ledger.md": LEDGER, "vocabulary.md": VOCABULARY}[name].splitlines()
    assert [line for line in lines if len(line) > 140] == []


def test_every_query_runs_as_it_is_and_has_a_result(world):
    assert len(QUESTIONS) >= 10
    assert [question for question in QUESTIONS if not ask(world.engine, question)] == []


def test_the_words_in_a_ledger_are_those_in_the_docs(world):
    for place, words in WORDS.items():
        name, column = place.split(".")
        found = {row[0] for row in ask(world.engine, f"SELECT DISTINCT {column} FROM {name}")}
        assert found - {None, ""} <= words, place


def test_counts_as_columns_are_the_counts_of_the_run(world):
    names = {"foreign": "foreign_grants", "open": "left_open", "drift": "drifted"}
    names |= {kind: f"{kind}s" for kind in ChangeKind}
    by_run = {row.run_id: row._mapping for row in ask(world.engine, "SELECT * FROM run_counts")}
    for run in world.rows("runs"):
        for label, count in (run["counts"] or {}).items():
            if not label.startswith("skip:") and label not in {"entries", "rejected", "held"}:
                assert by_run[run["id"]][names.get(label, label)] == count, label
    assert sum(run["drifted"] for run in by_run.values()) == 1
    assert sum(run["revokes"] for run in by_run.values()) > 0


@pytest.mark.parametrize(
    ("tenants", "mailbox", "whole"),
    [
        ("NULL", "NULL", True),
        ("'[\"acme\"]'", "NULL", False),
        ("NULL", "'a@b.example'", False),
    ],
)
def test_a_run_is_whole_if_it_is_about_every_tenant_and_mailbox(world, tenants, mailbox, whole):
    with undone(world.engine) as connection:
        connection.execute(text(f"UPDATE runs SET tenants = {tenants}, mailbox = {mailbox}"))
        found = connection.execute(text("SELECT DISTINCT whole FROM run_counts")).scalars().all()
    assert [bool(one) for one in found] == [whole]


def test_coverage_accounts_for_every_entry_and_names_tenants_without_any(world):
    found = {row.tenant: row for row in ask(world.engine, "SELECT * FROM coverage")}
    acme = found["acme"]
    assert (acme.desired, acme.granted, acme.missing, acme.in_escrow) == (3, 2, 1, 1)
    assert acme.granted + acme.missing + acme.invalid + acme.blocked == acme.desired
    assert found["umbrella"].desired == 0


def test_orphans_distinguishes_owned_foreign_and_rejected_mailboxes(world):
    rows = ask(world.engine, "SELECT email, owned, rejected FROM orphans ORDER BY email")
    assert [(row.email.split("@")[0], bool(row.owned), bool(row.rejected)) for row in rows] == [
        ("ben", True, True),
        *[("canary", True, False)] * 2,
        ("carl", True, False),
        ("foreign", False, False),
        ("former", True, False),
    ]


def test_fates_includes_rejected_rows(world):
    fates = ask(world.engine, "SELECT fate, reason FROM fates WHERE email LIKE 'ben@%'")
    assert ("rejected", "conflicting_duplicate") in [tuple(row) for row in fates]


def test_onboarding_shows_the_standing_of_each_listed_tenant_and_why(world):
    found = {row.tenant: row for row in ask(world.engine, "SELECT * FROM onboarding")}
    assert {name: (row.standing, row.consent, row.missing) for name, row in found.items()} == {
        "acme": ("ready", None, None),
        "umbrella": ("ready", None, None),
        "initech": ("ready", None, None),
        "contoso": ("ready", "given", ""),
        "fabrikam": ("refused", "refused", None),
        "northwind": ("awaiting propagation", "given", "Mail.ReadWrite"),
        "tailspin": ("awaiting consent", "pending", None),
    }
    assert {name for name, row in found.items() if row.link_expires_at} == {"tailspin"}
    assert {name for name, row in found.items() if row.last_probe_at} == {"contoso", "northwind"}
    assert {name for name, row in found.items() if row.since is None} == {
        name for name, row in found.items() if row.standing == "ready"
    }
    assert {name for name, row in found.items() if row.ready_at} == {"contoso"}
    assert found["fabrikam"].error == "access_denied"
    assert "AADSTS65004" in found["fabrikam"].error_description


@pytest.mark.parametrize(
    ("change", "standing"),
    [
        ("UPDATE tenants SET enabled = false", "disabled"),
        ("UPDATE tenants SET stopped = 'expired'", "expired"),
        ("UPDATE tenants SET listed = false", None),
    ],
)
def test_onboarding_follows_the_tenants_table_and_people(world, change, standing):
    with undone(world.engine) as connection:
        connection.execute(text(f"{change} WHERE tenant = 'tailspin'"))
        query = "SELECT standing FROM onboarding WHERE tenant = 'tailspin'"
        assert connection.execute(text(query)).scalar() == standing


def test_onboarding_shows_the_newest_answer_of_a_consent_and_not_the_newest_link(world):
    """An admin may answer an older link while a reminder's is open."""
    an_older_link = (
        "INSERT INTO consents SELECT -1, application, tenant, credential_id, microsoft_tenant, "
        "redirect_uri, 'x', 'refused', requested_at, expires_at, expires_at, '', 'access_denied', "
        "'', '', '', '', '' FROM consents WHERE tenant = 'tailspin'"
    )
    with undone(world.engine) as connection:
        connection.execute(text(an_older_link))
        query = "SELECT consent, error FROM onboarding WHERE tenant = 'tailspin'"
        assert connection.execute(text(query)).one() == ("refused", "access_denied")


def test_onboarding_reads_missing_scopes_from_a_probe_that_was_answered(world):
    """A probe without an answer has all scopes as missing, since it does not know of any."""
    unserved = (
        "INSERT INTO probes (id, application, tenant, email, at, outcome, missing, message) "
        "SELECT 1000, application, tenant, email, '2030-01-01', 'unserved', 'everything', '' "
        "FROM probes WHERE tenant = 'northwind'"
    )
    with undone(world.engine) as connection:
        connection.execute(text(unserved))
        query = "SELECT missing, last_probe_at FROM onboarding WHERE tenant = 'northwind'"
        missing, probed_at = connection.execute(text(query)).one()
    assert missing == "Mail.ReadWrite"
    assert str(probed_at).startswith("2026-03-01")


def test_a_roster_that_a_crash_has_emptied_makes_no_orphans(world):
    with undone(world.engine) as connection:
        connection.execute(text("DELETE FROM entries"))
        [complete] = connection.execute(text("SELECT complete FROM latest_rosters")).scalars()
        assert not complete
        assert connection.execute(text("SELECT * FROM orphans")).all() == []
        assert connection.execute(text("SELECT * FROM coverage")).all() == []


def test_a_run_that_did_nothing_does_not_hide_the_newest_plan(world):
    [latest] = ask(world.engine, "SELECT * FROM latest_runs")
    [newest] = ask(world.engine, "SELECT id, mode_reason FROM runs ORDER BY id DESC LIMIT 1")
    assert newest.mode_reason
    assert latest.run_id < newest.id
    assert latest.mode == Mode.APPLY


def test_old_rows_can_be_deleted_as_described(world):
    assert len(DELETIONS) == 13
    ours = "WHERE run_id IN (SELECT id FROM runs WHERE opened_at < '2026-01-01')"
    with undone(world.engine) as connection:

        def count(rest):
            return connection.execute(text(f"SELECT count(*) FROM {rest}")).scalar_one()

        runs, old, all_of_it = count("runs"), {}, {}
        for table in HISTORY:
            old[table], all_of_it[table] = count(f"{table} {ours}"), count(table)
        for table, moment in DATED.items():
            old[table] = count(f"{table} WHERE {moment} < '2026-01-01'")
            all_of_it[table] = count(table)
        connection.execute(text("UPDATE tenants SET listed = false WHERE tenant = 'tailspin'"))
        for statement in DELETIONS:
            connection.execute(text(statement))
        assert all(old.values())
        assert {table: count(table) for table in old} == {
            table: all_of_it[table] - old[table] for table in old
        }
        assert all(count(table) for table in old)
        assert count("tenants WHERE canary = '' AND tenant = 'tailspin'") == 1
        assert count("tenants WHERE canary <> ''") == 3
        assert count("runs") == runs
        assert count("runs WHERE opened_at < '2026-01-01' AND report IS NOT NULL") == 0
        assert count("escrow") == 0
        # nothing points to the old runs any more
        connection.execute(text("DELETE FROM runs WHERE opened_at < '2026-01-01'"))


async def test_the_next_run_works_after_a_deletion(make_world, ledger, pem):  # noqa: F811
    world = make_world(ledger)
    await make_history(world, pem)
    for statement in DELETIONS:
        with ledger.begin() as connection:
            connection.execute(text(statement))
    assert world.now > LATELY
    report = await world.reconcile(people("ada", "eve", "nobody"))
    assert (report.counts["unchanged"], report.counts["refused"]) == (2, 1)


def test_no_secret_is_anywhere_in_the_ledger(world, pem):  # noqa: F811 - the fixture
    shown = repr(everything(world.engine, [*metadata.tables, *VIEWS]))
    for secret in (world.server.api_key, "very-secret", "PRIVATE KEY", *pem.splitlines()[1:-1]):
        assert secret not in shown


def test_views_without_personal_data_show_no_address(world):
    shown = everything(world.engine, ANONYMOUS)
    assert all(shown.values())
    assert "@" not in repr(shown)
    assert all("shows no address" in VIEWS[view].meaning for view in ANONYMOUS)


def test_in_postgresql_a_view_can_be_granted_without_its_tables(postgres_url):
    engine, role = open_ledger(postgres_url), f"r{uuid.uuid4().hex[:12]}"
    upgrade(engine)
    engine.dispose()
    admin = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    with admin.connect() as connection:  # never committed, so the role is gone in the end
        connection.execute(text(f"CREATE ROLE {role}"))
        connection.execute(text(f"GRANT SELECT ON {', '.join(ANONYMOUS)} TO {role}"))
        connection.execute(text(f"SET ROLE {role}"))
        for view in ANONYMOUS:
            connection.execute(text(f"SELECT * FROM {view}"))
        with pytest.raises(ProgrammingError, match="permission denied"):
            connection.execute(text("SELECT * FROM grants"))
    admin.dispose()
    assert f"GRANT SELECT ON {', '.join(ANONYMOUS)} TO" in LEDGER
