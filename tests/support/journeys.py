"""A tenant's steps from its row in the table to ready, against the stand-in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from sqlalchemy import Engine, select

from bulkgrants.ledger import onboarding as steps
from bulkgrants.ledger.database import metadata
from bulkgrants.ledger.onboarding import read_onboarding
from bulkgrants.ledger.rights import release_hold, writing
from bulkgrants.ledger.tenants import record_credential, write_settings
from bulkgrants.model import (
    CredentialType,
    Hold,
    Onboarding,
    Provider,
    RegisteredCredential,
    Stop,
    Tenant,
)
from bulkgrants.nylas.calls import create_connector, create_credential
from bulkgrants.onboarding.callback import Received, receive
from bulkgrants.onboarding.links import Asked, Asker, ask, state_key
from bulkgrants.onboarding.propagation import Pace, ProbeAgain, Ready, advance
from bulkgrants.onboarding.waiting import Step, Terms, step_of
from nylas_standin.client import Control

APPLICATION = "standin-application"
REDIRECT = "https://airflow.example/bulkgrants/consent"
ENTRA = "0b5f4f5e-0000-4000-8000-00000000000a"
"""The id of the tenant whose domain is contoso.example."""
TENANTS = ["common", ENTRA, "contoso.example"]
"""How the tenants table may name the Microsoft tenant."""
CANARY = "nyla@contoso.example"
SCOPES = "Calendars.ReadWrite Mail.ReadWrite Mail.Send User.Read.All"
MAIL = "https://www.googleapis.com/auth/gmail.readonly"
CALENDAR = "https://www.googleapis.com/auth/calendar"
ROBOT = "robot@p.iam.gserviceaccount.com"

SECRET = "Zx8Q~the-secret-of-the-azure-app"
START = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
TERMS = Terms(link=timedelta(days=7), reminders=(timedelta(days=2),), give_up=timedelta(days=28))
MICROSOFT = Pace(floor=timedelta(minutes=5), deadline=timedelta(hours=2))
GOOGLE = Pace(floor=timedelta(), deadline=timedelta(hours=24))
CUSTOM = {"path": "/v3/connect/custom"}


@dataclass
class Journey:
    """One application's tenants, a sender, and one clock for both sides."""

    ledger: Engine
    sender: object
    now: datetime = START
    links: list[str] = field(default_factory=list)
    listed: tuple[Tenant, ...] = ()
    """The tenants table."""

    def __post_init__(self) -> None:
        self.sleep(timedelta())
        self.control.set_limiter(policy="none")  # it uses the wall clock, and a journey does not
        self.control.set_redirect_uris(REDIRECT)
        self.control.set_microsoft_tenants(domains={"contoso.example": ENTRA})

    @property
    def control(self) -> Control:
        return self.sender.control

    def clock(self) -> datetime:
        return self.now

    def sleep(self, span: timedelta) -> None:
        """Let time pass, here and at the stand-in."""
        self.now += span
        self.control.freeze_clock(int(self.now.timestamp()))

    def microsoft(self, entra: str = "common", **changed) -> None:
        """List the tenant `contoso`, and register its credential with its own Azure app."""
        self.list(contoso(microsoft_tenant=entra, **changed))
        self.sender.send(create_connector(Provider.MICROSOFT, "connector-app", "s", "common"))
        data = {"tenant": entra, "client_id": "azure-app", "client_secret": SECRET}
        self.register(Provider.MICROSOFT, CredentialType.ADMIN_CONSENT, data)

    def google(self, key_file: dict[str, str]) -> None:
        """List the tenant `acme`, and register its service account."""
        self.list(acme())
        self.sender.send(create_connector(Provider.GOOGLE, "connector-app", "s"))
        self.register(Provider.GOOGLE, CredentialType.SERVICE_ACCOUNT, key_file)

    def list(self, *tenants: Tenant) -> None:
        self.listed = tenants
        with self.ledger.begin() as connection:
            write_settings(connection, APPLICATION, tenants)

    def register(self, provider, kind, data, named: str = "shared") -> str:
        """Register the tenants' credential, which Nylas knows under this name."""
        made = self.sender.send(create_credential(provider, named, kind, data))
        record_credential(
            self.ledger,
            RegisteredCredential(made.credential_id, "f", self.now, None),
            application=APPLICATION,
            provider=provider,
            name="shared",
            credential_type=kind,
        )
        return made.credential_id

    def take_up(self, run: str = "run-1", names=()) -> list[Onboarding]:
        return steps.take_up(
            self.ledger, APPLICATION, run, self.now, listed=self.listed, names=names
        )

    def let_go(self, tenant: str = "contoso", run: str = "run-1") -> None:
        release_hold(self.ledger, Hold(APPLICATION, tenant, run))

    def standing(self, tenant: str = "contoso") -> Onboarding:
        return read_onboarding(self.ledger, APPLICATION, tenant)

    def step(self) -> Step:
        """What comes next for contoso's consent."""
        return step_of(self.ledger, self.standing(), TERMS, self.now)

    def stop(self, why: Stop) -> None:
        """End contoso's onboarding, as the first run does."""
        with writing(self.ledger, Hold(APPLICATION, "contoso", "run-1"), self.now) as write:
            steps.stop(write, why)

    def ask(self, run: str = "run-1") -> Asked:
        asker = Asker(APPLICATION, self.sender.base_url, REDIRECT, state_key(self.sender.api_key))
        asked = ask(self.ledger, asker, self.standing(), TERMS.link, run_key=run, now=self.now)
        self.links.append(asked.link)
        return asked

    def open(self, asked: Asked):
        """Follow the link to Microsoft's screen as a browser would; return the page."""
        answer = self.sender.client.get(asked.link)
        assert answer.status_code == 302, answer.text
        return self.sender.client.get(answer.headers["location"])

    def answer(self, asked: Asked, **said) -> str:
        """Open the link and answer; return where the browser goes next."""
        self.open(asked)
        return self.reply(asked, **said)

    def reply(self, asked: Asked, **said) -> str:
        """Answer a link that is open."""
        return self.control.answer_consent(**{"state": state_in(asked)} | said)

    def receive(self, location: str) -> Received:
        return receive(
            self.ledger,
            urlsplit(location).query,
            application=APPLICATION,
            key=state_key(self.sender.api_key),
            now=self.now,
        )

    def consent(self, run: str = "run-1", **said) -> Received:
        """Ask, answer and receive; by default contoso's admin approves."""
        said = said or {"approve": True, "tenant": "contoso.example"}
        return self.receive(self.answer(self.ask(run), **said))

    def advance(
        self, tenant="contoso", pace=MICROSOFT, run="run-1", through=None
    ) -> Ready | ProbeAgain:
        return advance(
            self.ledger,
            through or self.sender,
            self.standing(tenant),
            pace,
            run_key=run,
            clock=self.clock,
            chance=lambda: 0.5,
        )

    def wait(self, tenant="contoso", pace=MICROSOFT, run="run-1") -> list[ProbeAgain]:
        """Advance whenever it is due, until the tenant is ready; return the waits."""
        waits = []
        while not isinstance(found := self.advance(tenant, pace, run), Ready):
            waits.append(found)
            assert found.until > self.now
            assert len(waits) < 200
            self.sleep(found.until - self.now)
        return waits

    def rows(self, table: str) -> list[dict]:
        known = metadata.tables[table]
        with self.ledger.connect() as connection:
            found = connection.execute(select(known).order_by(*known.primary_key.columns))
            return [dict(row) for row in found.mappings()]

    def grants(self) -> dict[str, dict]:
        """What exists at the stand-in, by mailbox."""
        return self.control.grants_by_mailbox()

    def outcomes(self) -> list[tuple[str, str]]:
        """The outcome and the missing scopes of each recorded probe."""
        return [(one["outcome"], one["missing"]) for one in self.rows("probes")]


def state_in(asked: Asked) -> str:
    query = dict(part.split("=", 1) for part in urlsplit(asked.link).query.split("&"))
    return query["state"]


def contoso(**changed) -> Tenant:
    values = {
        "tenant": "contoso",
        "provider": Provider.MICROSOFT,
        "credential": "shared",
        "secret_conn_id": "azure",
        "scopes": "",
        "grace": timedelta(days=7),
        "enabled": True,
        "microsoft_tenant": "common",
        "canary": CANARY,
        "required": SCOPES,
    }
    return Tenant(**values | changed)


def acme() -> Tenant:
    return contoso(
        tenant="acme",
        provider=Provider.GOOGLE,
        microsoft_tenant="",
        canary="ann@acme.example",
        scopes=f"{CALENDAR} {MAIL}",
        required=f"{CALENDAR} {MAIL}",
    )


def custom_calls(journey):
    return journey.control.requests_by_route().get("POST /v3/connect/custom", 0)
