"""The steps of a reconcile run: read, observe, plan, apply, verify, close."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseAsyncOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from bulkgrants.model import Run
from bulkgrants.ports import utc_now
from bulkgrants.reconcile.apply import apply_batch
from bulkgrants.reconcile.observe import observe
from bulkgrants.reconcile.plan import plan
from bulkgrants.reconcile.report import close_run
from bulkgrants.reconcile.verify import verify
from bulkgrants_airflow.operators.base import AsyncRunOperator, RunOperator, saying_clearly
from bulkgrants_airflow.workspace import Workspace


class ReadRosterOperator(RunOperator):
    """Reads the roster and the tenants from the warehouse into the ledger, for the run `run`.

    A row that cannot be an entry goes to the table `rejects`. If the run may not write anything
    because its roster is not the newest, skips the task and all that follow.
    """

    def work(self, workspace: Workspace, run: Run) -> dict[str, int]:
        """How many rows were read, became entries, and were rejected."""
        from bulkgrants.rosters.read import read_roster  # noqa: PLC0415 - imports pandas

        if run.mode_reason:
            raise AirflowSkipException(f"Nothing is written to Nylas. {run.mode_reason}")
        staged = read_roster(
            workspace.ledger,
            workspace.warehouse(),
            run,
            roster=workspace.roster(),
            tenants=workspace.tenants(),
            clock=utc_now,
        )
        return {"read": staged.read, "entries": staged.entries, "rejected": staged.rejected}


class ObserveGrantsOperator(AsyncRunOperator):
    """Lists the application's grants into the ledger: all, or those of the run's one mailbox.

    `may_vanish` is how many grants may be gone since the last listing, as a number or as a template
    that renders to one; 0 leaves it to the usual limits.
    """

    template_fields: Sequence[str] = ("run", "may_vanish")

    def __init__(self, *, may_vanish: int | str = 0, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.may_vanish = may_vanish

    async def work(self, workspace: Workspace, run: Run) -> int:
        """How many mailboxes have a grant."""
        async with workspace.sender() as sender:
            return await observe(
                workspace.ledger, sender, run, clock=utc_now, may_vanish=int(self.may_vanish)
            )


class PlanChangesOperator(RunOperator):
    """Plans what makes the grants equal to the roster, and splits the plan into batches."""

    def work(self, workspace: Workspace, run: Run) -> list[dict[str, int]]:
        """A reference `{"run", "batch", "of"}` for each batch to apply; none for a dry run."""
        planned = plan(
            workspace.ledger, run, batch_size=workspace.settings.batch_size, now=utc_now()
        )
        for what, mailboxes in planned.counts.items():
            self.log.info("%-28s %9d", what, mailboxes)
        self.log.info("Plan %s in %d batches", planned.fingerprint[:12], len(planned.batches))
        of = len(planned.batches)
        return [{"run": run.run_id, "batch": batch, "of": of} for batch in planned.batches]


class ApplyBatchOperator(BaseAsyncOperator):
    """Makes the open changes of one batch, many at a time.

    `batch` is a reference that `PlanChangesOperator` returned. A task that was killed continues
    with the changes that are still open. A refused mailbox is an outcome in the ledger, and does
    not fail the task.
    """

    template_fields: Sequence[str] = ("batch",)

    def __init__(self, *, batch: Mapping[str, int], **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.batch = batch

    async def aexecute(self, context: Context) -> dict[str, int]:  # noqa: ARG002 - Airflow's interface
        """How many changes led to which outcome."""
        with saying_clearly():
            workspace = Workspace.open()
            run = workspace.run(self.batch["run"])
            async with workspace.sender() as sender:
                applied = await apply_batch(
                    workspace.ledger, sender, run, self.batch["batch"], clock=utc_now
                )
        return dict(applied.outcomes)


class VerifyChangesOperator(AsyncRunOperator):
    """Compares the changes that the run applied with the grants as Nylas lists them afterwards."""

    async def work(self, workspace: Workspace, run: Run) -> dict[str, int]:
        """How many changes are verified, and how many drifted."""
        if run.planned_at is None:
            raise AirflowSkipException(f"Run {run.key} has no plan that was applied.")
        async with workspace.sender() as sender:
            return dict(await verify(workspace.ledger, sender, run, clock=utc_now))


class CloseRunOperator(RunOperator):
    """Writes the run's report into the ledger and the log, and releases the run's lease.

    Use it as a teardown task: it then runs whatever happened before, and a failed run stays failed.
    Skips the task if no run was opened.
    """

    def work(self, workspace: Workspace, run: Run) -> dict[str, int]:
        """The run's counts."""
        report = close_run(workspace.ledger, run, utc_now())
        for line in report.markdown.splitlines():
            self.log.info("%s", line)
        return report.counts
