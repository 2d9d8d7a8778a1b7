from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from bulkgrants.credentials.secrets import OAuthApp
from bulkgrants.errors import Misconfigured
from bulkgrants_airflow import connections
from bulkgrants_airflow.connections import (
    google_key,
    ledger_url,
    nylas_connection,
    nylas_connection_async,
    oauth_app,
    warehouse_engine,
)

GOOD = {
    "conn_type": "nylas",
    "host": "us",
    "password": "the-api-key",
    "extra": {"client_id": "app-1"},
}


@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        ("us", "https://api.us.nylas.com"),
        ("EU", "https://api.eu.nylas.com"),
        ("https://proxy.example/nylas/", "https://proxy.example/nylas"),
        ("http://127.0.0.1:8089", "http://127.0.0.1:8089"),
        ("http://localhost:8089/", "http://localhost:8089"),
        ("http://[::1]:8089", "http://[::1]:8089"),
    ],
)
def test_the_host_is_a_region_or_a_base_url(connect, host, base_url):
    assert nylas_connection(connect("n", **{**GOOD, "host": host})).base_url == base_url


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "asia",
        "api.us.nylas.com",
        "http://api.us.nylas.com",
        "http://127.0.0.1.evil.example",
        "ftp://127.0.0.1",
        "https://",
        "https://user:pw@proxy.example",
        "https://proxy.example?x=1",
        "https://proxy.example:99999",
        "https://[::1",
    ],
)
def test_a_host_that_is_neither_is_refused(connect, host):
    with pytest.raises(Misconfigured, match=r"'n' needs `us`, `eu` or a base URL"):
        nylas_connection(connect("n", **{**GOOD, "host": host}))


def test_numbers_have_defaults(connect):
    nylas = nylas_connection(connect("n", **GOOD))
    assert (nylas.rate_per_second, nylas.timeout, nylas.client_id) == (40.0, 90.0, "app-1")
    assert nylas.host == "api.us.nylas.com"


def test_numbers_may_be_written_as_text(connect):
    extra = {"client_id": " app-1 ", "rate_per_second": "12.5", "timeout": "", "unknown": 1}
    nylas = nylas_connection(connect("n", **{**GOOD, "extra": extra}))
    assert (nylas.rate_per_second, nylas.timeout, nylas.client_id) == (12.5, 90.0, "app-1")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rate_per_second", 0),
        ("rate_per_second", 50.1),
        ("rate_per_second", "fast"),
        ("rate_per_second", True),
        ("rate_per_second", [1]),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", "nan"),
        ("timeout", "inf"),
    ],
)
def test_a_number_out_of_bounds_is_refused_by_its_name(connect, field, value):
    extra = {"client_id": "app-1", field: value}
    with pytest.raises(Misconfigured, match=f"'n' needs a number .* `{field}`"):
        nylas_connection(connect("n", **{**GOOD, "extra": extra}))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"password": None}, "needs the Nylas API key as its password"),
        ({"password": "two words"}, "is not an API key"),
        ({"password": "line\r\nbreak"}, "is not an API key"),
        ({"extra": {}}, "`client_id`"),
        ({"extra": {"client_id": "  "}}, "`client_id`"),
        ({"extra": {"client_id": 7}}, "`client_id`"),
        ({"extra": {"client_id": "app\n# 1"}}, "`client_id` that is not an application's id"),
        ({"extra": {"client_id": "a`b"}}, "`client_id` that is not an application's id"),
        ({"extra": {"client_id": "a" * 201}}, "`client_id` that is not an application's id"),
    ],
)
def test_a_missing_piece_is_named(connect, fields, sentence):
    with pytest.raises(Misconfigured, match=sentence) as raised:
        nylas_connection(connect("n", **{**GOOD, **fields}))
    assert "line" not in str(raised.value)


def test_a_key_pasted_with_its_line_end_is_taken(connect):
    assert nylas_connection(connect("n", **{**GOOD, "password": " key-1\n"})).api_key == "key-1"


def test_the_api_key_is_not_shown(connect):
    assert "the-api-key" not in repr(nylas_connection(connect("n", **GOOD)))


def test_a_connection_may_be_written_as_a_uri(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_N", "nylas://:key-1@eu/?client_id=app-1&rate_per_second=7")
    nylas = nylas_connection("n")
    assert (nylas.base_url, nylas.api_key) == ("https://api.eu.nylas.com", "key-1")
    assert (nylas.client_id, nylas.rate_per_second) == ("app-1", 7.0)


async def test_an_event_loop_reads_the_same(connect):
    assert await nylas_connection_async(connect("n", **GOOD)) == nylas_connection("n")


MISSING = r"Airflow has no connection 'nowhere'.*AIRFLOW_CONN_NOWHERE"


@pytest.mark.parametrize(
    "read", [nylas_connection, google_key, oauth_app, warehouse_engine, ledger_url]
)
def test_a_missing_connection_is_named(read):
    with pytest.raises(Misconfigured, match=MISSING):
        read("nowhere")


async def test_a_missing_connection_is_named_on_an_event_loop():
    with pytest.raises(Misconfigured, match=MISSING):
        await nylas_connection_async("nowhere")


def test_without_a_connection_the_ledger_is_a_file_in_airflows_home(airflow_env):
    assert ledger_url("bulkgrants_ledger") == f"sqlite:///{airflow_env}/bulkgrants/ledger.db"


def test_the_ledger_is_where_its_connection_says(connect):
    fields = {"conn_type": "postgres", "host": "db", "schema": "ledger", "port": 5433}
    secret = {"login": "bulk", "password": "p@ss/word"}
    connect("bulkgrants_ledger", **fields, **secret)
    url = ledger_url("bulkgrants_ledger")
    assert url == "postgresql+psycopg://bulk:p%40ss%2Fword@db:5433/ledger"


def test_the_ledgers_tls_settings_are_kept(connect):
    extra = {"sqlalchemy_query": {"sslmode": "verify-full"}}
    connect("ledger", conn_type="postgres", host="db", schema="ledger", extra=extra)
    assert ledger_url("ledger").endswith("/ledger?sslmode=verify-full")


def test_the_ledger_may_be_a_named_sqlite_file(connect, tmp_path):
    path = tmp_path / "mine.db"
    assert ledger_url(connect("l", conn_type="sqlite", host=str(path))) == f"sqlite:///{path}"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"conn_type": "sqlite"}, "does not name a file"),
        ({"conn_type": "mysql", "host": "db"}, "of type 'mysql'"),
    ],
)
def test_a_ledger_that_cannot_be_is_refused(connect, fields, sentence):
    with pytest.raises(Misconfigured, match=sentence):
        ledger_url(connect("l", **fields))


def test_the_warehouse_is_opened_by_its_own_hook(connect, tmp_path):
    engine = warehouse_engine(connect("w", conn_type="sqlite", host=str(tmp_path / "w.db")))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()


def test_an_error_of_the_warehouse_does_not_show_the_values_of_a_statement(connect, tmp_path):
    engine = warehouse_engine(connect("w", conn_type="sqlite", host=str(tmp_path / "w.db")))
    with engine.connect() as connection, pytest.raises(DBAPIError) as raised:
        connection.execute(text("SELECT * FROM nothing WHERE x = :x"), {"x": "s3cr3t"})
    assert "s3cr3t" not in str(raised.value)
    engine.dispose()


@pytest.mark.parametrize("read", [warehouse_engine, ledger_url])
@pytest.mark.parametrize("spell", [str, quote_plus, lambda password: quote(password, safe="")])
def test_a_databases_password_is_masked_in_logs_as_a_url_spells_it(connect, read, spell):
    from airflow.sdk.log import redact

    password = f"p@ss w/:{read.__name__}"
    fields = {"conn_type": "postgres", "host": "db", "login": "me", "schema": "d"}
    read(connect("w", password=password, **fields))
    shown = str(redact(f"url: postgresql://me:{spell(password)}@db/d"))
    assert shown == "url: postgresql://me:***@db/d"


@pytest.mark.parametrize("conn_type", ["http", "unheard-of"])
def test_a_warehouse_of_no_sql_type_is_refused(connect, conn_type):
    with pytest.raises(Misconfigured, match=r"'w' is not of a SQL type.*warehouse_conn_id"):
        warehouse_engine(connect("w", conn_type=conn_type, host="x"))


@pytest.mark.parametrize("name", ["keyfile_dict", "extra__google_cloud_platform__keyfile_dict"])
@pytest.mark.parametrize("form", [dict, json.dumps])
def test_a_google_key_is_kept_as_airflows_own_connections_keep_it(connect, key_file, name, form):
    connect("g", conn_type="google_cloud_platform", extra={name: form(key_file)})
    assert google_key("g").credential_data == key_file


def test_a_connection_without_a_google_key_says_where_it_belongs(connect):
    with pytest.raises(Misconfigured, match=r"'g' cannot be used: .* `keyfile_dict`"):
        google_key(connect("g", conn_type="google_cloud_platform"))


def test_a_private_key_is_masked_in_logs_even_inside_a_text(connect, key_file):
    from airflow.sdk.log import redact

    google_key(connect("g", conn_type="generic", extra={"keyfile_dict": json.dumps(key_file)}))
    assert key_file["private_key"] not in str(redact(f"key: {key_file['private_key']}"))


def test_an_oauth_application_is_login_password_and_tenant(connect):
    fields = {"conn_type": "azure", "login": "id", "password": "hush-hush"}
    app = oauth_app(connect("o", **fields, extra={"tenantId": "t-1"}))
    assert (app.client_id, app.client_secret, app.tenant) == ("id", "hush-hush", "t-1")
    assert oauth_app(connect("o", **fields)).tenant is None
    assert oauth_app(connect("o", **fields, extra={"tenantId": " "})).tenant is None
    pasted = {"conn_type": "azure", "login": " id\n", "password": "hush-hush "}
    assert oauth_app(connect("o", **pasted)) == OAuthApp("id", "hush-hush")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"password": None}, "client secret as password"),
        ({"login": " "}, "client id as login"),
        ({"extra": {"tenantId": ["hush-tenant"]}}, "as text in its field `tenantId`"),
    ],
)
def test_an_oauth_application_that_lacks_something_is_named_without_its_secret(
    connect, fields, sentence
):
    whole = {"conn_type": "azure", "login": "id", "password": "hush-hush"}
    with pytest.raises(Misconfigured, match=sentence) as raised:
        oauth_app(connect("o", **{**whole, **fields}))
    assert "'o'" in str(raised.value)
    assert "hush" not in str(raised.value)


def test_a_client_secret_pasted_with_its_line_end_is_masked_in_logs_without_it(connect):
    from airflow.sdk.log import redact

    oauth_app(connect("o", conn_type="azure", login="id", password="Zx8Q~masked-in-logs\n"))
    assert "Zx8Q~masked" not in str(redact("client secret: Zx8Q~masked-in-logs"))


def test_no_other_module_reads_connections():
    folder = Path(connections.__file__).parent
    readers = {
        path.name
        for path in folder.rglob("*.py")
        if "get_connection(" in path.read_text() and path.name != "connections.py"
    }
    assert readers == set()
