"""Rosters are read by day, with any type of date; errors say what to correct."""

import datetime as dt

import pytest
from sqlalchemy import create_engine, event, text

from bulkgrants.errors import Misconfigured, Unavailable
from bulkgrants.rosters.read import read_chunks
from bulkgrants.rosters.warehouse import (
    has_partitions,
    newest_partition,
    roster_source,
)

ROSTER = roster_source("roster")
JAN_30, JAN_31, FEB_1 = dt.date(2026, 1, 30), dt.date(2026, 1, 31), dt.date(2026, 2, 1)


def emails(engine, source, day=None, **options):
    return [
        email for chunk in read_chunks(engine, source, day, **options) for email in chunk["email"]
    ]


def of_type(kind):
    """A function that writes midnight and the last minute of a day in a column of that type."""
    utc = dt.UTC if kind == "TIMESTAMP WITH TIME ZONE" else None
    late = dt.time(23, 59)
    match kind:
        case "DATE":
            return lambda day, _late: day
        case "TEXT":
            return lambda day, _late: day.isoformat()
        case _:
            return lambda day, at_night: dt.datetime.combine(
                day, late if at_night else dt.time.min, utc
            )


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TEXT"])
def test_a_day_is_found_whatever_the_type_of_its_date(warehouse, kind):
    moment = of_type(kind)
    with warehouse.begin() as connection:
        connection.execute(
            text(f"CREATE TABLE roster (roster_date {kind}, tenant TEXT, email TEXT)")
        )
        for day, at_night, email in [
            (JAN_30, False, "a"), (JAN_31, False, "b"), (JAN_31, True, "c"), (None, False, "d"),
        ]:  # fmt: skip
            value = None if day is None else moment(day, at_night)
            if warehouse.dialect.name == "sqlite" and value is not None:
                value = value.isoformat() if type(value) is dt.date else str(value)
            connection.execute(
                text("INSERT INTO roster VALUES (:day, 't', :email)"),
                {"day": value, "email": email},
            )
    assert has_partitions(warehouse, ROSTER)
    assert newest_partition(warehouse, ROSTER) == JAN_31
    assert sorted(emails(warehouse, ROSTER, JAN_31)) == ["b", "c"]
    assert emails(warehouse, ROSTER, JAN_30) == ["a"]
    assert emails(warehouse, ROSTER, FEB_1) == []


def test_a_timestamp_with_a_zone_belongs_to_its_day_in_utc(postgres_url):
    engine = create_engine(postgres_url, connect_args={"options": "-c timezone=Asia/Tokyo"})
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE roster AS SELECT timestamptz '2026-01-31 20:00+00' AS roster_date,"
                 " 't' AS tenant, 'a' AS email")
        )  # fmt: skip
    assert newest_partition(engine, ROSTER) == JAN_31
    assert emails(engine, ROSTER, JAN_31) == ["a"]
    engine.dispose()


def test_a_current_table_has_no_partitions(filled):
    engine = filled("tenant TEXT, email TEXT", ("t", "a"), ("t", "b"))
    assert not has_partitions(engine, ROSTER)
    assert newest_partition(engine, ROSTER) is None
    assert emails(engine, ROSTER) == ["a", "b"]


def test_an_empty_roster_has_no_newest_day_and_no_rows(filled):
    engine = filled("roster_date DATE, tenant TEXT, email TEXT")
    assert newest_partition(engine, ROSTER) is None
    assert emails(engine, ROSTER, JAN_31) == []


def test_chunks_number_the_rows_and_keep_the_cells_as_they_are(filled):
    engine = filled(
        "tenant INTEGER, email TEXT, scopes TEXT", (1, "a", None), (None, "b", "s"), (3, None, None)
    )
    chunks = list(read_chunks(engine, ROSTER, None, chunk_rows=2))
    assert [chunk["row_number"].tolist() for chunk in chunks] == [[1, 2], [3]]
    assert [value for chunk in chunks for value in chunk["tenant"]] == [1, None, 3]
    assert [value for chunk in chunks for value in chunk["scopes"]] == [None, "s", None]
    assert all(chunk["tenant"].dtype == object for chunk in chunks)


def test_columns_are_found_by_mapping_and_by_case(filled):
    engine = filled('"Customer" TEXT, "EMAIL" TEXT, "Odd "" name" TEXT', ("t", "a", "x"))
    source = roster_source("roster", {"tenant": "Customer", "credential": 'Odd " name'})
    [chunk] = read_chunks(engine, source, None)
    assert chunk.drop(columns="row_number").to_dict("records") == [
        {"tenant": "t", "email": "a", "credential": "x"}
    ]


def test_a_query_is_read_like_a_table(filled):
    engine = filled("d DATE, t TEXT, m TEXT", (JAN_30, "t", "a:b"), (JAN_31, "t", "a%b"))
    query = "SELECT d AS roster_date, t AS tenant, m AS email FROM roster WHERE m LIKE 'a%' -- all;"
    source = roster_source(query)
    assert newest_partition(engine, source) == JAN_31
    assert emails(engine, source, JAN_30) == ["a:b"]


def test_a_missing_column_is_reported_with_those_that_exist(filled):
    engine = filled("tenant TEXT, mail TEXT")
    with pytest.raises(Misconfigured) as caught:
        list(read_chunks(engine, ROSTER, None))
    assert str(caught.value) == (
        'The roster table "roster" has no column "email"; it has tenant, mail. Add the column, or '
        "map `email` to one of these in the setting `roster_columns`."
    )


def test_an_optional_column_that_is_mapped_must_be_there(filled):
    engine = filled("tenant TEXT, email TEXT")
    with pytest.raises(Misconfigured, match='no column "snapshot"'):
        newest_partition(engine, roster_source("roster", {"roster_date": "snapshot"}))


def test_a_missing_table_is_named_without_sql_or_login(warehouse):
    for look in (has_partitions, newest_partition, lambda *args: list(read_chunks(*args, None))):
        with pytest.raises(Misconfigured) as caught:
            look(warehouse, ROSTER)
        assert 'roster table "roster"' in str(caught.value)
        assert "`roster`" in str(caught.value)
        assert "SELECT" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def test_a_broken_query_is_distinguished_from_a_missing_table(warehouse):
    with pytest.raises(
        Misconfigured, match=r"^The roster query at .* cannot be read \(\w+: .*nope"
    ):
        has_partitions(warehouse, roster_source("SELECT nope(1) AS email"))


def test_a_table_that_may_not_be_read_says_so(postgres_url):
    admin = create_engine(postgres_url)
    with admin.begin() as connection:
        connection.execute(text("CREATE TABLE roster (tenant TEXT, email TEXT)"))
        connection.execute(text("DROP ROLE IF EXISTS analyst"))
        connection.execute(text("CREATE ROLE analyst LOGIN PASSWORD 'hush-hush'"))
    engine = create_engine(admin.url.set(username="analyst", password="hush-hush"))
    with pytest.raises(Misconfigured, match="permission denied for table roster") as caught:
        has_partitions(engine, ROSTER)
    assert "hush" not in str(caught.value)
    engine.dispose()
    admin.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://zoe:hush@127.0.0.1:1/hr?application_name=hush",
        "sqlite:////nowhere/at/all.db",
    ],
)
def test_an_unreachable_warehouse_is_named_without_login(url):
    with pytest.raises(Misconfigured, match="cannot be reached") as caught:
        newest_partition(create_engine(url), ROSTER)
    assert "hush" not in str(caught.value)
    assert "zoe" not in str(caught.value)


@pytest.mark.parametrize("value", ["latest", "20260131x", ""])
def test_a_newest_date_that_is_not_a_date_is_quoted(filled, value):
    engine = filled("roster_date TEXT, tenant TEXT, email TEXT", (value, "t", "a"))
    with pytest.raises(
        Misconfigured, match=rf"is '{value}', which is not a date.*`roster_columns`"
    ):
        newest_partition(engine, ROSTER)


def test_a_date_written_as_a_number_is_refused(filled):
    engine = filled("roster_date INTEGER, tenant TEXT, email TEXT", (20260131, "t", "a"))
    with pytest.raises(Misconfigured, match="is 20260131, which is not a date"):
        newest_partition(engine, ROSTER)


def test_a_roster_of_days_is_never_read_as_a_whole(filled):
    engine = filled("roster_date DATE, tenant TEXT, email TEXT")
    with pytest.raises(Misconfigured, match="a day must be chosen"):
        list(read_chunks(engine, ROSTER, None))


def test_a_current_table_has_no_days_to_choose(filled):
    engine = filled("tenant TEXT, email TEXT")
    with pytest.raises(Misconfigured, match="no roster for 2026-01-31"):
        list(read_chunks(engine, ROSTER, JAN_31))


def test_a_connection_lost_half_way_can_be_tried_again(filled):
    rows = [("t", f"a{n}@acme.example.com") for n in range(50)]
    engine = filled("tenant TEXT, email TEXT", *rows)
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no connection to lose")
    chunks = read_chunks(engine, ROSTER, None, chunk_rows=10)
    next(chunks)
    with engine.connect() as other:
        other.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                 "WHERE datname = current_database() AND pid <> pg_backend_pid()")
        )  # fmt: skip
    with pytest.raises(Unavailable, match="was lost while"):
        list(chunks)


def test_a_mistake_in_the_data_half_way_has_to_be_corrected_by_a_person(postgres_url):
    engine = create_engine(postgres_url)
    source = roster_source(
        "SELECT 't' AS tenant, CAST(10 / (50 - n) AS TEXT) AS email FROM generate_series(1, 99) n"
    )
    with pytest.raises(Misconfigured, match=r"\(DivisionByZero\)"):
        list(read_chunks(engine, source, None, chunk_rows=10))
    engine.dispose()


def test_the_warehouse_is_only_ever_read(postgres_url):
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE other (n INT)"))
        connection.execute(
            text("CREATE FUNCTION spoil() RETURNS TEXT LANGUAGE sql AS "
                 "'INSERT INTO other VALUES (1) RETURNING ''x'''")
        )  # fmt: skip
    source = roster_source("SELECT 't' AS tenant, spoil() AS email")
    with pytest.raises(Misconfigured, match="ReadOnlySqlTransaction"):
        list(read_chunks(engine, source, None))
    engine.dispose()


def test_reading_stops_when_the_reader_stops(filled):
    engine = filled("tenant TEXT, email TEXT", *[("t", str(n)) for n in range(50)])
    fetched = []
    event.listen(engine, "checkin", lambda *_: fetched.append(1))
    chunks = read_chunks(engine, ROSTER, None, chunk_rows=10)
    next(chunks)
    assert not fetched
    chunks.close()
    assert fetched
