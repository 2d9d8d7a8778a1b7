"""Takes up the tenants that are not ready."""

from __future__ import annotations

from airflow.sdk import BaseOperator, Context

from bulkgrants.ledger.onboarding import Onboarding, take_up
from bulkgrants.ledger.tenants import record_tenants
from bulkgrants.ports import utc_now
from bulkgrants_airflow.hooks.nylas import NylasHook
from bulkgrants_airflow.references import CredentialReference
from bulkgrants_airflow.retries import saying_clearly
from bulkgrants_airflow.workbench import Workbench, run_key


class TakeUpTenantsOperator(BaseOperator):
    """Reads the tenants table, and claims for this run the tenants that are not ready.

    Those that another run has taken up are left to it, and those that an admin has refused to a
    person, who asks for them by name in the param `tenants`.
    """

    def execute(self, context: Context) -> list[dict[str, object]]:
        """References `{"tenant", "credential"}`, one for each tenant; no secrets."""
        from bulkgrants.rosters.tenants import read_tenants, require_known  # noqa: PLC0415 - imports pandas

        names = context["params"].get("tenants") or ()
        with saying_clearly():
            bench = Workbench.open()
            source = bench.tenants()
            listed = read_tenants(bench.warehouse(), source)
            require_known(names, listed, source)
            application = NylasHook(bench.settings.nylas_conn_id).nylas.client_id
            with bench.ledger.begin() as connection:
                record_tenants(connection, application, listed)
                taken = take_up(connection, application, run_key(context), utc_now(), names=names)
        for name in sorted({*names} - {one.tenant for one in taken}):
            self.log.info("Tenant %s is ready, or disabled: there is nothing to do for it", name)
        for one in taken:
            self.log.info("Tenant %s awaits %s", one.tenant, one.awaiting)
        return [{"tenant": one.tenant, "credential": _reference(one).shown()} for one in taken]


def _reference(one: Onboarding) -> CredentialReference:
    return CredentialReference(
        one.provider, one.credential, one.secret_conn_id, one.microsoft_tenant
    )
