"""What every task works with: settings, ledger, warehouse, the Nylas application, and senders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property

from airflow.sdk import Context

from bulkgrants.credentials.application import require_application
from bulkgrants.credentials.secrets import fingerprint_key
from bulkgrants.ledger.budgets import Budget
from bulkgrants.ledger.database import Ledger, open_ledger, require_current
from bulkgrants.ledger.onboarding import read_onboarding
from bulkgrants.ledger.runs import read_run
from bulkgrants.model import Onboarding, Run
from bulkgrants.nylas.sending import PacedSender, Pacer, PatientSender, undisturbed
from bulkgrants.onboarding.links import Asker, key_id, state_key
from bulkgrants.rosters.warehouse import Source, Warehouse, roster_source, tenants_source
from bulkgrants_airflow.connections import NylasConnection, ledger_url, warehouse_engine
from bulkgrants_airflow.hooks.nylas import NylasAsyncHook, NylasHook
from bulkgrants_airflow.settings import Settings, read_settings


@dataclass(frozen=True)
class Workspace:
    """Opened once in each task. Its methods raise Misconfigured for what a person has to correct.

    The Nylas connection is looked up at the first use, once for each workspace.
    """

    settings: Settings
    ledger: Ledger

    @classmethod
    def open(cls) -> Workspace:
        """Check the settings, and open the ledger at the revision of this code."""
        settings = read_settings()
        ledger = open_ledger(ledger_url(settings.ledger_conn_id))
        require_current(ledger)
        return cls(settings, ledger)

    @cached_property
    def _hook(self) -> NylasHook:
        return NylasHook(self.settings.nylas_conn_id)

    @property
    def nylas(self) -> NylasConnection:
        """The Nylas application that the settings name. It blocks, so not on an event loop."""
        return self._hook.nylas

    @property
    def application(self) -> str:
        """The application's id, under which the ledger keeps its records."""
        return self.nylas.client_id

    @property
    def state_key(self) -> bytes:
        """The key that signs the states of consent links."""
        return state_key(self.nylas.api_key)

    @property
    def fingerprint_key(self) -> bytes:
        """The key for the fingerprints of credentials."""
        return fingerprint_key(self.nylas.api_key)

    def run(self, run_id: int) -> Run:
        """The run's record in the ledger."""
        return read_run(self.ledger, run_id)

    def onboarding(self, tenant: str) -> Onboarding:
        """The tenant's onboarding, from the ledger."""
        return read_onboarding(self.ledger, self.application, tenant)

    def warehouse(self) -> Warehouse:
        """The database that holds the roster and the tenants."""
        return warehouse_engine(self.settings.warehouse_conn_id)

    def roster(self) -> Source:
        """Where the roster is, and the names of its columns."""
        return roster_source(self.settings.roster, self.settings.roster_columns)

    def tenants(self) -> Source:
        """Where the tenants table is, and the names of its columns."""
        return tenants_source(self.settings.tenants, self.settings.tenants_columns)

    def asker(self) -> Asker:
        """Who asks admins for consent, and where their answers go."""
        return Asker(
            application=self.application,
            base_url=self.nylas.base_url,
            redirect_uri=self.settings.consent_redirect_uri,
            key=self.state_key,
        )

    def require_application(self) -> None:
        """Make sure that the API key is the one of `application`; every run does so once, first.

        Sends one call, or a few if the key may not read its application.
        """
        require_application(
            self.patient_sender(),
            self.ledger,
            application=self.application,
            connection=self.nylas.name,
        )

    def patient_sender(self) -> PatientSender:
        """A sender for a few calls in a row. It keeps to the shared budget, and retries."""
        return PatientSender(PacedSender(self._hook, self._budget(self.nylas)))

    def single_sender(self) -> PacedSender:
        """A sender that sends each call once, for code that can come back later instead of waiting.

        If the shared budget has no slot within a minute, it raises RateLimited.
        """
        return PacedSender(self._hook, self._budget(self.nylas), longest_wait=60.0)

    @property
    def key_id(self) -> str:
        """The fingerprint of the key that signs the states of consent links."""
        return key_id(self.state_key)

    @asynccontextmanager
    async def sender(self) -> AsyncIterator[Pacer]:
        """A sender for many calls at once on this event loop. It keeps to the shared budget."""
        hook = NylasAsyncHook(self.settings.nylas_conn_id)
        nylas = await hook.nylas()
        async with hook.open() as sender:
            with undisturbed():
                yield Pacer(sender, self._budget(nylas))

    def _budget(self, nylas: NylasConnection) -> Budget:
        """The application's rate budget, which all processes share through the ledger."""
        return Budget(self.ledger, nylas.client_id, nylas.rate_per_second)


def run_key(context: Context) -> str:
    """The DAG run's name in the ledger. A retry has the same one, and so finds its own records."""
    return f"{context['dag'].dag_id}/{context['run_id']}"
