"""What every task works with: the settings, the ledger, and a sender that keeps to the budget."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from airflow.sdk import Context
from sqlalchemy import Engine

from bulkgrants.consent.asking import Asker
from bulkgrants.consent.states import state_key
from bulkgrants.ledger.budgets import Budget
from bulkgrants.ledger.engine import open_ledger, require_current
from bulkgrants.ledger.runs import Run, read_run
from bulkgrants.nylas.retrying import PatientSender
from bulkgrants.reconcile.pacing import PacedSender, Pacer, undisturbed
from bulkgrants.rosters.sources import Source, roster_source, tenants_source
from bulkgrants_airflow.connections import (
    NylasConnection,
    ledger_url,
    nylas_connection,
    warehouse_engine,
)
from bulkgrants_airflow.hooks.nylas import NylasHook
from bulkgrants_airflow.hooks.nylas_async import NylasAsyncHook
from bulkgrants_airflow.settings import Settings, read_settings


@dataclass(frozen=True, slots=True)
class Workbench:
    """Opened once in each task. Raises Misconfigured for whatever a person has to correct."""

    settings: Settings
    ledger: Engine

    @classmethod
    def open(cls) -> Workbench:
        """Settings checked, ledger at the revision of this code."""
        settings = read_settings()
        ledger = open_ledger(ledger_url(settings.ledger_conn_id))
        require_current(ledger)
        return cls(settings, ledger)

    def run(self, run_id: int) -> Run:
        """The run's record in the ledger."""
        return read_run(self.ledger, run_id)

    def warehouse(self) -> Engine:
        """The database that holds the roster and the tenants."""
        return warehouse_engine(self.settings.warehouse_conn_id)

    def roster(self) -> Source:
        """Where the roster is, and how its columns are called."""
        return roster_source(self.settings.roster, self.settings.roster_columns)

    def tenants(self) -> Source:
        """Where the tenants are, and how their columns are called."""
        return tenants_source(self.settings.tenants, self.settings.tenants_columns)

    def budget(self, nylas: NylasConnection) -> Budget:
        """The application's rate budget, shared by every process through the ledger."""
        return Budget(self.ledger, nylas.client_id, nylas.rate_per_second)

    def asker(self) -> Asker:
        """In whose name consents are asked for."""
        nylas = nylas_connection(self.settings.nylas_conn_id)
        return Asker(
            application=nylas.client_id,
            base_url=nylas.base_url,
            redirect_uri=self.settings.consent_redirect_uri,
            key=state_key(nylas.api_key),
        )

    def patient_sender(self) -> PatientSender:
        """A sender for a few calls one after the other, which retries."""
        hook = NylasHook(self.settings.nylas_conn_id)
        return PatientSender(PacedSender(hook, self.budget(hook.nylas)))

    @asynccontextmanager
    async def sender(self) -> AsyncIterator[Pacer]:
        """A sender for this event loop that shares the application's budget with all others."""
        hook = NylasAsyncHook(self.settings.nylas_conn_id)
        nylas = await hook.nylas()
        async with hook.open() as sender:
            with undisturbed():
                yield Pacer(sender, self.budget(nylas))


def run_key(context: Context) -> str:
    """What the ledger calls the DAG run: the same run finds its own records again."""
    return f"{context['dag'].dag_id}/{context['run_id']}"
