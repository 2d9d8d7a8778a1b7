"""Announces that a tenant is ready."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from bulkgrants.ledger.onboarding import let_go, read_onboarding
from bulkgrants_airflow.assets import TENANT_READY
from bulkgrants_airflow.hooks.nylas import NylasHook
from bulkgrants_airflow.retries import saying_clearly
from bulkgrants_airflow.workbench import Workbench, run_key


class AnnounceReadyOperator(BaseOperator):
    """Gives the tenant back, and emits an event of the asset `TENANT_READY` with its name.

    Whatever is scheduled on that asset starts: a first reconcile of this tenant, for example.
    """

    template_fields: Sequence[str] = ("tenant",)

    def __init__(self, *, tenant: str, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(outlets=[TENANT_READY], **kwargs)
        self.tenant = tenant

    def execute(self, context: Context) -> None:
        """Nothing but that."""
        with saying_clearly():
            bench = Workbench.open()
            application = NylasHook(bench.settings.nylas_conn_id).nylas.client_id
            onboarding = read_onboarding(bench.ledger, application, self.tenant)
            with bench.ledger.begin() as connection:
                let_go(connection, application, self.tenant, run_key(context))
        if onboarding.awaiting is not None:
            raise AirflowSkipException(
                f"The tenant {self.tenant} awaits {onboarding.awaiting} again."
            )
        context["outlet_events"][TENANT_READY].extra = {"tenant": self.tenant}
