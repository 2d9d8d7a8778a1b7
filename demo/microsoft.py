"""Two Microsoft tenants: one whose admin consents, one whose admin declines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import requests
from sqlalchemy import Engine, text

from bulkgrants.ledger.engine import reading
from demo.errors import DemoError

if TYPE_CHECKING:
    from demo.story import Stage

DAG = "onboard_tenants"
_BUTTON = "Consent link for the admin"
_IDS = {
    "delta": "d3b0a6c1-7c1f-4f0e-9b52-0a4d5e6f7a81",
    "elm": "e14c2f7d-2a63-4c55-8f1b-6b7c8d9e0f12",
}
_APPROVES = {"delta": True, "elm": False}
DOMAINS = {f"{name}.example.com": tenant_id for name, tenant_id in _IDS.items()}
TENANTS = tuple(
    {
        "tenant": name,
        "provider": "microsoft",
        "credential": f"{name}-admin-consent",
        "secret_conn_id": "azure_app",
        "scopes": "Mail.ReadWrite User.Read.All",
        "canary": f"canary@{name}.example.com",
        "microsoft_tenant": tenant_id,
    }
    for name, tenant_id in _IDS.items()
)
ROSTER = tuple(
    {"tenant": tenant, "email": f"{name}@{tenant}.example.com"}
    for tenant, name in (("delta", "noor.haddad"), ("delta", "omar.said"), ("elm", "pia.lund"))
)
_STANDINGS = {
    "acme": "ready",
    "birch": "ready",
    "cedar": "ready",
    "delta": "ready",
    "elm": "refused",
}
_FATES = {"delta": {"granted"}, "elm": {"awaiting_consent"}}


@dataclass
class Admins:
    """Both admins, each opening a link as soon as Airflow shows it."""

    stage: Stage
    run_id: str
    approves: Mapping[str, bool] = field(default_factory=lambda: _APPROVES)
    """What each of them will say."""
    answered: set[str] = field(default_factory=set)

    def answer(self) -> None:
        """Open the links that are there by now, and answer each once. Raises DemoError."""
        for task in self.stage.airflow.tasks(DAG, self.run_id):
            tenant = task.name.rpartition(" ")[2]
            waits = task.task_id == "onboard.await_consent" and task.state == "deferred"
            if waits and tenant in self.approves and tenant not in self.answered:
                link = self.stage.airflow.links(DAG, self.run_id, task).get(_BUTTON)
                if link:
                    self.answered.add(tenant)
                    self._open(link, tenant)

    def _open(self, link: str, tenant: str) -> None:
        """What the admin's browser does: to Microsoft's screen, an answer, and back to Airflow."""
        choice = "approve" if self.approves[tenant] else "decline"
        with requests.Session() as browser:
            browser.trust_env = False
            screen = _next(browser.get(link, allow_redirects=False, timeout=30))
            form = {"tenant": _IDS[tenant]} if self.approves[tenant] else {}
            answer = browser.post(
                f"{screen}/{choice}", data=form, allow_redirects=False, timeout=30
            )
            page = browser.get(_next(answer), allow_redirects=False, timeout=30)
        if not page.ok:
            raise DemoError(f"The callback answered the admin of {tenant} with {page.status_code}.")
        done = "consents" if self.approves[tenant] else "declines"
        self.stage.terminal.say(f"The admin of {tenant} {done}, and reads: {_title(page.text)}")


def standings(stage: Stage, ledger: Engine) -> list[str]:
    """Say how every tenant stands; gives complaints."""
    query = text("SELECT tenant, provider, standing, error FROM onboarding ORDER BY tenant")
    with reading(ledger).connect() as connection:
        rows = connection.execute(query).all()
    for row in rows:
        stage.terminal.say(
            f"Tenant {row.tenant} ({row.provider}) is {row.standing}{_next_step(row)}"
        )
    found = {row.tenant: row.standing for row in rows}
    return [] if found == _STANDINGS else [f"The tenants should be {_STANDINGS}, and are {found}."]


def fates(stage: Stage, ledger: Engine, run_key: str) -> list[str]:
    """Say what became of the Microsoft mailboxes; gives complaints."""
    query = text(
        "SELECT f.tenant, f.email, f.fate, f.reason FROM fates f JOIN runs r ON r.id = f.run_id "
        "WHERE r.key = :key AND f.tenant IN ('delta', 'elm') "
        "AND f.email NOT LIKE 'canary@%' ORDER BY f.email"
    )
    with reading(ledger).connect() as connection:
        rows = connection.execute(query, {"key": run_key}).all()
    complaints = [] if len(rows) == len(ROSTER) else ["Microsoft mailboxes are missing."]
    for row in rows:
        fate = row.reason if row.fate == "skipped" else row.fate
        stage.terminal.say(f"{row.email}: {fate}")
        if fate not in _FATES[row.tenant]:
            complaints.append(f"{row.email} should be {_FATES[row.tenant]}, and is {fate}.")
    return complaints


def _next_step(row: object) -> str:
    if getattr(row, "standing", "") != "refused":
        return ""
    return (
        f" ({getattr(row, 'error', '')}). What to do next: talk to the admin, then trigger {DAG} "
        f"with `tenants` set to {getattr(row, 'tenant', '')}"
    )


def _next(answer: requests.Response) -> str:
    location = answer.headers.get("Location")
    if not location:
        raise DemoError(f"{answer.url.partition('?')[0]} answered {answer.status_code}.")
    return urljoin(answer.url, location)


def _title(page: str) -> str:
    return page.partition("<h1>")[2].partition("</h1>")[0].strip()
