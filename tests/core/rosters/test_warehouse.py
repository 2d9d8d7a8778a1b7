"""Sources become selects with the right quotes; a setting that cannot be a source is refused."""

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from bulkgrants.errors import Misconfigured
from bulkgrants.rosters.warehouse import (
    as_our_error,
    labelled,
    roster_source,
    tenants_source,
)


def compiled(source, resolved, dialect=postgresql):
    statement = sa.select(*labelled(source.origin(resolved.values()), resolved))
    return " ".join(str(statement.compile(dialect=dialect.dialect())).split())


def test_a_table_is_selected_by_name():
    source = roster_source(" staff ")
    assert compiled(source, {"email": "email"}) == "SELECT staff.email AS email FROM staff"


def test_a_schema_and_awkward_names_are_quoted():
    source = roster_source("Hr.staff list", {"email": 'e"; drop table x --'})
    assert compiled(source, {"email": 'e"; drop table x --'}) == (
        'SELECT "Hr"."staff list"."e""; drop table x --" AS email FROM "Hr"."staff list"'
    )


@pytest.mark.parametrize("dialect", [postgresql, sqlite])
def test_a_query_becomes_a_subselect_as_it_was_written(dialect):
    source = roster_source("with a as (select 'x:y' as mail) select mail from a -- all; ")
    assert compiled(source, {"email": "mail"}, dialect) == (
        "SELECT source.mail AS email FROM (with a as (select 'x:y' as mail) "
        "select mail from a -- all ) AS source"
    )


def test_a_table_whose_name_starts_like_a_query_is_a_table():
    assert roster_source("selected_staff").table == "selected_staff"


@pytest.mark.parametrize("origin", ["", "  ", ";", "a.b.c", "a.", ".b"])
def test_an_origin_that_does_not_name_a_source_is_refused(origin):
    with pytest.raises(Misconfigured, match=r"`roster`"):
        roster_source(origin)


@pytest.mark.parametrize("columns", [{"mail": "email"}, {"email": " "}, {"grace_days": "x"}])
def test_a_mapping_of_unknown_columns_is_refused_with_those_we_know(columns):
    with pytest.raises(Misconfigured, match=r"`roster_columns`.*tenant, email, scopes"):
        roster_source("staff", columns)


def test_tenants_have_columns_of_their_own():
    assert tenants_source("t", {"grace_days": "g"}).columns == {"grace_days": "g"}


@pytest.mark.parametrize(
    "said",
    [
        "no route to me:pass-word-of-the-warehouse@db",
        "no token hush-token-of-the-warehouse",
        "token%20hush%2Dtoken%2Dof%2Dthe%2Dwarehouse refused",
    ],
)
def test_what_the_database_says_is_shown_without_what_the_url_keeps_secret(said):
    url = (
        "postgresql+psycopg://me:pass-word-of-the-warehouse@db/d?token=hush-token-of-the-warehouse"
    )
    raised = sa.exc.ProgrammingError("SELECT 1", {}, Exception(said))
    error = as_our_error(raised, sa.create_engine(url), roster_source("staff"), under_way=False)
    assert "[redacted]" in str(error)
    assert "of-the-warehouse" not in str(error)
    assert "Dthe" not in str(error)
