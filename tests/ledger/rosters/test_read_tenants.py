"""The tenants table is read whole and strictly; a mistake in it is named with its cure."""

from datetime import timedelta

import pytest

from bulkgrants.errors import Misconfigured
from bulkgrants.model import Provider, Tenant
from bulkgrants.rosters.sources import tenants_source
from bulkgrants.rosters.tenants import read_tenants

CALENDAR = "https://www.googleapis.com/auth/calendar"
GMAIL = "https://www.googleapis.com/auth/gmail.readonly"
TENANTS = tenants_source("tenants")
TEXTS = (
    "tenant TEXT, provider TEXT, credential TEXT, secret_conn_id TEXT, scopes TEXT, "
    "grace_days TEXT, enabled TEXT, canary TEXT"
)
COLUMNS = [part.split()[0] for part in TEXTS.split(", ")]


def row(**cells):
    google = {
        "tenant": "acme", "provider": "google", "credential": "acme-sa",
        "secret_conn_id": "google_acme", "scopes": CALENDAR,
    }  # fmt: skip
    return tuple((google | cells).get(name) for name in COLUMNS)


@pytest.fixture
def read(filled):
    def reading(*rows, definition=TEXTS):
        return read_tenants(filled(definition, *rows, table="tenants"), TENANTS)

    return reading


def test_tenants_are_read_in_order_with_their_defaults(read):
    found = read(
        row(tenant=" acme ", provider="Google", scopes=f"{GMAIL}, {CALENDAR} openid"),
        row(tenant="umbra", provider="microsoft", credential="umbra-ac",
            secret_conn_id="azure_umbra", scopes=" ", grace_days="0", enabled="no",
            canary="c@umbra.example.com"),
    )  # fmt: skip
    assert found == [
        Tenant("acme", Provider.GOOGLE, "acme-sa", "google_acme", f"{CALENDAR} {GMAIL}",
               timedelta(days=7), enabled=True),
        Tenant("umbra", Provider.MICROSOFT, "umbra-ac", "azure_umbra", "",
               timedelta(0), enabled=False),
    ]  # fmt: skip


def test_only_the_first_four_columns_and_scopes_are_needed(filled):
    engine = filled(
        "tenant TEXT, provider TEXT, credential TEXT, secret_conn_id TEXT",
        ("umbra", "microsoft", "umbra-ac", "azure_umbra"),
        table="tenants",
    )
    [tenant] = read_tenants(engine, TENANTS)
    assert (tenant.scopes, tenant.grace, tenant.enabled) == ("", timedelta(days=7), True)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("true", True),
        ("T", True),
        ("1", True),
        ("yes", True),
        ("", True),
        (None, True),
        ("false", False),
        ("f", False),
        ("0", False),
        (" No ", False),
        ("1.0", True),
    ],
)
def test_enabled_is_read_as_people_write_it(read, written, meant):
    [tenant] = read(row(enabled=written))
    assert tenant.enabled is meant


@pytest.mark.parametrize(("kind", "yes"), [("BOOLEAN", True), ("INTEGER", 1)])
def test_enabled_may_be_of_the_databases_own_kind(read, kind, yes):
    definition = TEXTS.replace("enabled TEXT", f"enabled {kind}")
    definition = definition.replace("grace_days TEXT", "grace_days INTEGER")
    [one, other] = read(
        row(enabled=yes, grace_days=3),
        row(tenant="b", enabled=type(yes)(0), grace_days=None),
        definition=definition,
    )
    assert (one.enabled, one.grace) == (True, timedelta(days=3))
    assert (other.enabled, other.grace) == (False, timedelta(days=7))


@pytest.mark.parametrize("kind", ["FLOAT", "NUMERIC(10, 1)"])
def test_days_may_be_numbers_with_a_fraction_of_nothing(read, kind):
    [tenant] = read(
        row(grace_days=30), definition=TEXTS.replace("grace_days TEXT", f"grace_days {kind}")
    )
    assert tenant.grace == timedelta(days=30)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"tenant": None}, 'Row 1 of the tenants table "tenants", column `tenant`: it is empty'),
        ({"tenant": " "}, "column `tenant`: it is empty"),
        ({"tenant": "a\nb"}, "unprintable"),
        ({"provider": None}, '(tenant "acme") of the tenants table "tenants", column `provider`'),
        ({"provider": "yahoo"}, '"yahoo" is no provider known here; write google or microsoft'),
        ({"credential": ""}, "column `credential`: it is empty; write the name"),
        ({"secret_conn_id": None}, "column `secret_conn_id`: it is empty; write the id"),
        ({"scopes": None}, "column `scopes`: it is empty; write the Google scopes"),
        ({"scopes": "openid"}, "only identity scopes"),
        ({"scopes": "a|b"}, '"a|b" is no scope; separate the scopes by blanks'),
        ({"provider": "microsoft"}, "leave it empty, as a Microsoft tenant's scopes come from"),
        ({"grace_days": "-1"}, '"-1" is no number of days; write a whole number from 0 to 3650'),
        ({"grace_days": "1.5"}, '"1.5" is no number of days'),
        ({"grace_days": "a week"}, '"a week" is no number of days'),
        ({"grace_days": "9" * 400}, "is no number of days"),
        ({"enabled": "maybe"}, '"maybe" is neither yes nor no; write true or false'),
    ],
)
def test_a_wrong_cell_is_named_with_what_to_write(read, cells, said):
    with pytest.raises(Misconfigured) as caught:
        read(row(**cells))
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_tenant_that_is_a_number_is_to_be_cast(read):
    with pytest.raises(Misconfigured, match=r'`tenant`: it holds "7" \(int\); make the column'):
        read(row(tenant=7), definition=TEXTS.replace("tenant TEXT", "tenant INTEGER", 1))


def test_a_tenant_named_twice_is_refused_with_both_rows(read):
    with pytest.raises(Misconfigured, match='tenant "acme" in rows 1 and 3'):
        read(row(), row(tenant="b"), row(tenant="acme "))


def test_a_shared_credential_has_one_secret(read):
    with pytest.raises(Misconfigured, match=r'"acme" and "b" .* share the credential "acme-sa"'):
        read(row(), row(tenant="b", secret_conn_id="google_b"))


def test_credentials_of_two_providers_may_share_a_name(read):
    microsoft = {"provider": "microsoft", "scopes": None, "secret_conn_id": "azure_b"}
    assert len(read(row(), row(tenant="b", **microsoft))) == 2


def test_a_table_without_tenants_is_refused(read):
    with pytest.raises(Misconfigured, match="has no rows"):
        read()


def test_scopes_may_be_an_array_of_the_database(warehouse, filled):
    if warehouse.dialect.name == "sqlite":
        pytest.skip("SQLite has no arrays")
    definition = TEXTS.replace("scopes TEXT", "scopes TEXT[]")
    engine = filled(definition, row(scopes=[GMAIL, CALENDAR]), table="tenants")
    [tenant] = read_tenants(engine, TENANTS)
    assert tenant.scopes == f"{CALENDAR} {GMAIL}"
