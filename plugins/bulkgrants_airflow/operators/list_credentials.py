"""Finds out which credentials the tenants need."""

from __future__ import annotations

from airflow.sdk import BaseOperator, Context

from bulkgrants.model import Provider
from bulkgrants_airflow.retries import saying_clearly
from bulkgrants_airflow.workbench import Workbench


class ListCredentialsOperator(BaseOperator):
    """Reads the tenants table; gives a reference for each Google credential that it names."""

    def execute(self, context: Context) -> list[dict[str, str]]:  # noqa: ARG002 - Airflow's interface
        """References `{"provider", "name", "secret_conn_id"}`, each once; no secrets."""
        from bulkgrants.rosters.tenants import read_tenants  # noqa: PLC0415 - imports pandas

        with saying_clearly():
            bench = Workbench.open()
            tenants = read_tenants(bench.warehouse(), bench.tenants())
        wanted = {
            (tenant.provider, tenant.credential, tenant.secret_conn_id)
            for tenant in tenants
            if tenant.enabled and tenant.provider is Provider.GOOGLE
        }
        return [
            {"provider": provider, "name": name, "secret_conn_id": secret_conn_id}
            for provider, name, secret_conn_id in sorted(wanted)
        ]
