"""Tenants that await consent, links for their admins, and redirects that answer them.

Run as a program, it receives a redirect and hangs before its transaction ends.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

from sqlalchemy import Engine, event, insert, select

from bulkgrants.ledger.database import metadata, open_ledger
from bulkgrants.ledger.onboarding import take_up
from bulkgrants.ledger.tables import credentials
from bulkgrants.model import Provider, Tenant
from bulkgrants.onboarding.callback import Received, receive
from bulkgrants.onboarding.links import Asker, ask, state_key
from support.ledgers import APPLICATION, NOW

API_KEY = "nyk_for_tests"
REDIRECT_URI = "https://airflow.example.com/bulkgrants/consent"
LINK_LASTS = timedelta(days=14)
GUID = "11111111-2222-4333-8444-555555555555"
OTHER_GUID = "99999999-2222-4333-8444-555555555555"


@dataclass(frozen=True, slots=True)
class Link:
    """A link that was sent to an admin."""

    consent_id: int
    state: str
    tenant: str

    def answered(self, **fields: str) -> str:
        """The query of a redirect with this link's state."""
        return urlencode({**fields, "state": self.state})

    def approved(self) -> str:
        return self.answered(admin_consent="true")

    def declined(self) -> str:
        words = "AADSTS65004: The resource owner or authorization server denied the request."
        return self.answered(
            error="access_denied", error_description=words, error_uri="https://e.x"
        )


def listed(name: str, microsoft_tenant: str = "common") -> Tenant:
    """A Microsoft tenant with a credential of its own, as the tenants table has it."""
    return Tenant(
        name,
        Provider.MICROSOFT,
        f"credential of {name}",
        "",
        "",
        timedelta(days=7),
        enabled=True,
        microsoft_tenant=microsoft_tenant,
    )


def send_links(
    engine: Engine,
    *tenants: str,
    application: str = APPLICATION,
    api_key: str = API_KEY,
    now: datetime = NOW,
    microsoft_tenant: str = "common",
) -> list[Link]:
    """Make these the only tenants, register the credential of each, and send each a link."""
    table = [listed(name, microsoft_tenant) for name in tenants]
    with engine.begin() as connection:
        connection.execute(credentials.delete())
        connection.execute(
            insert(credentials),
            [
                {
                    "application": application,
                    "provider": "microsoft",
                    "name": one.credential,
                    "credential_type": "adminconsent",
                    "credential_id": f"id of {one.tenant}",
                    "fingerprint": "",
                    "registered_at": now,
                }
                for one in table
            ],
        )
    taken = take_up(engine, application, "run", now, listed=table, names=tenants)
    asker = Asker(application, "https://api.us.nylas.com", REDIRECT_URI, state_key(api_key))
    links = []
    for onboarding in taken:
        asked = ask(engine, asker, onboarding, LINK_LASTS, run_key="run", now=now)
        state = parse_qs(urlsplit(asked.link).query)["state"][0]
        links.append(Link(asked.consent_id, state, onboarding.tenant))
    return links


def take(engine: Engine, query: str, *, now: datetime = NOW) -> Received:
    """Receive a redirect, and return the result."""
    return receive(engine, query, application=APPLICATION, key=state_key(API_KEY), now=now)


def recorded(engine: Engine) -> dict[str, list[dict]]:
    """Everything in the ledger that an answer could change."""
    found = {}
    with engine.connect() as connection:
        for name in ("consents", "tenants", "credentials"):
            table = metadata.tables[name]
            rows = connection.execute(select(table).order_by(*table.primary_key))
            found[name] = [dict(row) for row in rows.mappings()]
    return found


def status_of(engine: Engine, link: Link) -> tuple[str, str | None]:
    """The status of the link's consent, and what its tenant awaits."""
    found = recorded(engine)
    (consent,) = (one for one in found["consents"] if one["id"] == link.consent_id)
    (tenant,) = (one for one in found["tenants"] if one["tenant"] == link.tenant)
    return consent["status"], tenant["awaiting"]


def _never_commit(url: str, query: str) -> None:
    engine = open_ledger(url)

    @event.listens_for(engine, "commit")
    def hang(_connection: object) -> None:
        print("about to commit", flush=True)  # noqa: T201 - the parent reads it
        time.sleep(60)

    take(engine, query)


if __name__ == "__main__":
    _never_commit(*sys.argv[1:])
