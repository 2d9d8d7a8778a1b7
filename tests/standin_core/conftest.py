"""The work against the stand-in over HTTP, without Airflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from bulkgrants.ledger.tables import tenants
from bulkgrants.ledger.tenants import left_alone, write_settings
from bulkgrants.model import Provider, Tenant
from nylas_standin.keys import google_key_file
from nylas_standin.server import serve_in_thread
from support.journeys import ENTRA, MICROSOFT, ROBOT, Journey
from support.senders import HttpxSender


@pytest.fixture(scope="session")
def _served():
    with serve_in_thread() as running:
        yield running


@pytest.fixture
def sender(_served) -> Iterator[HttpxSender]:
    """A sender to a stand-in that has just been reset."""
    one = HttpxSender(_served.base_url, _served.api_key)
    one.control.reset()
    one.control.set_switches(unknown_query="refuse")  # we send none
    yield one
    one.close()


@pytest.fixture(scope="session")
def key_files() -> list[dict[str, str]]:
    """Two key files of one service account: before and after a rotation."""
    return [google_key_file("p", key_id=key_id) for key_id in ("key-1", "key-2")]


@pytest.fixture
def journey(sender, ledger):
    return Journey(ledger, sender)


@pytest.fixture
def consented(journey):
    """A Microsoft tenant whose admin has just said yes."""
    journey.microsoft(ENTRA)
    journey.take_up()
    journey.consent()
    return journey


@pytest.fixture
def probing(consented):
    """The same, when its first probe is due; all scopes would be there."""
    consented.sleep(MICROSOFT.floor)
    return consented


@pytest.fixture
def delegated(journey, key_files):
    """A Google tenant that has just been taken up; nothing is delegated yet."""
    journey.google(key_files[0])
    journey.control.set_delegations({ROBOT: []})
    journey.take_up()
    return journey


@pytest.fixture
def quarantine(ledger) -> Callable[..., None]:
    """`quarantine(provider, now, acme=…)` lists tenants with their credentials, and quarantines."""

    def call(provider: Provider, now: datetime, **credentials: str) -> None:
        week = timedelta(days=7)
        listed = [
            Tenant(name, provider, credential, "conn", "mail", week, enabled=True)
            for name, credential in credentials.items()
        ]
        with ledger.begin() as connection:
            write_settings(connection, "app-1", listed)
            later = now + timedelta(hours=6)
            connection.execute(
                update(tenants).values(quarantined_until=later, quarantine_reason="bad secret")
            )
        assert set(left_alone(ledger, "app-1", now)[0]) == set(credentials)

    return call
