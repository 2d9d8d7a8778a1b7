"""Makes the grants equal to the roster: every night, or when a person triggers it."""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param

from bulkgrants_airflow.defaults import MAILBOX, RETRIES, TENANTS, VANISHED
from bulkgrants_airflow.operators.reconcile import (
    ApplyBatchOperator,
    CloseRunOperator,
    ObserveGrantsOperator,
    PlanChangesOperator,
    ReadRosterOperator,
    VerifyChangesOperator,
)
from bulkgrants_airflow.sensors.reconcile import RunOpeningSensor

with DAG(
    dag_id="reconcile_grants",
    doc_md="Roster in, grants out: see `docs/life-of-a-row.md`.",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the DAG's time zone
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    params={
        "tenants": TENANTS,
        "mailbox": MAILBOX,
        "dry_run": Param(
            default=False,
            type="boolean",
            title="Dry run",
            description="Plan and report as usual, and apply nothing.",
        ),
        "vanished_grants": VANISHED,
    },
    tags=["bulkgrants"],
) as dag:
    run = RunOpeningSensor(
        task_id="open_run",
        kind="reconcile",
        poke_interval=timedelta(minutes=1),
        timeout=timedelta(hours=12),
    )
    read = ReadRosterOperator(task_id="read_roster", run=run.output)
    observe = ObserveGrantsOperator(
        task_id="observe_grants", run=run.output, may_vanish="{{ params.vanished_grants or 0 }}"
    )
    plan = PlanChangesOperator(task_id="plan", run=run.output)
    apply = ApplyBatchOperator.partial(
        task_id="apply",
        map_index_template="batch {{ task.batch['batch'] }} of {{ task.batch['of'] }}",
        max_active_tis_per_dagrun=4,
    ).expand(batch=plan.output)
    verify = VerifyChangesOperator(task_id="verify", run=run.output, trigger_rule="all_done")
    complete = EmptyOperator(task_id="complete", trigger_rule="none_failed")
    close = CloseRunOperator(task_id="close_run", run=run.output)

    run >> read >> observe >> plan >> apply >> verify >> close.as_teardown()
    [apply, verify] >> complete >> close
