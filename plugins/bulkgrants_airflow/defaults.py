"""What the DAGs have in common: how their tasks are retried, and what their forms ask."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param

from bulkgrants_airflow.retries import RetryByKind

RETRIES = {
    "retries": 5,
    "retry_delay": timedelta(seconds=30),
    "retry_policy": RetryByKind(),
}
"""Default arguments: the delay is for killed tasks, all else is up to the kind of error."""

TENANTS = Param(
    None,
    type=["null", "array"],
    items={"type": "string"},
    title="Tenants",
    description="One name a line, as in the tenants table; none means all of them.",
)

MAILBOX = Param(
    None,
    type=["null", "string"],
    title="One mailbox",
    description="An e-mail address, to look at nothing else.",
)
