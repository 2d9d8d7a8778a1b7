"""Rosters are read by day, with any type of date; errors say what to correct."""

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, event, text

from bulkgrants.errors import Misconfigured, Unavailable
from bulkgrants.rosters.read import read_chunks
from bulkgrants.rosters.warehouse import MOST_UNDATED, read_day, roster_days, roster_source

ROSTER = roster_source("roster")
JAN_30, JAN_31, FEB_1 = dt.date(2026, 1, 30), dt.date(2026, 1, 31), dt.date(2026, 2, 1)


def emails(engine, source, day=None, **options):
    return [
        email for chunk in read_chunks(engine, source, day, **options) for email in chunk["email"]
    ]


def newest_day(engine, source=ROSTER, today=FEB_1):
    return roster_days(engine, source, today).newest


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
    assert newest_day(warehouse) == JAN_31
    assert sorted(emails(warehouse, ROSTER, JAN_31)) == ["b", "c", "d"]
    assert sorted(emails(warehouse, ROSTER, JAN_30)) == ["a", "d"]
    assert emails(warehouse, ROSTER, FEB_1) == ["d"]


def test_a_timestamp_with_a_zone_belongs_to_its_day_in_utc(postgres_url):
    engine = create_engine(postgres_url, connect_args={"options": "-c timezone=Asia/Tokyo"})
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE roster AS SELECT timestamptz '2026-01-31 20:00+00' AS roster_date,"
                 " 't' AS tenant, 'a' AS email")
        )  # fmt: skip
    assert newest_day(engine) == JAN_31
    assert emails(engine, ROSTER, JAN_31) == ["a"]
    engine.dispose()


def test_a_current_table_has_no_partitions(filled):
    engine = filled("tenant TEXT, email TEXT", ("t", "a"), ("t", "b"))
    assert roster_days(engine, ROSTER, FEB_1) is None
    assert emails(engine, ROSTER) == ["a", "b"]


def test_an_empty_roster_has_no_newest_day_and_no_rows(filled):
    engine = filled("roster_date DATE, tenant TEXT, email TEXT")
    assert newest_day(engine) is None
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
    assert newest_day(engine, source) == JAN_31
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
        newest_day(engine, roster_source("roster", {"roster_date": "snapshot"}))


def test_a_missing_table_is_named_without_sql_or_login(warehouse):
    for look in (newest_day, lambda *args: list(read_chunks(*args, None))):
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
        newest_day(warehouse, roster_source("SELECT nope(1) AS email"))


def test_a_table_that_may_not_be_read_says_so(postgres_url):
    admin = create_engine(postgres_url)
    with admin.begin() as connection:
        connection.execute(text("CREATE TABLE roster (tenant TEXT, email TEXT)"))
        connection.execute(text("DROP ROLE IF EXISTS analyst"))
        connection.execute(text("CREATE ROLE analyst LOGIN PASSWORD 'hush-hush'"))
    engine = create_engine(admin.url.set(username="analyst", password="hush-hush"))
    with pytest.raises(Misconfigured, match="permission denied for table roster") as caught:
        newest_day(engine)
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
        newest_day(create_engine(url))
    assert "hush" not in str(caught.value)
    assert "zoe" not in str(caught.value)


DATED_TEXT = "roster_date TEXT, tenant TEXT, email TEXT"


@pytest.mark.parametrize("value", ["latest", "20260131x", "", "2026-W05-6", "31.01.2026"])
def test_a_roster_without_any_date_that_can_be_read_is_refused_with_a_few_rows(filled, value):
    engine = filled(DATED_TEXT, *[(value, "t", f"{name}@acme.example.com") for name in "abcd"])
    with pytest.raises(Misconfigured, match="`roster_columns`") as caught:
        newest_day(engine)
    assert f'4 rows ("{value}", "t", "a@acme.example.com"; "{value}", "t", ' in str(caught.value)
    assert "d@acme" not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["20260131", " 2026-01-31", "2026-01-31 ", "2026-01-31T23:59:59.999", "20260131T2359"]
)
def test_every_spelling_of_a_day_that_names_it_is_read(filled, value):
    """Whatever is the newest day of the opening is found again when the rows are read."""
    engine = filled(
        DATED_TEXT, ("2026-01-30", "t", "a"), (value, "t", "b"), ("2026-01-31", "t", "c")
    )
    assert newest_day(engine) == JAN_31
    assert sorted(emails(engine, ROSTER, JAN_31)) == ["b", "c"]
    assert emails(engine, ROSTER, JAN_30) == ["a"]


def test_a_date_written_as_a_number_is_read(filled):
    definition = "roster_date INTEGER, tenant TEXT, email TEXT"
    engine = filled(definition, (20260130, "t", "a"), (20260131, "t", "b"), (1769817600, "t", "c"))
    days = roster_days(engine, ROSTER, FEB_1)
    assert days.newest == JAN_31
    assert days.undated == '1 row ("1769817600", "t", "c")'
    assert sorted(emails(engine, ROSTER, JAN_31)) == ["b", "c"]


def test_a_value_that_is_neither_date_nor_text_is_refused(postgres_url):
    engine = create_engine(postgres_url)
    source = roster_source("SELECT 20260131.5 AS roster_date, 't' AS tenant, 'a' AS email")
    with pytest.raises(Misconfigured, match="which is not a date"):
        newest_day(engine, source)
    engine.dispose()


def test_rows_without_a_readable_date_come_with_the_rows_of_every_day(filled):
    engine = filled(
        DATED_TEXT, ("2026-01-31", "t", "a"), (None, "t", "b"), ("5 Feb", "t", "c"),
        ("2026-01-30", "t", "d"), ("2026-02-30", "t", "e"),
    )  # fmt: skip
    days = roster_days(engine, ROSTER, FEB_1)
    assert days.newest == JAN_31
    assert days.undated == '3 rows (null, "t", "b"; "5 Feb", "t", "c"; "2026-02-30", "t", "e")'
    [chunk] = read_chunks(engine, ROSTER, JAN_31)
    assert dict(zip(chunk["email"], chunk["unreadable_date"], strict=True)) == {
        "a": None, "b": "", "c": "5 Feb", "e": "2026-02-30",
    }  # fmt: skip


def test_a_long_and_hostile_date_is_cut_where_it_is_shown(filled):
    engine = filled(DATED_TEXT, ("2026-01-31", "t", "a"), ("\u202e" + "x" * 5000, "t", "b"))
    assert len(roster_days(engine, ROSTER, FEB_1).undated) < 120
    [chunk] = read_chunks(engine, ROSTER, JAN_31)
    assert len(chunk["unreadable_date"].dropna().item()) == 80


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TEXT"])
def test_rows_after_today_are_an_error_that_names_them(warehouse, kind):
    with warehouse.begin() as connection:
        connection.execute(
            text(f"CREATE TABLE roster (roster_date {kind}, tenant TEXT, email TEXT)")
        )
        for day in ("2026-01-31", "2026-02-01", "2062-02-01"):
            connection.execute(text(f"INSERT INTO roster VALUES ('{day}', 't', 'ann')"))
    with pytest.raises(Misconfigured) as caught:
        newest_day(warehouse)
    assert '1 row ("2062-02-01' in str(caught.value)
    assert '"ann") for days after 2026-02-01' in str(caught.value)
    with pytest.raises(Misconfigured, match=r'2 rows \("2026-02-01'):
        newest_day(warehouse, today=JAN_31)


@pytest.mark.parametrize("value", ["infinity", "-infinity"])
def test_a_date_that_is_not_in_the_calendar_is_refused(postgres_url, value):
    engine = create_engine(postgres_url)
    source = roster_source(f"SELECT date '{value}' AS roster_date, 't' AS tenant, 'a' AS email")
    with pytest.raises(Misconfigured, match="not in the calendar"):
        newest_day(engine, source)
    engine.dispose()


def test_a_row_of_no_calendar_day_among_others_is_named(postgres_url):
    engine = create_engine(postgres_url)
    source = roster_source(
        "SELECT d AS roster_date, 't' AS tenant, 'a' AS email FROM (VALUES "
        "(timestamptz '2026-01-31 01:00+00'), ('infinity'), ('-infinity')) AS dates (d)"
    )
    with pytest.raises(Misconfigured, match=r'1 row \("infinity", "t", "a"\) for days after'):
        newest_day(engine, source)
    engine.dispose()


DATES = st.one_of(
    st.none(),
    st.text(alphabet="0123- TW.", max_size=12),
    st.integers(0, 99_999_999),
    st.builds(
        lambda day, form, edge: edge[0] + day.strftime(form) + edge[1],
        st.dates(dt.date(2026, 1, 29), FEB_1),
        st.sampled_from(["%Y-%m-%d", "%Y%m%d", "%Y-%m-%dT%H:%M", "%G-W%V-%u", "%d.%m.%Y"]),
        st.sampled_from([("", ""), (" ", ""), ("", "  "), ("\t", ""), ("", "x")]),
    ),
)


@given(dates=st.lists(DATES, max_size=8))
@settings(deadline=None, max_examples=60)
def test_every_row_is_read_with_one_day_or_is_undated_with_all(dates):
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE roster (roster_date, tenant, email)"))
        for number, date in enumerate(dates):
            values = {"date": date, "email": str(number)}
            connection.execute(text("INSERT INTO roster VALUES (:date, 't', :email)"), values)
    readable = [read_day(str(date).strip(" ")) for date in dates if date is not None]
    days = {day for day in readable if day}
    if not days or max(days) > FEB_1:
        return
    assert newest_day(engine) == max(days)
    undated, dated = set(), []
    for day in days:
        for chunk in read_chunks(engine, ROSTER, day):
            if "unreadable_date" not in chunk:
                chunk["unreadable_date"] = None
            bad = chunk["unreadable_date"].notna()
            undated |= set(chunk["email"][bad])
            dated += list(chunk["email"][~bad])
    assert sorted([*dated, *undated]) == sorted(str(number) for number in range(len(dates)))
    engine.dispose()


def test_so_many_rows_without_a_date_are_refused_before_they_fill_the_ledger(warehouse):
    with warehouse.begin() as connection:
        connection.execute(text(f"CREATE TABLE roster ({DATED_TEXT})"))
        connection.execute(
            text("INSERT INTO roster VALUES ('2026-01-31', 't', 'a')"),
        )
        connection.execute(
            text("INSERT INTO roster VALUES (NULL, 't', :email)"),
            [{"email": str(number)} for number in range(MOST_UNDATED)],
        )
    assert newest_day(warehouse) == JAN_31
    with warehouse.begin() as connection:
        connection.execute(text("INSERT INTO roster VALUES ('soon', 't', 'z')"))
    for look in (newest_day, lambda engine: emails(engine, ROSTER, JAN_31)):
        with pytest.raises(Misconfigured, match=f"{MOST_UNDATED + 1} rows .*leave them out"):
            look(warehouse)


def test_a_column_with_a_different_text_in_every_row_is_not_a_date(warehouse):
    with warehouse.begin() as connection:
        connection.execute(text(f"CREATE TABLE roster ({DATED_TEXT})"))
        connection.execute(
            text("INSERT INTO roster VALUES (:number, 't', 'a')"),
            [{"number": f"n{number}"} for number in range(20_001)],
        )
    with pytest.raises(Misconfigured, match="more than 20000 different values"):
        newest_day(warehouse)


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
