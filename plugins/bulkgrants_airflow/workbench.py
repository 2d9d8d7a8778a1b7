"""What every task works with: the settings, the ledger, and a sender that keeps to the budget."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import Engine

from bulkgrants.ledger.budgets import Budget
from bulkgrants.ledger.engine import open_ledger, require_current
from bulkgrants.ledger.runs import Run, read_run
from bulkgrants.reconcile.pacing import Pacer, undisturbed
from bulkgrants.rosters.sources import Source, roster_source, tenants_source
from bulkgrants_airflow.connections import NylasConnection, ledger_url, warehouse_engine
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

    @asynccontextmanager
    async def sender(self) -> AsyncIterator[Pacer]:
        """A sender for this event loop that shares the application's budget with all others."""
        hook = NylasAsyncHook(self.settings.nylas_conn_id)
        nylas = await hook.nylas()
        async with hook.open() as sender:
            with undisturbed():
                yield Pacer(sender, self.budget(nylas))
