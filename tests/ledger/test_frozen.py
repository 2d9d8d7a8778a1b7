"""A process that stands still in the middle of a write does not keep the others from working."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from bulkgrants.errors import Unavailable
from bulkgrants.ledger import runs
from bulkgrants.ledger.database import brief, insert_rows, metadata, open_ledger, reading
from bulkgrants.ledger.rights import answering, take_lease, writing
from support.consents import send_links, status_of, take
from support.ledgers import APPLICATION, NOW, lease_run, rows, with_tenants
from support.listeners import stalling

on_postgresql = pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


def url_of(engine: Engine, **settings: str) -> str:
    """The ledger's URL, with settings for each of its sessions."""
    url = engine.url
    if settings:
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        url = url.update_query_dict({"options": options})
    return url.render_as_string(hide_password=False)


@contextmanager
def frozen_in_a_write(url: str, run_id: int) -> Iterator[subprocess.Popen[str]]:
    """Another process, stopped in the middle of a write of the run."""
    with subprocess.Popen(
        [sys.executable, "-m", "support.children", "write slowly", url, str(run_id)],
        env={**os.environ, "PYTHONPATH": "tests"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            said = child.stdout.readline()
            assert said == "in the middle\n", said + child.stdout.read()
            child.send_signal(signal.SIGSTOP)
            yield child
        finally:
            child.kill()


@on_postgresql
def test_others_get_the_locks_of_a_frozen_process_and_it_learns_so_in_one_sentence(ledger):
    with_tenants(ledger, "acme")
    run = lease_run(ledger)
    url = url_of(ledger, idle_in_transaction_session_timeout="500ms")
    with frozen_in_a_write(url, run.run_id) as child:
        started = time.monotonic()
        with writing(ledger, run, run.opened_at) as write:
            runs.note(write, observed=2)
        with_tenants(ledger, "acme", "globex")
        assert time.monotonic() - started < 10
        child.send_signal(signal.SIGCONT)
        said, _ = child.communicate(timeout=30)
    assert child.returncode == 0, said
    assert said.startswith("Unavailable: The ledger at postgresql"), said
    assert "this process stood still for too long in the middle of a transaction" in said
    assert said.count("\n") == 1
    assert [row["observed"] for row in rows(ledger, "runs")] == [2]


def stood_still():
    return pytest.raises(Unavailable, match="this process stood still for too long")


def leases_of(number: int) -> list[tuple[str, int, str]]:
    """Rows that differ from the lease that a test holds."""
    return [(f"app of row {one}", 1, "2026-03-01") for one in range(number)]


LEASE = ("application", "token", "expires_at")


@on_postgresql
def test_others_get_the_locks_of_a_process_that_freezes_while_it_makes_rows(ledger):
    run = lease_run(ledger)
    frozen = open_ledger(url_of(ledger, idle_in_transaction_session_timeout="500ms"))

    def made():
        yield from leases_of(2)
        with writing(ledger, run, run.opened_at) as write:
            runs.note(write, observed=2)

    with stood_still(), writing(frozen, run, run.opened_at) as write:
        insert_rows(write.connection, metadata.tables["leases"], LEASE, made())
    frozen.dispose()
    assert [row["observed"] for row in rows(ledger, "runs")] == [2]
    assert len(rows(ledger, "leases")) == 1


@on_postgresql
def test_others_get_the_locks_of_a_process_that_freezes_while_it_sends_rows(ledger):
    run = lease_run(ledger)
    settings = {"idle_in_transaction_session_timeout": "500ms"}

    def write_rows(frozen: Engine) -> None:
        with writing(frozen, run, run.opened_at) as write:
            insert_rows(write.connection, metadata.tables["leases"], LEASE, leases_of(10_000))

    server = str(ledger.url.query["host"])
    with ThreadPoolExecutor(1) as pool, stalling(server, after=80_000) as stall:
        url = make_url(url_of(ledger, **settings)).update_query_dict({"host": stall.folder})
        frozen = open_ledger(url)
        ended = pool.submit(write_rows, frozen)
        assert stall.happened.wait(30)
        with writing(ledger, run, run.opened_at) as write:
            runs.note(write, observed=2)
        with stood_still():
            ended.result(timeout=30)
        frozen.dispose()
    assert len(rows(ledger, "leases")) == 1


@on_postgresql
def test_an_admins_yes_gets_past_a_frozen_process(ledger):
    (acme,) = send_links(ledger, "acme")
    run = lease_run(ledger)
    url = url_of(ledger, idle_in_transaction_session_timeout="500ms")
    with frozen_in_a_write(url, run.run_id):
        take(ledger, acme.approved())
    assert status_of(ledger, acme) == ("given", "propagation")


@on_postgresql
def test_a_lock_that_is_not_released_in_time_is_an_error_that_passes(ledger):
    run = lease_run(ledger)
    impatient = open_ledger(url_of(ledger, lock_timeout="100ms"))
    late = pytest.raises(Unavailable, match="did not release it in time")
    with writing(ledger, run, run.opened_at), late as error, writing(impatient, run, NOW):
        pass
    assert "UPDATE" not in str(error.value)
    impatient.dispose()


@on_sqlite
def test_a_file_that_another_process_writes_to_is_an_error_that_passes(ledger, monkeypatch):
    monkeypatch.setattr("bulkgrants.ledger.database._BUSY_MS", 100)  # instead of a minute
    with ledger.begin(), pytest.raises(Unavailable, match="did not release it in time"):
        lease_run(ledger)


def session_settings(engine: Engine, *names: str) -> list[str]:
    with engine.connect() as connection:
        return [connection.execute(text(f"SHOW {name}")).scalar_one() for name in names]


SHORT = ("lock_timeout", "idle_in_transaction_session_timeout", "statement_timeout")


@on_postgresql
def test_every_session_gives_up_locks_but_never_a_long_statement(ledger):
    """Whatever the role's own defaults are; only the connection can set something else."""
    with ledger.begin() as connection:
        name = ledger.url.database
        for setting in SHORT:
            connection.execute(text(f'ALTER DATABASE "{name}" SET {setting} = 1700'))
    ledger.dispose()
    assert session_settings(ledger, *SHORT) == ["30s", "15s", "0"]
    own = open_ledger(url_of(ledger, lock_timeout="5s", statement_timeout="9min"))
    assert session_settings(own, *SHORT) == ["5s", "15s", "9min"]
    own.dispose()


@on_postgresql
def test_what_a_person_waits_for_gives_up_sooner_and_only_that(ledger):
    with answering(ledger) as connection:
        assert connection.execute(text("SHOW lock_timeout")).scalar() == "20s"
        assert connection.execute(text("SHOW statement_timeout")).scalar() == "25s"
    with reading(brief(ledger)) as connection:
        assert connection.execute(text("SHOW statement_timeout")).scalar() == "25s"
    assert session_settings(ledger, *SHORT) == ["30s", "15s", "0"]


def end_other_sessions(engine: Engine) -> None:
    admin = create_engine(engine.url)
    with admin.connect() as connection:
        ending = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connection.execute(text(ending)).all()
    admin.dispose()


def ask(connection) -> None:
    connection.execute(text("SELECT 1"))


def insert(connection) -> None:
    insert_rows(connection, metadata.tables["leases"], LEASE, leases_of(1))


def commit(connection) -> None:
    connection.commit()


@on_postgresql
@pytest.mark.parametrize("step", [ask, insert, commit])
def test_a_session_that_was_ended_is_an_error_that_passes_and_the_next_one_works(ledger, step):
    with ledger.connect() as connection:
        connection.execute(text("SELECT 1"))
        end_other_sessions(ledger)
        with pytest.raises(Unavailable, match=r"ended the connection|connection to it was lost"):
            step(connection)
    assert lease_run(ledger).token > 0


def test_a_row_that_is_wrong_is_not_taken_for_one_that_passes(ledger):
    with pytest.raises(Exception, match="application") as error, ledger.begin() as connection:
        insert_rows(connection, metadata.tables["leases"], ("token",), [(1,)])
    assert not isinstance(error.value, Unavailable)


def test_a_server_that_is_gone_in_the_middle_of_a_run_is_an_error_that_passes():
    gone = open_ledger("postgresql://me:s3cr3t@127.0.0.1:9/db?connect_timeout=5")
    with pytest.raises(Unavailable, match="it accepts no connection") as error:
        take_lease(gone, application=APPLICATION, run_id=1)
    assert "s3cr3t" not in str(error.value)
    gone.dispose()
