"""Finds out which credentials the tenants need."""

from __future__ import annotations

from airflow.sdk import BaseOperator, Context

from bulkgrants_airflow.references import CredentialReference
from bulkgrants_airflow.retries import saying_clearly
from bulkgrants_airflow.workbench import Workbench


class ListCredentialsOperator(BaseOperator):
    """Reads the tenants table; gives a reference for each credential that an enabled row names."""

    def execute(self, context: Context) -> list[dict[str, str]]:  # noqa: ARG002 - Airflow's interface
        """References `{"provider", "name", "secret_conn_id", "microsoft_tenant"}`, each once."""
        from bulkgrants.rosters.tenants import read_tenants  # noqa: PLC0415 - imports pandas

        with saying_clearly():
            bench = Workbench.open()
            tenants = read_tenants(bench.warehouse(), bench.tenants())
        wanted = {CredentialReference.of(tenant) for tenant in tenants if tenant.enabled}
        return [reference.shown() for reference in sorted(wanted)]
