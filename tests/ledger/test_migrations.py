"""A ledger of an older revision is upgraded with everything in it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import inspect, text

from bulkgrants.ledger.database import metadata, open_ledger
from bulkgrants.ledger.tenants import left_alone, standings, write_settings
from bulkgrants.ledger.upgrade import upgrade
from bulkgrants.ledger.views import VIEWS
from bulkgrants.model import Awaiting, Provider, Tenant

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
NEW_TABLES = {
    "0002": {"consents", "consent_attempts", "probes"},
    "0006": {"unreadable_grants", "former_credentials"},
}
ADDED = {
    "0002": {
        "tenants": {
            "microsoft_tenant": "",
            "canary": "",
            "required_scopes": "",
            "consent_scopes": "",
            "azure_manifest": "",
            "awaiting_since": None,
            "stopped": "",
            "ready_at": None,
            "claimed_by": None,
            "claimed_until": None,
        },
    },
    "0003": {
        "probes": {"reason": "", "code": ""},
        "escrow": {"code": "", "message": ""},
        "changes": {"code": ""},
    },
    "0004": {"escrow": {"scopes": "", "credential_id": None}},
    "0005": {"budgets": {"asked_at": 0.0}},
    "0006": {"runs": {"listing_note": ""}},
    "0007": {"consents": {"key_id": "", "asked_by": ""}},
    "0008": {"observed": {"address": ""}, "grants": {"address": ""}},
    "0009": {"observed": {"alias_of": None}, "grants": {"alias_of": None}},
}
"""The values of older rows in the new columns of each revision."""

FIRST_ROWS = """
INSERT INTO runs (id, application, key, kind, mode, mode_reason, token, opened_at, planned_at)
VALUES (1, 'app', 'dag/run', 'reconcile', 'apply', '', 1, '2026-02-28 02:00:00.000000',
        '2026-02-28 02:05:00.000000');
INSERT INTO leases VALUES ('app', 1, 7, '2026-03-01 02:00:00.000000');
INSERT INTO budgets VALUES ('app', 1.25, 39.5, 40.0, 2.5);
INSERT INTO credentials
VALUES ('app', 'google', 'sa', 'serviceaccount', 'cred-1', 'f', '2026-02-01 02:00:00.000000', NULL);
INSERT INTO entries VALUES ('app', 'google', 'ada@acme.example.com', 'acme', 'mail', 'cred-1', 1);
INSERT INTO observed
VALUES ('app', 'g1', 'google', 'ada@acme.example.com', 'valid', 'mail', 'cred-1', false, 1, 2);
INSERT INTO grants
VALUES ('app', 'google', 'ada@acme.example.com', 'g1', 'valid', 'mail', 'cred-1', false, 1, 2,
        true, 'acme', NULL, NULL);
INSERT INTO batches VALUES (1, 1, 1, 9, 1, NULL);
INSERT INTO attempts
VALUES (1, 1, 1, 1, '2026-02-28 02:00:00.000000', NULL, NULL, NULL, 'consent_missing: no');
INSERT INTO skips
VALUES (1, 'google', 'eve@acme.example.com', 'acme', NULL, 'in_escrow', 'until 2026: mail: off'),
       (1, 'google', 'gil@acme.example.com', 'acme', 'g9', 'given_up', '');
INSERT INTO rejects
VALUES (1, 1, 3, 'acme', 'x', 'google', 'hal@acme.example.com', 'duplicate', 'Row 2: the same.'),
       (2, 1, 4, '', 'y', NULL, NULL, 'empty_tenant', 'Name the tenant.');
INSERT INTO escrow
VALUES ('app', 'google', 'ben@acme.example.com', 'acme', 'mailbox_unknown', 2,
        '2026-02-27 02:00:00.000000', '2026-03-01 02:00:00.000000'),
       ('app', 'google', 'gil@acme.example.com', 'acme', 'grant_blocked', 9,
        '2026-01-01 02:00:00.000000', NULL)
"""
FIRST_TENANTS = """
INSERT INTO tenants
VALUES ('app', 'acme', 'google', 'sa', 'conn', 'mail', 604800, true, true, NULL, NULL, ''),
       ('app', 'contoso', 'microsoft', 'ms', 'conn', '', 60, true, true, 'consent', NULL, ''),
       ('app', 'idle', 'google', 'sa', 'conn', 'mail', 60, false, true, NULL, NULL, ''),
       ('app', 'left', 'google', 'sa', 'conn', 'mail', 60, true, false, NULL, NULL, ''),
       ('app', 'umbrella', 'google', 'sa', 'conn', 'mail', 60, true, true, NULL,
        '2026-03-01 08:00:00.000000', 'delegation_missing')
"""
SECOND_ROWS = """
INSERT INTO tenants
VALUES ('app', 'contoso', 'microsoft', 'ms', 'conn', '', 60, true, true, 'propagation', NULL, '',
        'common', 'canary@contoso.example.com', 'Mail.Read', '', 'a.json',
        '2026-02-28 02:00:00.000000', 'refused', NULL, 'dag/run', '2026-03-01 02:00:00.000000');
INSERT INTO consents
VALUES (1, 'app', 'contoso', 'cred-2', 'common', 'https://a.example', 'hash', 'refused',
        '2026-02-27 02:00:00.000000', '2026-03-27 02:00:00.000000', '2026-02-28 02:00:00.000000',
        'tenant', 'access_denied', '25', 'AADSTS65004: no', 'https://b.example');
INSERT INTO consent_attempts
VALUES (1, 1, '2026-02-28 02:00:00.000000', 'refused', 'access_denied: no'),
       (2, NULL, '2026-02-28 03:00:00.000000', 'unknown', '');
INSERT INTO probes
VALUES (1, 'app', 'contoso', 'canary@contoso.example.com', '2026-02-28 02:00:00.000000', 'refused',
        'Mail.Read', 'consent_missing: AADSTS65001: nothing yet');
"""
THIRD_ROWS = """
INSERT INTO changes (run_id, seq, kind, provider, email, tenant, scopes, state, outcome, reason,
                     code, message, done_at)
VALUES (1, 101, 'create', 'microsoft', 'ida@contoso.example.com', 'contoso', '', 'done', 'refused',
        'consent_missing', 'AADSTS65001', 'No: not yet.', '2026-02-28 02:10:00.000000');
INSERT INTO probes (id, application, tenant, email, at, outcome, missing, message, reason, code)
VALUES (2, 'app', 'contoso', 'canary@contoso.example.com', '2026-02-28 03:00:00.000000', 'refused',
        'Mail.Read', 'Not yet.', 'consent_missing', 'AADSTS65001');
INSERT INTO escrow (application, provider, email, tenant, reason, code, message, refusals,
                    first_refused_at, due_at)
VALUES ('app', 'microsoft', 'ida@contoso.example.com', 'contoso', 'consent_missing', 'AADSTS65001',
        'No: not yet.', 1, '2026-02-28 02:10:00.000000', '2026-02-28 08:10:00.000000')
"""
DETAILS = {
    ("planned", None, ""): ("", ""),
    ("held", None, ""): ("", ""),
    ("done", "granted", ""): ("", ""),
    ("done", "renewed", "odd: but granted"): ("", "odd: but granted"),
    ("done", "refused", "mailbox_unknown: No such mailbox."): (
        "mailbox_unknown",
        "No such mailbox.",
    ),
    ("done", "skipped", "tenant_quarantined: other: Nylas said: no: way"): (
        "tenant_quarantined",
        "other: Nylas said: no: way",
    ),
    ("done", "refused", "other: Zoë, 山田: «nein» ☃ 🙂…"): ("other", "Zoë, 山田: «nein» ☃ 🙂…"),
    ("done", "refused", "other:"): ("other", ""),
    ("done", "refused", "no colon at all"): ("", "no colon at all"),
    ("done", "refused", "https://a.example:80"): ("", "https://a.example:80"),
    ("done", "refused", "two words: and more"): ("", "two words: and more"),
    ("done", "refused", ": nothing before it"): ("", ": nothing before it"),
    ("done", "refused", f"{'x' * 41}: a word too long"): ("", f"{'x' * 41}: a word too long"),
    ("done", "skipped", ""): ("", ""),
    ("done", "refused", f"consent_missing: {'é' * 382}…"): ("consent_missing", f"{'é' * 382}…"),
}
"""State, outcome and detail of changes at 0002; their reason and message at 0003."""


@pytest.fixture
def at_revision(database_url):
    """A function that makes a ledger at a revision."""
    engine = open_ledger(database_url)

    def made(revision):
        config = Config()
        config.set_main_option("script_location", "include/bulkgrants/ledger/migrations")
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        return engine

    yield made
    engine.dispose()


def contents(engine) -> dict[str, list[dict]]:
    """The rows of every table, by column."""
    names = sorted({*inspect(engine).get_table_names()} & {*metadata.tables})
    with engine.connect() as connection:
        return {
            name: [
                dict(row)
                for row in connection.execute(
                    text(f"SELECT * FROM {name} ORDER BY 1, 2")
                ).mappings()
            ]
            for name in names
        }


def execute(engine, *statements) -> None:
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL TIME ZONE 'UTC'"))
        for statement in ";\n".join(statements).split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)


def fill(engine, *statements) -> None:
    execute(engine, *statements)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL TIME ZONE 'UTC'"))
        for seq, (state, outcome, detail) in enumerate(DETAILS, start=1):
            connection.execute(
                text(
                    "INSERT INTO changes (run_id, seq, kind, provider, email, tenant, scopes, "
                    "state, outcome, detail, done_at) VALUES (1, :seq, 'create', 'google', :email, "
                    "'acme', 'mail', :state, :outcome, :detail, '2026-02-28 02:10:00.000000')"
                ),
                {
                    "seq": seq,
                    "email": f"{seq}@acme.example.com",
                    "state": state,
                    "outcome": outcome,
                    "detail": detail,
                },
            )


def columns_of(engine) -> dict[str, set[str]]:
    found = inspect(engine)
    return {
        name: {column["name"] for column in found.get_columns(name)}
        for name in [*found.get_table_names(), *found.get_view_names()]
    }


def require_added(before, after, since) -> None:
    """Check that every older row is unchanged, and has the columns that later revisions add."""
    revisions = [revision for revision in ADDED if revision > since]
    for name in set[str]().union(*(NEW_TABLES.get(revision, set()) for revision in revisions)):
        if name not in before:
            assert after.pop(name) == []
    for revision in revisions:
        for name, values in ADDED[revision].items():
            for row in after.get(name, []):
                assert {column: row.pop(column) for column in values} == values, name
    if since < "0003":  # which splits it into these two
        for row in before["changes"]:
            row.pop("detail")
        for row in after["changes"]:
            row.pop("reason")
            row.pop("message")
    assert after == before


def test_the_first_revision_still_makes_the_same_tables(at_revision):
    old = columns_of(at_revision("0001"))
    assert set(old) == {*metadata.tables, *VIEWS, "alembic_version"} - {
        *NEW_TABLES["0002"],
        *NEW_TABLES["0006"],
        "onboarding",
    }
    assert not old["tenants"] & {*ADDED["0002"]["tenants"]}
    assert "detail" in old["changes"]
    assert "detail" in old["fates"]


def test_the_second_revision_still_makes_the_same_tables(at_revision):
    old = columns_of(at_revision("0002"))
    assert set(old) == {*metadata.tables, *VIEWS, "alembic_version"} - NEW_TABLES["0006"]
    assert "unreadable" not in old["run_counts"]
    assert old["tenants"] > {*ADDED["0002"]["tenants"]}
    assert "detail" in old["changes"]
    assert "reason" not in old["probes"] | old["changes"]
    assert "code" not in old["escrow"]


def test_rows_of_the_first_revision_are_kept_exactly(at_revision):
    engine = at_revision("0001")
    fill(engine, FIRST_ROWS, FIRST_TENANTS)
    before = contents(engine)
    assert all(before.values())
    upgrade(engine)
    require_added(before, contents(engine), "0001")


def test_rows_of_the_second_revision_are_kept_exactly(at_revision):
    engine = at_revision("0002")
    fill(engine, FIRST_ROWS, SECOND_ROWS)
    before = contents(engine)
    assert set(before) == set(metadata.tables) - NEW_TABLES["0006"]
    assert all(before.values())
    upgrade(engine)
    require_added(before, contents(engine), "0002")


def test_rows_of_the_third_revision_are_kept_exactly(at_revision):
    """In each table there is a row that came with the upgrade to it, or one that it has made."""
    fill(at_revision("0002"), FIRST_ROWS, SECOND_ROWS)
    engine = at_revision("0003")
    execute(engine, THIRD_ROWS)
    before = contents(engine)
    assert set(before) == set(metadata.tables) - NEW_TABLES["0006"]
    assert all(before.values())
    upgrade(engine)
    require_added(before, contents(engine), "0003")


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_a_reason_and_its_message_are_split(at_revision, revision):
    engine = at_revision(revision)
    fill(engine, FIRST_ROWS)
    upgrade(engine)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT reason, message FROM changes ORDER BY seq")).all()
        assert [tuple(row) for row in rows] == [*DETAILS.values()]
        shown = connection.execute(
            text("SELECT email, fate, reason, message FROM fates WHERE change IS NULL ORDER BY 1")
        ).all()
        seen = connection.execute(
            text("SELECT f.reason, f.message FROM fates f WHERE f.change = 'create'")
        ).all()
    assert sorted(map(tuple, seen)) == sorted(DETAILS.values())
    assert [tuple(row) for row in shown] == [
        ("eve@acme.example.com", "skipped", "in_escrow", "until 2026: mail: off"),
        ("gil@acme.example.com", "skipped", "given_up", ""),
        ("hal@acme.example.com", "rejected", "duplicate", "Row 2: the same."),
    ]


def test_an_upgraded_ledger_has_the_columns_of_a_new_one(at_revision, tmp_path):
    fresh = open_ledger(f"sqlite:///{tmp_path / 'fresh.db'}")
    upgrade(fresh)
    engine = at_revision("0002")
    upgrade(engine)
    assert columns_of(engine) == columns_of(fresh)
    fresh.dispose()


def test_rights_on_views_outlive_an_upgrade(postgres_url):
    engine, role = open_ledger(postgres_url), f"r{uuid.uuid4().hex[:12]}"
    config = Config()
    config.set_main_option("script_location", "include/bulkgrants/ledger/migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.execute(text(f"CREATE ROLE {role}"))
        connection.execute(text(f"GRANT SELECT ON {', '.join(VIEWS)} TO {role}"))
        connection.execute(text("CREATE VIEW theirs AS SELECT email, detail FROM fates"))
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text(f"SET LOCAL ROLE {role}"))
        for view in VIEWS:
            connection.execute(text(f"SELECT * FROM {view}"))
    with engine.begin() as connection:
        connection.execute(text("SELECT detail FROM theirs"))
        connection.execute(text(f"DROP OWNED BY {role}"))
        connection.execute(text(f"DROP ROLE {role}"))
    engine.dispose()


def test_the_views_of_the_code_are_those_that_the_revisions_make(ledger):
    """The revisions have their own copies of the SQL, so that they never change with the code."""
    with ledger.begin() as connection:
        if ledger.dialect.name == "postgresql":
            connection.execute(text("CREATE SCHEMA code"))
            for name, view in VIEWS.items():
                connection.exec_driver_sql(f"CREATE VIEW code.{name} AS {view.query}")
            query = "SELECT viewname, definition FROM pg_views WHERE schemaname = 'code'"
            written = dict(connection.exec_driver_sql(query).all())
            query = "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'"
        else:  # which keeps the text as it was written
            written = {
                name: without_space(f"CREATE VIEW {name} AS {view.query}")
                for name, view in VIEWS.items()
            }
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'view'"
        made = dict(connection.exec_driver_sql(query).all())
    assert made.keys() == VIEWS.keys()
    for name, sql in made.items():
        assert without_space(sql) == without_space(written[name]), name


def without_space(sql: str) -> str:
    """The statement without differences in space."""
    return " ".join(sql.split())


def test_every_column_has_a_meaning_in_the_code(ledger):
    found = columns_of(ledger)
    for name, table in metadata.tables.items():
        assert table.comment, name
        assert found[name] == {column.name for column in table.columns if column.comment}
    for name, view in VIEWS.items():
        assert view.meaning, name
        assert all(view.columns.values()), name
        assert found[name] == set(view.columns)


def test_every_column_that_may_be_null_says_when():
    assert [
        str(column)
        for table in metadata.tables.values()
        for column in table.columns
        if column.nullable and "null" not in column.comment.lower()
    ] == []


def test_the_catalogue_of_postgresql_says_what_everything_means(postgres_url):
    engine = open_ledger(postgres_url)
    upgrade(engine)
    query = text(
        "SELECT c.relname, a.attname, col_description(c.oid, a.attnum) "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
        "WHERE n.nspname = 'public' AND c.relkind IN ('r', 'v') AND c.relname <> 'alembic_version'"
    )
    expected = {
        (table.name, column.name): column.comment
        for table in metadata.tables.values()
        for column in table.columns
    } | {
        (name, column): meaning
        for name, view in VIEWS.items()
        for column, meaning in view.columns.items()
    }
    with engine.connect() as connection:
        assert {(row[0], row[1]): row[2] for row in connection.execute(query)} == expected
        whole = {name: table.comment for name, table in metadata.tables.items()}
        whole |= {name: view.meaning for name, view in VIEWS.items()}
        said = text("SELECT obj_description(CAST(:name AS regclass), 'pg_class')")
        for name, meaning in whole.items():
            assert connection.execute(said, {"name": name}).scalar() == meaning
    engine.dispose()


def test_tenants_keep_their_standing(at_revision):
    engine = at_revision("0001")
    fill(engine, FIRST_ROWS, FIRST_TENANTS)
    upgrade(engine)
    with engine.connect() as connection:
        stood = standings(connection, "app")
        shown = connection.execute(
            text("SELECT tenant, standing, since, consent, missing, ready_at FROM onboarding")
        ).all()
    quarantined, awaiting = left_alone(engine, "app", NOW)
    assert quarantined == {"umbrella": "delegation_missing"}
    assert awaiting == {"contoso": Awaiting.CONSENT}
    assert {name: one.awaiting for name, one in stood.items()} == {
        "acme": None,
        "contoso": Awaiting.CONSENT,
        "idle": None,
        "left": None,
        "umbrella": None,
    }
    assert stood["umbrella"].quarantined_until == NOW + timedelta(hours=6)
    assert sorted((row.tenant, row.standing) for row in shown) == [
        ("acme", "ready"),
        ("contoso", "awaiting consent"),
        ("idle", "disabled"),
        ("umbrella", "ready"),
    ]
    assert {(row.since, row.consent, row.missing, row.ready_at) for row in shown} == {(None,) * 4}


def test_an_existing_google_tenant_stays_ready_when_it_gets_a_canary(at_revision):
    """Only a new tenant has to be probed first; a tenant that works is not stopped for it."""
    engine = at_revision("0001")
    fill(engine, FIRST_ROWS, FIRST_TENANTS)
    upgrade(engine)
    week = timedelta(days=7)
    acme = Tenant(
        "acme", Provider.GOOGLE, "sa", "conn", "mail", week, enabled=True, canary="c@acme.example"
    )
    with engine.begin() as connection:
        write_settings(connection, "app", [acme])
        assert standings(connection, "app")["acme"].awaiting is None
