"""What our errors do to a task: in the retry policy, and in a task that runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import DAG, BaseOperator, RetryAction

from bulkgrants.errors import (
    ApiKeyRefused,
    LeaseHeld,
    Misconfigured,
    RateLimited,
    Refused,
    RequestRefused,
    Superseded,
    Throttle,
    Unavailable,
)
from bulkgrants.refusals import UNKNOWN_REFUSAL
from bulkgrants_airflow.defaults import RetryByKind
from bulkgrants_airflow.operators.base import saying_clearly


@pytest.mark.parametrize(
    "error",
    [Misconfigured("x"), ApiKeyRefused("x"), RequestRefused("x"), Superseded("x")],
)
def test_what_only_a_person_can_correct_fails_at_once(error):
    decision = RetryByKind().evaluate(error, 1, 3)
    assert (decision.action, decision.reason) == (RetryAction.FAIL, "x")


@pytest.mark.parametrize(
    ("error", "try_number", "delay"),
    [
        (RateLimited("x", throttle=Throttle.NYLAS, after=7.5), 1, 7.5),
        (RateLimited("x", throttle=Throttle.PROVIDER, after=1200.0), 3, 1200.0),
        (Unavailable("x", after=0.0), 1, 0.0),
        (Unavailable("x"), 1, 15.0),
        (LeaseHeld("x"), 2, 30.0),
        (Unavailable("x"), 3, 60.0),
        (Unavailable("x"), 30, 600.0),
    ],
)
def test_what_may_succeed_later_waits_as_long_as_it_says(error, try_number, delay):
    decision = RetryByKind().evaluate(error, try_number, 3)
    assert decision.action is RetryAction.RETRY
    assert decision.retry_delay == timedelta(seconds=delay)
    assert decision.reason == "x"


@pytest.mark.parametrize("error", [ValueError("x"), Refused("x", known=UNKNOWN_REFUSAL)])
def test_other_errors_get_the_tasks_own_settings(error):
    assert RetryByKind().evaluate(error, 1, 3).action is RetryAction.DEFAULT


def quoting(secret):
    raise ValueError(f"the library quotes {secret}")


def wrapping(error, secret):
    """Raise an error of ours with the library's behind it, as our code must not."""
    try:
        quoting(secret)
    except ValueError as cause:
        raise error from cause


def test_an_error_keeps_its_class_and_loses_what_led_to_it():
    with pytest.raises(Unavailable) as raised, saying_clearly():
        wrapping(Unavailable("One sentence.", after=3.0), "hush-hush")
    assert raised.value.after == 3.0
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    assert "wrapping" not in {entry.name for entry in raised.traceback}


def test_errors_that_are_not_ours_pass_untouched():
    with pytest.raises(ZeroDivisionError) as raised, saying_clearly():
        1 / 0  # noqa: B018
    assert not raised.value.__suppress_context__


class Failing(BaseOperator):
    """Raises the error that it is told to, from inside a library."""

    def __init__(self, *, error: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.error = error

    def execute(self, context):
        with saying_clearly():
            if self.error == "fatal":
                wrapping(Misconfigured("The setting is wrong; correct it."), "hush-hush-secret")
            wrapping(Unavailable("There is no answer.", after=0.0), "hush-hush-secret")


@pytest.mark.parametrize(
    ("error", "sentence", "state", "tries"),
    [
        ("fatal", "The setting is wrong; correct it.", "failed", 1),
        ("retriable", "There is no answer.", "failed", 2),
    ],
)
def test_a_tasks_log_ends_in_the_sentence_and_shows_no_secret(
    run_dag, error, sentence, state, tries, capfd
):
    with DAG(f"failing_{error}", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        Failing(
            task_id="t",
            error=error,
            retries=1,
            retry_delay=timedelta(seconds=0),
            retry_policy=RetryByKind(),
        )
    run = run_dag(dag)
    (task,) = run.get_task_instances()
    assert (str(task.state), task.try_number) == (state, tries)
    shown = "".join(capfd.readouterr())
    raised = "Misconfigured" if error == "fatal" else "Unavailable"
    lines = shown.splitlines()
    end = lines.index(f"bulkgrants.errors.{raised}: {sentence}")
    assert "raise error.with_traceback(None) from None" in lines[end - 1]
    assert any("Retry policy decision" in line and sentence in line for line in lines[end:])
    assert "hush-hush-secret" not in shown
    assert "ValueError" not in shown


def test_airflow_stores_only_that_a_task_has_a_policy():
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("with_policy", schedule=None) as dag:
        Failing(task_id="t", error="fatal", retry_policy=RetryByKind())
        Failing.partial(task_id="m", retry_policy=RetryByKind()).expand(error=["fatal"])
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert stored.get_task("t").has_retry_policy
    assert stored.get_task("m").has_retry_policy
