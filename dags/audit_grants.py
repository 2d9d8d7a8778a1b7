"""Plans what would make the grants equal to the roster, and reports it. It never applies a plan."""

from datetime import datetime, timedelta

from airflow.sdk import DAG

from bulkgrants_airflow.defaults import MAILBOX, RETRIES, TENANTS
from bulkgrants_airflow.operators.reconcile import (
    CloseRunOperator,
    ObserveGrantsOperator,
    PlanChangesOperator,
    ReadRosterOperator,
)
from bulkgrants_airflow.sensors.reconcile import RunOpeningSensor

with DAG(
    dag_id="audit_grants",
    doc_md="The plan of `reconcile_grants`, never applied: see `docs/life-of-a-row.md`.",
    schedule="0 12 * * *",
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the DAG's time zone
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    params={"tenants": TENANTS, "mailbox": MAILBOX},
    tags=["bulkgrants"],
) as dag:
    run = RunOpeningSensor(
        task_id="open_run",
        kind="audit",
        poke_interval=timedelta(minutes=1),
        timeout=timedelta(hours=12),
    )
    read = ReadRosterOperator(task_id="read_roster", run=run.output)
    observe = ObserveGrantsOperator(task_id="observe_grants", run=run.output)
    plan = PlanChangesOperator(task_id="plan", run=run.output)
    close = CloseRunOperator(task_id="close_run", run=run.output)

    run >> read >> observe >> plan >> close.as_teardown()
