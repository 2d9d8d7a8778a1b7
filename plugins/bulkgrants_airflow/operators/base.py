"""What operators share: the work on one run or one tenant, and clear errors in the task log."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from airflow.sdk import BaseAsyncOperator, BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from bulkgrants.errors import BulkgrantsError, Superseded
from bulkgrants.ledger.rights import keeping
from bulkgrants.model import Onboarding, Run
from bulkgrants_airflow.workspace import Workspace


class RunOperator(BaseOperator):
    """One step of the run whose id is `run`."""

    template_fields: Sequence[str] = ("run",)

    def __init__(self, *, run: int | None, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.run = run

    def execute(self, context: Context) -> object:  # noqa: ARG002 - Airflow's interface
        """What `work` returns."""
        with saying_clearly():
            run_id = _opened(self.run)
            workspace = Workspace.open()
            return self.work(workspace, workspace.run(run_id))

    @abstractmethod
    def work(self, workspace: Workspace, run: Run) -> object:
        """Take the step. The result goes to XCom: ids and counts, never rows."""


class AsyncRunOperator(BaseAsyncOperator):
    """`RunOperator` for a step that makes many API calls at once."""

    template_fields: Sequence[str] = ("run",)

    def __init__(self, *, run: int | None, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.run = run

    async def aexecute(self, context: Context) -> object:  # noqa: ARG002 - Airflow's interface
        """What `work` returns."""
        with saying_clearly():
            run_id = _opened(self.run)
            workspace = Workspace.open()
            run = workspace.run(run_id)
            with keeping(workspace.ledger, run):  # Nylas may let a call wait for an hour
                return await self.work(workspace, run)

    @abstractmethod
    async def work(self, workspace: Workspace, run: Run) -> object:
        """Take the step. The result goes to XCom: ids and counts, never rows."""


class TenantOperator(BaseOperator):
    """One step of the onboarding of `tenant`."""

    template_fields: Sequence[str] = ("tenant",)

    def __init__(self, *, tenant: str, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.tenant = tenant

    def execute(self, context: Context) -> object:
        """What `work` returns. Skips the task if another run now has the tenant."""
        with saying_clearly():
            workspace = Workspace.open()
            try:
                return self.work(workspace, workspace.onboarding(self.tenant), context)
            except Superseded as error:
                raise AirflowSkipException(str(error)) from None

    @abstractmethod
    def work(self, workspace: Workspace, onboarding: Onboarding, context: Context) -> object:
        """Take the step. The result goes to XCom, so it holds no secret."""


def _opened(run: int | None) -> int:
    """The run's id. Skips the task if no run was opened: a teardown task may find that."""
    if run is None:
        raise AirflowSkipException("No run was opened, so there is nothing to do.")
    return run


def saying_clearly() -> AbstractContextManager[None]:
    """Makes an error of `bulkgrants.errors` end the task's log with its message alone.

    It removes the traceback below the operator and the library's error that caused it. They do not
    help the reader of a task log, and a library's message may quote the data it was given. The
    error keeps its class, which `RetryByKind` needs.
    """
    return _SayingClearly()


class _SayingClearly(AbstractContextManager[None]):
    """A class, since `contextlib.contextmanager` puts the traceback back on an error it knows."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, BulkgrantsError):
            raise error.with_traceback(None) from None
