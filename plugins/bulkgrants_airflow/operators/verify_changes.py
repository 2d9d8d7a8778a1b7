"""Reads back what a run has applied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseAsyncOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from bulkgrants.ports import utc_now
from bulkgrants.reconcile.verify import verify
from bulkgrants_airflow.retries import saying_clearly
from bulkgrants_airflow.workbench import Workbench


class VerifyChangesOperator(BaseAsyncOperator):
    """Compares the changes of the run `run` with the grants as Nylas lists them afterwards."""

    template_fields: Sequence[str] = ("run",)

    def __init__(self, *, run: int, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.run = run

    async def aexecute(self, context: Context) -> dict[str, int]:  # noqa: ARG002 - Airflow's interface
        """How many changes are verified, and how many drifted."""
        with saying_clearly():
            bench = Workbench.open()
            run = bench.run(self.run)
            if run.planned_at is None:
                raise AirflowSkipException(f"Run {run.key} has no plan that was applied.")
            async with bench.sender() as sender:
                return dict(await verify(bench.ledger, sender, run, clock=utc_now))
