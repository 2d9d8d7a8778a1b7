"""Waits until a run may begin: its roster is there, and the application has no other active run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue

from bulkgrants.errors import Fatal, Retriable
from bulkgrants.model import Mode, Run, RunKind
from bulkgrants.ports import utc_now
from bulkgrants.reconcile.opening import RosterState, open_run, selection_of
from bulkgrants.reconcile.report import close_run
from bulkgrants_airflow.operators.base import saying_clearly
from bulkgrants_airflow.workspace import Workspace, run_key

_EXACT_RUN_TYPES = frozenset({"scheduled", "backfill"})
"""Runs of these types are for the roster of their own day only."""


class RunOpeningSensor(BaseSensorOperator):
    """Opens a run in the ledger, takes the application's lease, and returns the run's id.

    `kind` is `reconcile` or `audit`; the ledger records it. The sensor reads the params `tenants`,
    `mailbox` and `dry_run`, if the DAG has them. A run whose roster is not the newest opens as
    well, and says that it will do nothing. Fails if the API key is that of another application
    than its connection names.
    """

    template_fields: Sequence[str] = ()

    def __init__(self, *, kind: str, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(mode="reschedule", **kwargs)
        self.kind = kind

    def poke(self, context: Context) -> PokeReturnValue:
        """Whether the run is open, and its id."""
        params = context["params"]
        with saying_clearly():
            workspace = Workspace.open()
            try:
                run = open_run(
                    workspace.ledger,
                    application=workspace.application,
                    key=run_key(context),
                    kind=RunKind(self.kind),
                    mode=self._mode(params),
                    selection=selection_of(params.get("tenants") or (), params.get("mailbox")),
                    roster=_roster(workspace, context),
                    now=utc_now(),
                )
                _require_application(workspace, run)
            except Retriable as error:
                self.log.info("Still waiting: %s", error)
                return PokeReturnValue(is_done=False)
        self.log.info(run.mode_reason or f"Run {run.key} is open for {run.roster_date or 'now'}")
        return PokeReturnValue(is_done=True, xcom_value=run.run_id)

    def _mode(self, params: Mapping[str, object]) -> Mode:
        if self.kind == RunKind.AUDIT:
            return Mode.AUDIT
        return Mode.DRY_RUN if params.get("dry_run") else Mode.APPLY


def _require_application(workspace: Workspace, run: Run) -> None:
    """Check the key once the run has its lease; a run that ends here is closed, for the next one.

    The lease comes first, so that a run that waits for it makes no API call each minute.
    """
    if run.mode_reason:
        return
    try:
        workspace.require_application()
    except Fatal:
        close_run(workspace.ledger, run, utc_now())
        raise


def _roster(workspace: Workspace, context: Context) -> RosterState:
    from bulkgrants.rosters.warehouse import roster_days  # noqa: PLC0415 - heavy

    dag_run, zone, now = context["dag_run"], context["dag"].timezone, utc_now()
    logical = context.get("logical_date") or now
    today = now.astimezone(zone).date()
    days = roster_days(workspace.warehouse(), workspace.roster(), today)
    return RosterState(
        day=logical.astimezone(zone).date(),
        today=today,
        exact=dag_run.run_type in _EXACT_RUN_TYPES,
        dated=days is not None,
        newest=days.newest if days else None,
        overdue=now - (dag_run.run_after or logical),
        undated=days.undated if days else "",
    )
