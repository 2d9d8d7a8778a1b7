"""While a roster is read from the warehouse, nothing else waits, and the run keeps its lease."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, create_engine, event, select, text

from bulkgrants.errors import LeaseHeld, Misconfigured, Superseded
from bulkgrants.ledger.budgets import Budget
from bulkgrants.ledger.tables import entries
from bulkgrants.model import Run
from bulkgrants.rosters.read import Staged, read_roster
from bulkgrants.rosters.warehouse import roster_source, tenants_source
from support.consents import send_links, status_of, take
from support.ledgers import APPLICATION, NOW, lease_run, let_lapse, opened, rows

QUERY = "SELECT tenant, email, when_read(email) AS scopes FROM roster"


class Slow:
    """A warehouse that takes its time over one mailbox."""

    def __init__(self, url: str) -> None:
        self.engine: Engine = create_engine(url)
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.fails = False
        event.listen(self.engine, "connect", self._prepare)
        with self.engine.begin() as connection:
            connection.execute(text("CREATE TABLE roster (tenant TEXT, email TEXT)"))
            connection.execute(
                text("INSERT INTO roster VALUES ('acme', 'a@acme.example.com'), ('acme', 'slow@x')")
            )
            connection.execute(
                text(
                    "CREATE TABLE tenants AS SELECT 'acme' AS tenant, 'microsoft' AS provider, "
                    "'credential of acme' AS credential, '' AS secret_conn_id"
                )
            )

    def _prepare(self, raw, _record) -> None:
        raw.create_function("when_read", 1, self._when_read)

    def _when_read(self, email: str) -> None:
        if email == "slow@x":
            self.reached.set()
            assert self.go_on.wait(30)
            if self.fails:
                raise ValueError

    def read(self, ledger: Engine, run: Run) -> Staged:
        return read_roster(
            ledger,
            self.engine,
            run,
            roster=roster_source(QUERY),
            tenants=tenants_source("tenants"),
            clock=lambda: NOW,
        )


@pytest.fixture
def slow(tmp_path):
    warehouse = Slow(f"sqlite:///{tmp_path / 'warehouse.db'}")
    yield warehouse
    warehouse.go_on.set()
    warehouse.engine.dispose()


def staged_mailboxes(ledger) -> list[str]:
    with ledger.connect() as connection:
        return list(connection.execute(select(entries.c.email)).scalars())


def test_an_admins_yes_and_a_slot_do_not_wait_for_the_roster(ledger, slow):
    (acme,) = send_links(ledger, "acme")
    run = opened(ledger)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(slow.read, ledger, run)
        assert slow.reached.wait(30)
        started = time.monotonic()
        take(ledger, acme.approved())
        Budget(ledger, APPLICATION, 40.0).reserve(1)
        assert time.monotonic() - started < 5
        assert status_of(ledger, acme) == ("given", "propagation")
        slow.go_on.set()
        assert reading.result(30) == Staged(entries=1, rejected=1, read=2)
    assert status_of(ledger, acme) == ("given", "propagation")
    (noted,) = rows(ledger, "runs")
    assert (noted["entries"], noted["rejected"]) == (1, 1)


def test_a_roster_that_takes_longer_than_the_lease_lasts_is_read_to_its_end(
    ledger, slow, monkeypatch
):
    monkeypatch.setattr("bulkgrants.ledger.rights.KEEP_EVERY", timedelta(milliseconds=50))
    run = opened(ledger)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(slow.read, ledger, run)
        assert slow.reached.wait(30)
        let_lapse(ledger)
        time.sleep(0.5)
        with pytest.raises(LeaseHeld):
            lease_run(ledger, "other")
        slow.go_on.set()
        assert reading.result(30).entries == 1


def test_a_run_that_lost_its_lease_meanwhile_does_not_replace_the_heirs_roster(ledger, slow):
    run = opened(ledger)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(slow.read, ledger, run)
        assert slow.reached.wait(30)
        let_lapse(ledger)
        lease_run(ledger, "heir")
        slow.go_on.set()
        with pytest.raises(Superseded):
            reading.result(30)
    assert staged_mailboxes(ledger) == []


def test_a_roster_that_cannot_be_read_to_its_end_leaves_the_ledger_as_it_was(ledger, slow):
    slow.go_on.set()
    run = opened(ledger)
    slow.read(ledger, run)
    before = rows(ledger, "tenants")
    slow.fails = True
    with slow.engine.begin() as connection:
        connection.execute(text("INSERT INTO roster VALUES ('acme', 'b@acme.example.com')"))
        connection.execute(text("UPDATE tenants SET tenant = 'globex'"))
    with pytest.raises(Misconfigured):
        slow.read(ledger, run)
    assert staged_mailboxes(ledger) == ["a@acme.example.com"]
    assert rows(ledger, "tenants") == before
