"""Plans what makes the grants equal to the roster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context

from bulkgrants.ports import utc_now
from bulkgrants.reconcile.plan import plan
from bulkgrants_airflow.retries import saying_clearly
from bulkgrants_airflow.workbench import Workbench


class PlanChangesOperator(BaseOperator):
    """Plans the run `run`; gives one reference for each batch to apply, none for a dry run."""

    template_fields: Sequence[str] = ("run",)

    def __init__(self, *, run: int, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.run = run

    def execute(self, context: Context) -> list[dict[str, int]]:  # noqa: ARG002 - Airflow's interface
        """References `{"run", "batch", "of"}`; the changes themselves stay in the ledger."""
        with saying_clearly():
            bench = Workbench.open()
            run = bench.run(self.run)
            planned = plan(bench.ledger, run, batch_size=bench.settings.batch_size, now=utc_now())
        for what, mailboxes in planned.counts.items():
            self.log.info("%-28s %9d", what, mailboxes)
        self.log.info("Plan %s in %d batches", planned.fingerprint[:12], len(planned.batches))
        of = len(planned.batches)
        return [{"run": self.run, "batch": batch, "of": of} for batch in planned.batches]
