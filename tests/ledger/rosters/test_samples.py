"""The samples get the fates that their list expects."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import create_engine, select

from bulkgrants.ledger.rights import writing
from bulkgrants.ledger.tables import entries, rejects
from bulkgrants.model import (
    Actual,
    Change,
    Circumstances,
    Desired,
    GrantStatus,
    Skip,
    SkipReason,
    Standing,
)
from bulkgrants.reconcile.decide import decide
from bulkgrants.rosters.read import Staged, read_chunks, stage_roster
from bulkgrants.rosters.tenants import read_tenants
from bulkgrants.rosters.warehouse import roster_source, tenants_source
from bulkgrants.text import address_key, canonical_scopes
from support.ledgers import opened

SAMPLES = Path(__file__).parents[3] / "include" / "samples"
NOW = datetime(2026, 1, 31, tzinfo=UTC)
READY = Standing(
    enabled=True, awaiting=None, quarantined_until=None, quarantine_reason="", grace=timedelta(7)
)
MADE = {"create": "granted", "renew": "renewed", "rescope": "rescoped"}


def rows_of(name):
    with (SAMPLES / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def staged(ledger, tmp_path):
    """The samples, read from a warehouse into the ledger, as (staged, tenants, grants)."""
    warehouse = create_engine(f"sqlite:///{tmp_path / 'warehouse.db'}")
    for name in ("tenants", "roster"):
        pd.DataFrame(rows_of(name)).to_sql(name, warehouse, index=False)
    tenants = {
        tenant.tenant: tenant for tenant in read_tenants(warehouse, tenants_source("tenants"))
    }
    run = opened(ledger, now=NOW)
    with writing(ledger, run, NOW) as write:
        found = stage_roster(
            write,
            chunks=read_chunks(warehouse, roster_source("roster"), None, chunk_rows=10),
            tenants=tenants,
            credential_ids={
                ("google", t.credential): f"id of {t.credential}" for t in tenants.values()
            },
        )
    warehouse.dispose()
    return found


def fate_of(entry, grants):
    desired = Desired(entry.tenant, entry.scopes, entry.credential_id)
    circumstances = Circumstances(now=NOW, provider=entry.provider, standing=READY)
    match decide(desired, grants.get(entry.email), circumstances):
        case Skip(reason=SkipReason.EQUAL):
            return "adopted"
        case Skip(reason=reason):
            return reason.value
        case change:
            assert isinstance(change, Change)
            return MADE[change.kind]


def actual(number, row):
    return Actual(
        grant_id=str(number),
        status=GrantStatus(row["status"]),
        scopes=canonical_scopes(row["scopes"]),
        credential_id=f"id of {row['credential']}" if row["credential"] else "elsewhere",
        blocked=False,
        owned=False,
        orphan_since=None,
    )


def test_every_sample_row_has_the_fate_that_is_listed(ledger, staged):
    roster, fates = rows_of("roster"), rows_of("fates")
    assert [(row["email"], row["tenant"]) for row in roster] == [
        (row["email"], row["tenant"]) for row in fates
    ]
    grants = {address_key(row["email"]): actual(n, row) for n, row in enumerate(rows_of("grants"))}
    with ledger.begin() as connection:
        found = {row.row_number: row.reason for row in connection.execute(select(rejects))}
        found |= {
            entry.row_number: fate_of(entry, grants)
            for entry in connection.execute(select(entries))
        }
    # only when its grant is asked for does it show whether the provider knows a mailbox
    expected = [row["fate"].replace("refused", "granted") for row in fates]
    assert [found[number] for number in range(1, len(roster) + 1)] == expected
    assert staged == Staged(entries=39, rejected=len(roster) - 39, read=len(roster))


def test_the_samples_have_a_row_for_every_fate_worth_showing():
    assert {row["fate"] for row in rows_of("fates")} == {
        *("granted", "adopted", "renewed", "rescoped", "refused", "credential_differs"),
        *("duplicate", "conflicting_duplicate", "bad_address", "empty_email", "empty_tenant"),
        *("unknown_tenant", "unknown_credential", "unreadable_scopes", "provider_mismatch"),
    }


def test_a_fate_is_listed_once_for_each_address_and_tenant():
    keys = [(row["email"], row["tenant"]) for row in rows_of("fates")]
    assert len(set(keys)) == len(keys)


def test_some_grants_are_not_in_any_roster_row():
    named = {address_key(row["email"]) for row in rows_of("roster")}
    assert sum(address_key(row["email"]) not in named for row in rows_of("grants")) == 4
