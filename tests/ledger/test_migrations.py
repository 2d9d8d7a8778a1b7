"""A ledger of an older revision is brought up to date with all that is in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import inspect, text

from bulkgrants.ledger.engine import open_ledger, upgrade
from bulkgrants.ledger.tables import metadata
from bulkgrants.ledger.tenants import quarantined, record_tenants, standings
from bulkgrants.ledger.views import VIEWS
from bulkgrants.model import Awaiting, Provider, Tenant

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
NEW_TABLES = {"consents", "consent_attempts", "probes"}
ADDED = {
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
}
"""What a tenant of before has in the new columns of `tenants`."""

ROWS = """
INSERT INTO runs (id, application, key, kind, mode, mode_reason, token, opened_at)
VALUES (1, 'app', 'dag/run', 'reconcile', 'apply', '', 1, '2026-02-28 02:00:00.000000');
INSERT INTO leases VALUES ('app', 1, 7, '2026-03-01 02:00:00.000000');
INSERT INTO credentials
VALUES ('app', 'google', 'sa', 'serviceaccount', 'cred-1', 'f', '2026-02-01 02:00:00.000000', NULL);
INSERT INTO grants
VALUES ('app', 'google', 'ada@acme.example.com', 'g1', 'valid', 'mail', 'cred-1', false, 1, 2,
        true, 'acme', NULL, NULL);
INSERT INTO changes (run_id, seq, kind, provider, email, tenant, scopes, state, detail)
VALUES (1, 1, 'create', 'google', 'ada@acme.example.com', 'acme', 'mail', 'done', '');
INSERT INTO attempts VALUES (1, 1, 1, 1, '2026-02-28 02:00:00.000000', NULL, NULL, NULL, '');
INSERT INTO tenants
VALUES ('app', 'acme', 'google', 'sa', 'conn', 'mail', 604800, true, true, NULL, NULL, ''),
       ('app', 'contoso', 'microsoft', 'ms', 'conn', '', 60, true, true, 'consent', NULL, ''),
       ('app', 'idle', 'google', 'sa', 'conn', 'mail', 60, false, true, NULL, NULL, ''),
       ('app', 'left', 'google', 'sa', 'conn', 'mail', 60, true, false, NULL, NULL, ''),
       ('app', 'umbrella', 'google', 'sa', 'conn', 'mail', 60, true, true, NULL,
        '2026-03-01 08:00:00.000000', 'delegation_missing')
"""


@pytest.fixture
def old(database_url):
    """A ledger at revision 0001."""
    engine = open_ledger(database_url)
    config = Config()
    config.set_main_option("script_location", "include/bulkgrants/ledger/migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    yield engine
    engine.dispose()


def contents(engine) -> dict[str, list[dict]]:
    """The rows of every table, by its columns."""
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


def fill(engine) -> None:
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL TIME ZONE 'UTC'"))
        for statement in ROWS.split(";\n"):
            connection.execute(text(statement))


def test_the_first_revision_still_makes_what_it_made(old):
    found = inspect(old)
    assert {*found.get_table_names()} == {*metadata.tables, "alembic_version"} - NEW_TABLES
    assert {*found.get_view_names()} == {*VIEWS} - {"onboarding"}
    assert not {column["name"] for column in found.get_columns("tenants")} & {*ADDED}


def test_rows_of_before_are_kept_to_the_letter_and_get_what_is_new(old):
    fill(old)
    before = contents(old)
    assert len(before["tenants"]) == 5
    upgrade(old)
    after = contents(old)
    assert {name: after.pop(name) for name in NEW_TABLES} == {name: [] for name in NEW_TABLES}
    assert [{name: row[name] for name in ADDED} for row in after["tenants"]] == [ADDED] * 5
    for row in after["tenants"]:
        for name in ADDED:
            del row[name]
    assert after == before


def test_tenants_keep_their_standing(old):
    fill(old)
    upgrade(old)
    with old.connect() as connection:
        stood = standings(connection, "app")
        shown = connection.execute(
            text("SELECT tenant, standing, since, consent, missing, ready_at FROM onboarding")
        ).all()
        assert quarantined(connection, "app", NOW) == {"umbrella": "delegation_missing"}
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


def test_a_google_tenant_of_before_stays_ready_when_its_table_names_a_canary(old):
    """Only a tenant that is new has to be probed first; a live one is not stopped for it."""
    fill(old)
    upgrade(old)
    week = timedelta(days=7)
    acme = Tenant(
        "acme", Provider.GOOGLE, "sa", "conn", "mail", week, enabled=True, canary="c@acme.example"
    )
    with old.begin() as connection:
        record_tenants(connection, "app", [acme])
        assert standings(connection, "app")["acme"].awaiting is None
