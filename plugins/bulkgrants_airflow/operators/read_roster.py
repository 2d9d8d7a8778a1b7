"""Reads a run's roster and tenants from the warehouse into the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from bulkgrants.ports import utc_now
from bulkgrants_airflow.retries import saying_clearly
from bulkgrants_airflow.workbench import Workbench


class ReadRosterOperator(BaseOperator):
    """Stages the roster of the run `run`; what cannot be an entry goes to the table `rejects`.

    Skips, with all that follows, where the run may do nothing since its roster is not the newest.
    """

    template_fields: Sequence[str] = ("run",)

    def __init__(self, *, run: int, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.run = run

    def execute(self, context: Context) -> dict[str, int]:  # noqa: ARG002 - Airflow's interface
        """How many rows were read, became entries, and were rejected."""
        from bulkgrants.rosters.intake import take_in  # noqa: PLC0415 - imports pandas

        with saying_clearly():
            bench = Workbench.open()
            run = bench.run(self.run)
            if run.mode_reason:
                raise AirflowSkipException(f"Nothing is written to Nylas. {run.mode_reason}")
            staged = take_in(
                bench.ledger,
                bench.warehouse(),
                run,
                roster=bench.roster(),
                tenants=bench.tenants(),
                now=utc_now(),
            )
        return {"read": staged.read, "entries": staged.entries, "rejected": staged.rejected}
