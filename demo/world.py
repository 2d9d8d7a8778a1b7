"""The world around Airflow: the stand-in for Nylas, and the admins who answer consent links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urljoin

import requests

from demo.folder import Secrets
from demo.rest import Airflow
from demo.samples import ADMIN_APPROVES, MICROSOFT_DOMAINS, MICROSOFT_IDS, Samples
from demo.terminal import DemoError, Terminal
from nylas_standin.client import Control
from nylas_standin.config import Config
from nylas_standin.server import serve_in_thread

ONBOARDING = "onboard_tenants"
_BUTTON = "Consent link for the admin"


@dataclass(frozen=True, slots=True)
class Nylas:
    """A running stand-in for Nylas, Google and Microsoft."""

    base_url: str
    client_id: str
    control: Control

    def prepare_google(self, samples: Samples, secrets: Secrets) -> None:
        """Set which mailboxes exist, and what each Google admin has delegated."""
        self.control.set_directory(samples.directory())
        scopes = {scope for grant in samples.grants for scope in grant["scopes"].split()}
        accounts = [key_file["client_email"] for key_file in secrets.key_files.values()]
        self.control.set_delegations({account: sorted(scopes) for account in accounts})

    def prepare_microsoft(self, redirect_uri: str) -> None:
        """Set the tenants' domains, the pace of propagation, and where admins are sent back to."""
        self.control.set_redirect_uris(redirect_uri)
        self.control.set_microsoft_tenants(domains=MICROSOFT_DOMAINS)
        self.control.set_propagation(delay=6, some_after=1)

    def seed(self, samples: Samples, credential_ids: Mapping[str, str]) -> None:
        """Make the grants that exist beforehand, each under the credential that it names."""
        self.control.seed(
            [
                {
                    "email": grant["email"],
                    "grant_status": grant["status"],
                    "scopes": grant["scopes"].split(),
                    "credential_id": credential_ids.get(grant["credential"]),
                }
                for grant in samples.grants
            ]
        )


@contextmanager
def running_nylas(secrets: Secrets) -> Iterator[Nylas]:
    """A stand-in on a free port, in a thread, so that it cannot outlive this process."""
    config = Config(api_key=secrets.api_key, client_id="demo-application")
    with serve_in_thread(config) as running, Control(running.base_url) as control:
        yield Nylas(running.base_url, config.client_id, control)


@dataclass
class Admins:
    """Admins of Microsoft tenants; each opens a consent link as soon as Airflow shows it."""

    airflow: Airflow
    terminal: Terminal
    run_id: str
    approves: Mapping[str, bool] = field(default_factory=lambda: ADMIN_APPROVES)
    """Each admin's answer, by tenant."""
    answered: set[str] = field(default_factory=set)

    def answer(self) -> None:
        """Open each link that Airflow now shows, and answer it once. Raises DemoError."""
        for task in self.airflow.tasks(ONBOARDING, self.run_id):
            tenant = task.label
            waits = task.task_id == "onboard.await_consent" and task.state == "deferred"
            if waits and tenant in self.approves and tenant not in self.answered:
                link = self.airflow.links(ONBOARDING, self.run_id, task).get(_BUTTON)
                if link:
                    self.answered.add(tenant)
                    self._open(link, tenant)

    def _open(self, link: str, tenant: str) -> None:
        """What the admin's browser does: to Microsoft's screen, an answer, and back to Airflow."""
        choice = "approve" if self.approves[tenant] else "decline"
        with requests.Session() as browser:
            browser.trust_env = False  # all of it is on loopback, where no proxy belongs
            screen = _next(browser.get(link, allow_redirects=False, timeout=30))
            form = {"tenant": MICROSOFT_IDS[tenant]} if self.approves[tenant] else {}
            answer = browser.post(
                f"{screen}/{choice}", data=form, allow_redirects=False, timeout=30
            )
            page = browser.get(_next(answer), allow_redirects=False, timeout=30)
        if not page.ok:
            raise DemoError(f"The callback answered the admin of {tenant} with {page.status_code}.")
        done = "consents" if self.approves[tenant] else "declines"
        self.terminal.say(f"The admin of {tenant} {done}, and reads: {_heading(page.text)}")


def _next(answer: requests.Response) -> str:
    location = answer.headers.get("Location")
    if not location:
        raise DemoError(f"{answer.url.partition('?')[0]} answered {answer.status_code}.")
    return urljoin(answer.url, location)


def _heading(page: str) -> str:
    return page.partition("<h1>")[2].partition("</h1>")[0].strip()
