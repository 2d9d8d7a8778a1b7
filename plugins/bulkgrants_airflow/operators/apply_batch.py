"""Applies one batch of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseAsyncOperator, Context

from bulkgrants.ports import utc_now
from bulkgrants.reconcile.apply import apply_batch
from bulkgrants_airflow.retries import saying_clearly
from bulkgrants_airflow.workbench import Workbench


class ApplyBatchOperator(BaseAsyncOperator):
    """Makes the open changes of the batch that `batch` refers to, many at a time.

    A task that is killed and tried again takes up what is still open. Refused mailboxes are
    outcomes in the ledger and no failure.
    """

    template_fields: Sequence[str] = ("batch",)

    def __init__(self, *, batch: Mapping[str, int], **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.batch = batch

    async def aexecute(self, context: Context) -> dict[str, int]:  # noqa: ARG002 - Airflow's interface
        """How many changes came to which outcome."""
        with saying_clearly():
            bench = Workbench.open()
            run = bench.run(self.batch["run"])
            async with bench.sender() as sender:
                applied = await apply_batch(
                    bench.ledger, sender, run, self.batch["batch"], clock=utc_now
                )
        return dict(applied.outcomes)
