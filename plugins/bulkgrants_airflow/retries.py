"""How Airflow treats our errors: which end a task, which bring it back, and what is said."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta
from types import TracebackType

from airflow.sdk import Context, RetryDecision, RetryPolicy

from bulkgrants.errors import BulkgrantsError, Fatal, Retriable

FIRST_DELAY = 15.0
"""Seconds before a task is tried again where the other side asked for nothing; then twice that."""
LONGEST_DELAY = 600.0


class RetryByKind(RetryPolicy):
    """Fails at once for what only a person can mend, and waits as long as the error says.

    It runs in the worker alone; of a policy, Airflow stores no more than that a task has one.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,  # noqa: ARG002 - Airflow itself ends the retries
        context: Context | None = None,  # noqa: ARG002 - Airflow's interface
    ) -> RetryDecision:
        """The decision; errors that are not ours get the task's own settings."""
        match exception:
            case Fatal():
                return RetryDecision.fail(str(exception))
            case Retriable():
                delay = exception.after
                if delay is None:
                    delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (try_number - 1))
                return RetryDecision.retry(timedelta(seconds=delay), str(exception))
            case _:
                return RetryDecision.default()


def saying_clearly() -> AbstractContextManager[None]:
    """Lets one of our errors end a task's log with its sentence, and nothing of what led to it.

    The traceback below the operator and the library's error behind ours are cut off: they tell the
    reader of a task log nothing, and a library's message may quote what it was given. The error
    keeps its class, from which `RetryByKind` decides.
    """
    return _SayingClearly()


class _SayingClearly(AbstractContextManager[None]):
    """A class, since `contextlib.contextmanager` puts back the traceback of an error it knows."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, BulkgrantsError):
            raise error.with_traceback(None) from None
