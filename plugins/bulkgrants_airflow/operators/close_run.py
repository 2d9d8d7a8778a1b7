"""Reports what a run did, and closes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from bulkgrants.ports import utc_now
from bulkgrants.reconcile.report import close_run
from bulkgrants_airflow.retries import saying_clearly
from bulkgrants_airflow.workbench import Workbench


class CloseRunOperator(BaseOperator):
    """Writes the report of the run `run` into the ledger and the log, and gives its lease back.

    Meant as a teardown task, so that it runs whatever happened before and does not make a failed
    run look like a good one.
    """

    template_fields: Sequence[str] = ("run",)

    def __init__(self, *, run: int | None, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.run = run

    def execute(self, context: Context) -> dict[str, int]:  # noqa: ARG002 - Airflow's interface
        """The run's counts."""
        if self.run is None:
            raise AirflowSkipException("No run was opened, so there is none to close.")
        with saying_clearly():
            bench = Workbench.open()
            report = close_run(bench.ledger, bench.run(self.run), utc_now())
        for line in report.markdown.splitlines():
            self.log.info("%s", line)
        return report.counts
