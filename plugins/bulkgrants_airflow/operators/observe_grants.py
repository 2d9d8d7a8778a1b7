"""Lists the application's grants and brings the ledger in line with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseAsyncOperator, Context

from bulkgrants.ports import utc_now
from bulkgrants.reconcile.observe import observe
from bulkgrants_airflow.retries import saying_clearly
from bulkgrants_airflow.workbench import Workbench


class ObserveGrantsOperator(BaseAsyncOperator):
    """Observes all grants for the run `run`, or those of the one mailbox it is about."""

    template_fields: Sequence[str] = ("run",)

    def __init__(self, *, run: int, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.run = run

    async def aexecute(self, context: Context) -> int:  # noqa: ARG002 - Airflow's interface
        """How many mailboxes have a grant."""
        with saying_clearly():
            bench = Workbench.open()
            run = bench.run(self.run)
            async with bench.sender() as sender:
                return await observe(bench.ledger, sender, run, clock=utc_now)
