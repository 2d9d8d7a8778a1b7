"""Waits until a run may begin: its roster is there, and no other run of the application is on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue

from bulkgrants.errors import Retriable
from bulkgrants.model import Mode
from bulkgrants.ports import utc_now
from bulkgrants.reconcile.gate import RosterState
from bulkgrants.reconcile.opening import open_run, scope_of
from bulkgrants_airflow.hooks.nylas import NylasHook
from bulkgrants_airflow.retries import saying_clearly
from bulkgrants_airflow.workbench import Workbench, run_key

EXACT = frozenset({"scheduled", "backfill"})
"""Runs of these types are for their day and no other."""


class RunOpeningSensor(BaseSensorOperator):
    """Opens a run in the ledger and takes the application's lease; gives the run's id.

    `kind` names the record: reconcile or audit. Reads the params `tenants`, `mailbox` and
    `dry_run`, where the DAG has them. A run whose roster is not the newest opens as well, and says
    that it will do nothing.
    """

    template_fields: Sequence[str] = ()

    def __init__(self, *, kind: str, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(mode="reschedule", **kwargs)
        self.kind = kind

    def poke(self, context: Context) -> PokeReturnValue:
        """Whether the run could be opened, and its id."""
        params = context["params"]
        with saying_clearly():
            bench = Workbench.open()
            try:
                run = open_run(
                    bench.ledger,
                    application=NylasHook(bench.settings.nylas_conn_id).nylas.client_id,
                    key=run_key(context),
                    kind=self.kind,
                    mode=self._mode(params),
                    scope=scope_of(params.get("tenants") or (), params.get("mailbox")),
                    roster=_roster(bench, context),
                    now=utc_now(),
                )
            except Retriable as error:
                self.log.info("Still waiting: %s", error)
                return PokeReturnValue(is_done=False)
        self.log.info(run.mode_reason or f"Run {run.key} is open for {run.roster_date or 'now'}")
        return PokeReturnValue(is_done=True, xcom_value=run.run_id)

    def _mode(self, params: Mapping[str, object]) -> Mode:
        if self.kind == "audit":
            return Mode.AUDIT
        return Mode.DRY_RUN if params.get("dry_run") else Mode.APPLY


def _roster(bench: Workbench, context: Context) -> RosterState:
    from bulkgrants.rosters.partitions import has_partitions, newest_partition  # noqa: PLC0415 - heavy

    source, warehouse = bench.roster(), bench.warehouse()
    zone, now = context["dag"].timezone, utc_now()
    return RosterState(
        day=(context.get("logical_date") or now).astimezone(zone).date(),
        today=now.astimezone(zone).date(),
        exact=context["dag_run"].run_type in EXACT,
        dated=has_partitions(warehouse, source),
        newest=newest_partition(warehouse, source),
    )
