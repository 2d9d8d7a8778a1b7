"""The tenants table is read as a whole and strictly; errors say how to correct a mistake."""

from datetime import timedelta

import pytest

from bulkgrants.errors import Misconfigured
from bulkgrants.model import Provider, Tenant
from bulkgrants.rosters.tenants import read_tenants
from bulkgrants.rosters.warehouse import tenants_source

CALENDAR = "https://www.googleapis.com/auth/calendar"
GMAIL = "https://www.googleapis.com/auth/gmail.readonly"
TENANTS = tenants_source("tenants")
TEXTS = (
    "tenant TEXT, provider TEXT, credential TEXT, secret_conn_id TEXT, scopes TEXT, "
    "grace_days TEXT, enabled TEXT, microsoft_tenant TEXT, canary TEXT, consent_scopes TEXT, "
    "azure_manifest TEXT, notes TEXT"
)
COLUMNS = [part.split()[0] for part in TEXTS.split(", ")]
GUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"
GRAPH = "https://graph.microsoft.com"


def row(**cells):
    google = {
        "tenant": "acme", "provider": "google", "credential": "acme-sa",
        "secret_conn_id": "google_acme", "scopes": CALENDAR,
    }  # fmt: skip
    return tuple((google | cells).get(name) for name in COLUMNS)


def at_microsoft(**cells):
    microsoft = {
        "tenant": "umbra", "provider": "microsoft", "credential": "umbra-ac",
        "secret_conn_id": "azure_umbra", "scopes": None,
    }  # fmt: skip
    return row(**(microsoft | cells))


@pytest.fixture
def read(filled):
    def reading(*rows, definition=TEXTS):
        return read_tenants(filled(definition, *rows, table="tenants"), TENANTS)

    return reading


def test_tenants_are_read_in_order_with_their_defaults(read):
    found = read(
        row(tenant=" acme ", provider="Google", scopes=f"{GMAIL}, {CALENDAR} openid"),
        at_microsoft(scopes=" ", grace_days="0", enabled="no", notes="not read"),
    )
    assert found == [
        Tenant("acme", Provider.GOOGLE, "acme-sa", "google_acme", f"{CALENDAR} {GMAIL}",
               timedelta(days=7), enabled=True, required=f"{CALENDAR} {GMAIL}"),
        Tenant("umbra", Provider.MICROSOFT, "umbra-ac", "azure_umbra", "",
               timedelta(0), enabled=False, required="User.Read.All"),
    ]  # fmt: skip


def test_a_microsoft_tenant_is_read_with_all_its_columns(read):
    [tenant] = read(
        at_microsoft(
            microsoft_tenant=f" {GUID.upper()} ", canary=" Canary@Umbra.Example.COM ",
            scopes=f"Mail.Read, {GRAPH}/User.Read.All https://Graph.Microsoft.com/Mail.Read",
            consent_scopes=f"{GRAPH}/Calendars.Read.Shared {GRAPH}/Calendars.Read",
            azure_manifest="umbra app.json",
        )
    )  # fmt: skip
    assert tenant == Tenant(
        "umbra", Provider.MICROSOFT, "umbra-ac", "azure_umbra", "", timedelta(days=7),
        enabled=True, microsoft_tenant=GUID, canary="canary@umbra.example.com",
        required="Mail.Read User.Read.All",
        consent_scopes=f"{GRAPH}/Calendars.Read {GRAPH}/Calendars.Read.Shared",
        azure_manifest="umbra app.json",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (None, ""),
        (" ", ""),
        ("Common", "common"),
        ("Contoso.OnMicrosoft.com", "contoso.onmicrosoft.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_microsoft_tenant_is_an_id_a_domain_common_or_left_out(read, written, meant):
    [tenant] = read(at_microsoft(microsoft_tenant=written))
    assert tenant.microsoft_tenant == meant


def test_a_microsoft_tenant_does_not_need_its_own_secret(read):
    [tenant] = read(at_microsoft(secret_conn_id=" "))
    assert tenant.secret_conn_id == ""


def test_a_consent_may_have_its_own_scopes_if_a_domain_names_the_tenant(read):
    [tenant] = read(
        at_microsoft(microsoft_tenant="umbra.example.com", consent_scopes=f"{GRAPH}/.default")
    )
    assert tenant.consent_scopes == f"{GRAPH}/.default"


def test_a_google_tenant_has_a_canary_too(read):
    [tenant] = read(row(canary="C@Acme.example.com"))
    assert tenant.canary == "c@acme.example.com"


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
def test_enabled_may_have_the_databases_own_boolean_type(read, kind, yes):
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
def test_days_may_be_floats_with_whole_values(read, kind):
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
        ({"tenant": "a\u061cb"}, "unprintable"),
        ({"tenant": "a" * 201}, "has 201 characters; shorten it to at most 200"),
        ({"credential": "a" * 5000}, "column `credential`: "),
        ({"provider": None}, '(tenant "acme") of the tenants table "tenants", column `provider`'),
        ({"provider": "yahoo"}, '"yahoo" is not a known provider; write google or microsoft'),
        ({"credential": ""}, "column `credential`: it is empty; write the name"),
        ({"secret_conn_id": None}, "column `secret_conn_id`: it is empty; write the id"),
        ({"scopes": None}, "column `scopes`: it is empty; write the Google scopes"),
        ({"scopes": "openid"}, "only identity scopes"),
        ({"scopes": "a|b"}, '"a|b" is not a scope; separate the scopes with blanks'),
        ({"provider": "microsoft"}, f'"{CALENDAR}" is not an application permission of Microsoft'),
        ({"grace_days": "-1"}, '"-1" is not a number of days; write a whole number from 0 to 3650'),
        ({"grace_days": "1.5"}, '"1.5" is not a number of days'),
        ({"grace_days": "a week"}, '"a week" is not a number of days'),
        ({"grace_days": "9" * 400}, "is not a number of days"),
        ({"enabled": "maybe"}, '"maybe" is neither yes nor no; write true or false'),
        ({"canary": "nobody"}, 'column `canary`: "nobody" is not a mailbox address ('),
        ({"canary": "a" * 900}, "write the address of one mailbox of the tenant, or leave it"),
        ({"microsoft_tenant": "common"}, "`microsoft_tenant`: it is for Microsoft tenants only"),
        ({"consent_scopes": "a"}, "`consent_scopes`: it is for Microsoft tenants only; leave"),
        ({"azure_manifest": "a.json"}, "`azure_manifest`: it is for Microsoft tenants only"),
    ],
)
def test_a_wrong_cell_is_named_with_what_to_write(read, cells, said):
    with pytest.raises(Misconfigured) as caught:
        read(row(**cells))
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"credential": None}, "column `credential`: it is empty; write the name"),
        ({"microsoft_tenant": "Organizations"}, '"organizations" means many tenants at once'),
        ({"microsoft_tenant": "consumers"}, "accepts only `common`; write that, or the tenant's"),
        (
            {"microsoft_tenant": "contoso"},
            '"contoso" is not a Microsoft tenant; write its id (a GUID',
        ),
        ({"microsoft_tenant": GUID[:-1]}, "is not a Microsoft tenant"),
        ({"microsoft_tenant": f"{{{GUID}}}"}, "is not a Microsoft tenant"),
        ({"microsoft_tenant": "a.b/../common"}, "is not a Microsoft tenant"),
        ({"microsoft_tenant": "a." * 126 + "com"}, "is not a Microsoft tenant"),
        (
            {"scopes": f"{GRAPH}/.default"},
            '".default" is not an application permission of Microsoft',
        ),
        ({"scopes": "https://outlook.office.com/Mail.Read"}, "write short names such as User.Read"),
        ({"scopes": "a|b"}, '"a|b" is not a scope; separate the scopes with blanks'),
        ({"consent_scopes": "a"}, "names one tenant, but it is empty; leave this cell"),
        ({"consent_scopes": "a", "microsoft_tenant": "common"}, 'but it is "common"; leave this'),
        ({"consent_scopes": "a|b", "microsoft_tenant": GUID}, '"a|b" is not a scope'),
        (
            {"azure_manifest": "apps/umbra.json"},
            '"apps/umbra.json" is not a plain file name; write',
        ),
        ({"azure_manifest": "apps\\umbra.json"}, "is not a plain file name"),
        ({"azure_manifest": "..json"}, "is not a plain file name"),
        ({"azure_manifest": "umbra.yaml"}, "is not a plain file name"),
        ({"azure_manifest": "u" * 96 + ".json"}, "of at most 100 characters that ends in .json"),
    ],
)
def test_a_wrong_cell_of_a_microsoft_tenant_is_named_with_what_to_write(read, cells, said):
    with pytest.raises(Misconfigured) as caught:
        read(at_microsoft(**cells))
    assert said in str(caught.value)
    assert 'Row 1 (tenant "umbra") of the tenants table "tenants", column' in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_tenant_that_is_a_number_is_to_be_cast(read):
    with pytest.raises(Misconfigured, match=r'`tenant`: it holds "7" \(int\); change the col'):
        read(row(tenant=7), definition=TEXTS.replace("tenant TEXT", "tenant INTEGER", 1))


def test_a_tenant_named_twice_is_refused_with_both_rows(read):
    with pytest.raises(Misconfigured, match='tenant "acme" in rows 1 and 3'):
        read(row(), row(tenant="b"), row(tenant="acme "))


def test_a_shared_credential_has_one_secret(read):
    with pytest.raises(Misconfigured, match=r'"acme" and "b" .* share the credential "acme-sa"'):
        read(row(), row(tenant="b", secret_conn_id="google_b"))


def test_credentials_of_two_providers_may_share_a_name(read):
    assert len(read(row(), at_microsoft(credential="acme-sa"))) == 2


def test_a_shared_credential_has_one_microsoft_tenant(read):
    with pytest.raises(Misconfigured) as caught:
        read(at_microsoft(microsoft_tenant=GUID), at_microsoft(tenant="b"))
    assert (
        f'share the credential "umbra-ac" but not its Microsoft tenant ("{GUID}", ""); '
        "write the same `microsoft_tenant` for both, or give each its own credential."
    ) in str(caught.value)


def test_tenants_may_share_a_credential_for_any_microsoft_tenant(read):
    tenants = [at_microsoft(tenant=name, microsoft_tenant="common") for name in ("a", "b")]
    assert [tenant.tenant for tenant in read(*tenants)] == ["a", "b"]


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
