"""A ledger is opened, and upgraded once however many processes ask; errors say what to do."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory

import pandas as pd
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.exc import DBAPIError

from bulkgrants.errors import Misconfigured, Unavailable
from bulkgrants.ledger.database import (
    REVISION,
    insert_frame,
    insert_rows,
    ledger_url,
    metadata,
    open_ledger,
    reading,
    require_current,
)
from bulkgrants.ledger.tables import STAGING
from bulkgrants.ledger.upgrade import upgrade
from bulkgrants.ledger.views import VIEWS

COMMAND = [sys.executable, "-m", "bulkgrants.ledger", "upgrade"]
CHILD = [sys.executable, "-m", "support.children", "upgrade"]


def child(command, **environment) -> subprocess.Popen:
    there = {**os.environ, "PYTHONPATH": "tests", **environment}
    return subprocess.Popen(
        command, env=there, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_an_upgraded_ledger_has_every_table_and_view(ledger):
    found = inspect(ledger)
    assert set(metadata.tables) <= set(found.get_table_names())
    assert set(found.get_view_names()) == set(VIEWS)


def test_the_revisions_make_exactly_the_tables_of_the_code(ledger):
    with ledger.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_upgrading_again_changes_nothing(ledger):
    with ledger.begin() as connection:
        connection.execute(text("INSERT INTO leases VALUES ('app', NULL, 7, '2026-03-01')"))
    upgrade(ledger)
    require_current(ledger)
    with ledger.connect() as connection:
        assert connection.execute(text("SELECT token FROM leases")).scalar() == 7
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1


def test_four_processes_that_upgrade_at_once_do_it_once(database_url):
    processes = [child([*CHILD, database_url]) for _ in range(4)]
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    engine = open_ledger(database_url)
    require_current(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1
    engine.dispose()


def test_the_command_upgrades_and_shows_no_password(postgres_url):
    secret = postgres_url.replace("postgres:@", "postgres:s3cr3t@")
    assert "s3cr3t" in secret
    process = child([*COMMAND], BULKGRANTS_LEDGER_URL=secret)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "is up to date." in output
    assert "s3cr3t" not in output
    engine = open_ledger(postgres_url)
    require_current(engine)
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "put the ledger's URL into the environment as BULKGRANTS_LEDGER_URL"),
        ("no url: s3cr3t", "The ledger's URL cannot be understood"),
        ("postgresql://me:pass:s3cr3t@host:s3cr3t/db", "The ledger's URL cannot be understood"),
        ("postgresql://me:s3cr3t", "The ledger's URL cannot be understood"),
        ("mysql://me:s3cr3t@host/db", "runs on PostgreSQL or SQLite, not on mysql"),
        ("postgresql://me:s3cr3t@127.0.0.1:9/db?connect_timeout=5", "it accepts no connection"),
        ("postgresql://me:s3cr3t@no-host.invalid/db?connect_timeout=5", "cannot be opened; check"),
    ],
)
def test_the_command_says_what_is_wrong(url, sentence):
    process = child(COMMAND, BULKGRANTS_LEDGER_URL=url)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert sentence in " ".join(output.split())
    assert "s3cr3t" not in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    "url", ["postgresql://me:s3cr3t@127.0.0.1:9/db", "postgresql://127.0.0.1:9/db?password=s3cr3t"]
)
def test_the_command_does_not_take_a_password_as_an_argument(url):
    process = child([*COMMAND, "--url", url])
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert "every user of this machine can read a password" in " ".join(output.split())
    assert "s3cr3t" not in output


def test_the_command_takes_a_url_without_a_password_as_an_argument(tmp_path):
    process = child([*COMMAND, "--url", f"sqlite:///{tmp_path / 'ledger.db'}"])
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output


def test_an_error_of_the_database_does_not_show_the_values_of_a_statement(ledger):
    with ledger.connect() as connection, pytest.raises(DBAPIError) as raised:
        connection.execute(text("SELECT nothing FROM runs WHERE key = :key"), {"key": "s3cr3t"})
    assert "nothing" in str(raised.value)
    assert "s3cr3t" not in str(raised.value)


def test_an_old_postgresql_ledger_has_to_be_upgraded_by_its_administrator(postgres_url):
    engine = open_ledger(postgres_url)
    with pytest.raises(Misconfigured, match=r"at revision none, .*LEDGER_URL.*\.ledger upgrade"):
        require_current(engine)
    upgrade(engine)
    require_current(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    with pytest.raises(Misconfigured, match=f"at revision 0000, but this code needs {REVISION}"):
        require_current(engine)
    engine.dispose()


def test_old_code_says_in_one_sentence_that_the_ledger_is_newer(ledger):
    with ledger.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9001'"))
    said = f"is at revision 9001, but this code knows revisions up to {REVISION} only: newer code"
    for step in (require_current, upgrade):
        with pytest.raises(Misconfigured, match=said):
            step(ledger)
    with ledger.connect() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars()
        assert list(found) == ["9001"]


def modes(folder) -> dict[str, str]:
    return {path.name: oct(path.stat().st_mode & 0o777) for path in sorted(folder.iterdir())}


def test_a_sqlite_ledger_is_for_its_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        engine = open_ledger(f"sqlite:///{tmp_path / 'new' / 'ledger.db'}")
        require_current(engine)
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO leases VALUES ('app', NULL, 7, '2026-03-01')"))
            assert modes(tmp_path) == {"new": "0o700"}
            names = ("ledger.db", "ledger.db-shm", "ledger.db-wal")
            assert modes(tmp_path / "new") == dict.fromkeys(names, "0o600")
        engine.dispose()
    finally:
        os.umask(before)


def test_a_sqlite_ledger_that_exists_keeps_the_mode_that_its_owner_gave_it(tmp_path):
    path = tmp_path / "ledger.db"
    path.touch(0o640)
    path.chmod(0o640)
    tmp_path.chmod(0o750)
    engine = open_ledger(f"sqlite:///{path}")
    require_current(engine)
    engine.dispose()
    assert modes(tmp_path)["ledger.db"] == "0o640"
    assert oct(tmp_path.stat().st_mode & 0o777) == "0o750"


def test_a_file_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        Misconfigured, match=r"ledger\.db cannot be made \((NotADirectory|FileExists)Error\)"
    ):
        open_ledger(f"sqlite:///{tmp_path / 'file' / 'ledger.db'}")


def test_a_sqlite_ledger_is_upgraded_at_once(tmp_path):
    engine = open_ledger(f"sqlite:///{tmp_path / 'a' / 'new' / 'folder' / 'ledger.db'}")
    require_current(engine)
    assert set(metadata.tables) <= set(inspect(engine).get_table_names())
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cr3t@127.0.0.1:9/db?connect_timeout=5",
        "postgresql://me@127.0.0.1:9/db?connect_timeout=5&password=s3cr3t",
        "postgresql://127.0.0.1:9/db?connect_timeout=5&user=me&sslpassword=s3cr3t",
    ],
)
def test_a_ledger_that_cannot_be_reached_is_named_without_its_password(url):
    said = require_unopened(url, Unavailable, "it accepts no connection. If this goes on, start")
    assert "127.0.0.1:9/db" in said


def require_unopened(url, error, sentence: str) -> str:
    """Check that opening the ledger raises this, with nothing of the driver's; returns it."""
    engine = open_ledger(url)
    for step in (require_current, upgrade):
        with pytest.raises(error, match=sentence) as refusal:
            step(engine)
        assert "s3cr3t" not in str(refusal.value)
        assert refusal.value.__cause__ is None
        assert refusal.value.__suppress_context__
    engine.dispose()
    return str(refusal.value)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("57P03", "the database system is starting up"),
        ("57P03", "the database system is shutting down"),
        ("53300", "sorry, too many clients already"),
    ],
)
def test_a_server_that_is_starting_or_full_is_an_error_that_passes(code, message):
    with refusing(code, message) as url:
        require_unopened(url, Unavailable, "it accepts no connection")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("28P01", 'password authentication failed for user "me"'),
        ("28000", 'no pg_hba.conf entry for host "127.0.0.1", user "me", database "db"'),
        ("28000", 'role "me" is not permitted to log in'),
        ("42501", 'permission denied for database "db"'),
    ],
)
def test_a_server_that_turns_the_login_away_needs_a_person(code, message):
    with refusing(code, message) as url:
        require_unopened(url, Misconfigured, "cannot be opened; check the host, login and database")


@contextmanager
def refusing(code: str, message: str) -> Iterator[str]:
    """The URL of a server that answers each connection with this error of PostgreSQL's."""
    fields = {"S": "FATAL", "V": "FATAL", "C": code, "M": message}
    body = b"".join(f"{key}{value}\0".encode() for key, value in fields.items()) + b"\0"

    def answer(client: socket.socket) -> None:
        client.sendall(b"E" + (len(body) + 4).to_bytes(4, "big") + body)

    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/.s.PGSQL.5432")
        server.listen()

        def serve() -> None:
            with suppress(OSError):  # the test has ended
                while True:
                    client, _ = server.accept()
                    with client:
                        client.recv(4096)
                        answer(client)

        threading.Thread(target=serve, daemon=True).start()
        yield f"postgresql://me:s3cr3t@/db?host={folder}"


@pytest.mark.parametrize("wrong", [{"database": "elsewhere"}, {"username": "stranger"}])
def test_a_name_that_postgresql_does_not_know_needs_a_person(postgres_url, wrong):
    url = make_url(postgres_url).set(**wrong)
    require_unopened(url, Misconfigured, "cannot be opened; check the host, login and database")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cr3t@no-such-host.invalid/db?connect_timeout=5",
        "postgresql://me:s3cr3t@127.0.0.1:9/db?sslmode=nonsense",
        "postgresql://me:s3cr3t@127.0.0.1:99999/db",
    ],
)
def test_a_place_that_cannot_exist_needs_a_person(url):
    require_unopened(url, Misconfigured, "cannot be opened; check the host, login and database")


def test_a_folder_is_no_sqlite_ledger(tmp_path):
    require_unopened(f"sqlite:///{tmp_path}", Misconfigured, "cannot be opened; check the host")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://h/d", "postgresql+psycopg://h/d"),
        ("postgresql://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+psycopg2://h/d", "postgresql+psycopg://h/d"),
        ("sqlite:///x.db", "sqlite:///x.db"),
        ("sqlite+aiosqlite:///x.db", "sqlite:///x.db"),
    ],
)
def test_a_url_gets_the_ledgers_driver(given, used):
    assert ledger_url(given).render_as_string() == used


def test_staging_is_unlogged_on_postgresql_and_nothing_else_is(postgres_url):
    engine = open_ledger(postgres_url)
    upgrade(engine)
    with engine.connect() as connection:
        query = "SELECT relname FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r'"
        assert set(connection.execute(text(query)).scalars()) == {one.name for one in STAGING}
    engine.dispose()


def test_addresses_sort_by_code_point_on_both_databases(ledger):
    names = ["b", "a", "B", "Z", "ä", "_", "é", "e"]
    with ledger.begin() as connection:
        for name in names:
            connection.execute(
                text(
                    "INSERT INTO entries (application, provider, email, tenant, scopes, "
                    "row_number) VALUES ('a', 'google', :name, 't', '', 1)"
                ),
                {"name": name},
            )
        found = connection.execute(text("SELECT email FROM entries ORDER BY email")).scalars().all()
    assert found == sorted(names)


ODD = [
    "",
    "NULL",
    "null",
    '"',
    "\\",
    '\\"',
    "{a,b}",
    "a,b",
    " a ",
    "\t\n\r",
    "\\N",
    "'",
    "%s",
    "☃ é",
]
ODD_COLUMNS = (
    "application",
    "provider",
    "email",
    "tenant",
    "scopes",
    "credential_id",
    "row_number",
)


def odd_rows() -> list[tuple]:
    return [
        ("app", "google", f"{number}", odd, odd, None if number % 2 else odd, number)
        for number, odd in enumerate(ODD)
    ]


def written_rows(connection) -> list[tuple]:
    query = f"SELECT {', '.join(ODD_COLUMNS)} FROM entries ORDER BY row_number"
    return [tuple(row) for row in connection.execute(text(query))]


@pytest.mark.parametrize("at_once", [3, 5000])
def test_cells_are_written_as_they_are_in_any_number_of_blocks(ledger, monkeypatch, at_once):
    monkeypatch.setattr("bulkgrants.ledger.database._AT_ONCE", at_once)
    entries, odd = metadata.tables["entries"], odd_rows()
    columns = zip(ODD_COLUMNS, zip(*odd, strict=True), strict=True)
    frame = pd.DataFrame({name: pd.Series(cells, dtype="object") for name, cells in columns})
    for write in (
        lambda connection: insert_rows(connection, entries, ODD_COLUMNS, iter(odd)),
        lambda connection: insert_frame(connection, entries, frame),
    ):
        with ledger.begin() as connection:
            assert (write(connection), written_rows(connection)) == (len(ODD), odd)
            connection.execute(entries.delete())
            assert insert_rows(connection, entries, ODD_COLUMNS, []) == 0


def test_text_that_is_too_long_is_an_error_and_is_not_cut(postgres_url):
    engine = open_ledger(postgres_url)
    upgrade(engine)
    row = ("app", "p" * 21, "a", "t", "", None, 1)
    with pytest.raises(psycopg.errors.StringDataRightTruncation), engine.begin() as connection:
        insert_rows(connection, metadata.tables["entries"], ODD_COLUMNS, [row])
    engine.dispose()


def test_on_sqlite_a_writer_waits_for_another_and_a_reader_does_not_wait(tmp_path):
    """A reader that started to write would fail at once, whatever the time-out is."""
    engine = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    upgrade(engine)
    entered = threading.Event()

    def write() -> None:
        with engine.begin() as connection:
            entered.set()
            connection.execute(text("INSERT INTO leases VALUES ('two', NULL, 2, '2026-03-01')"))

    with engine.begin() as first:
        first.execute(text("INSERT INTO leases VALUES ('one', NULL, 1, '2026-03-01')"))
        waiting = threading.Thread(target=write)
        waiting.start()
        with reading(engine) as reader:
            assert reader.execute(text("SELECT count(*) FROM leases")).scalar() == 0
        assert not entered.is_set()
    waiting.join(timeout=30)
    with reading(engine) as reader:
        assert reader.execute(text("SELECT count(*) FROM leases")).scalar() == 2
    engine.dispose()


def test_a_transaction_that_is_not_committed_leaves_nothing_on_either_database(ledger):
    with ledger.connect() as connection:
        connection.execute(text("INSERT INTO leases VALUES ('one', NULL, 1, '2026-03-01')"))
    with ledger.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM leases")).scalar() == 0


def test_a_connection_without_our_pragmas_can_read_a_ledger(tmp_path):
    """Analysts open the file with their own tools."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    engine = open_ledger(url)
    upgrade(engine)
    plain = create_engine(url)
    with plain.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM coverage")).scalar() == 0
    plain.dispose()
    engine.dispose()
