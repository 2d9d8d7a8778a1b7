"""What the DAGs share: how tasks are retried, what forms ask, and the asset that they emit."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Asset, Context, Param, RetryDecision, RetryPolicy

from bulkgrants.errors import Fatal, Retriable

FIRST_DELAY = 15.0
"""Seconds before the first retry, if the other side asked for no wait; it doubles each time."""
LONGEST_DELAY = 600.0
"""Seconds."""


class RetryByKind(RetryPolicy):
    """Fails at once for what only a person can correct, and waits as long as the error says.

    It runs in the worker only. Of a policy, Airflow stores only that a task has one.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,  # noqa: ARG002 - Airflow itself ends the retries
        context: Context | None = None,  # noqa: ARG002 - Airflow's interface
    ) -> RetryDecision:
        """Fail or retry. For errors not in `bulkgrants.errors`, the task's settings apply."""
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


RETRIES = {
    "retries": 5,
    "retry_delay": timedelta(seconds=30),
    "retry_policy": RetryByKind(),
}
"""Default arguments. The delay is for tasks that were killed; the policy decides about errors."""

TENANTS = Param(
    None,
    type=["null", "array"],
    items={"type": "string"},
    title="Tenants",
    description="One name per line, as in the tenants table. Leave empty for all tenants.",
)

MAILBOX = Param(
    None,
    type=["null", "string"],
    title="One mailbox",
    description="An e-mail address. The run then looks at no other mailbox.",
)

VANISHED = Param(
    0,
    type="integer",
    minimum=0,
    title="Vanished grants",
    description="Leave it at 0, unless observe_grants has failed because a listing lacks many "
    "grants and you know that they were deleted: then the number that its error names.",
)

TENANT_READY = Asset(name="bulkgrants_tenant_ready", uri="bulkgrants-tenant-ready")
"""An event for each tenant that becomes ready; its extra holds the tenant's name (`tenant`)."""
