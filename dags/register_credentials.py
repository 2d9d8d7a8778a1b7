"""Registers the tenants' credentials at Nylas, and rotates those whose secret has changed."""

from datetime import datetime

from airflow.sdk import DAG

from bulkgrants_airflow.defaults import RETRIES
from bulkgrants_airflow.operators.credentials import (
    ListCredentialsOperator,
    RegisterCredentialOperator,
)

with DAG(
    dag_id="register_credentials",
    doc_md="Makes, keeps or rotates credentials: see `docs/architecture.md`.",
    schedule="0 1 * * *",
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the DAG's time zone
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    tags=["bulkgrants"],
) as dag:
    wanted = ListCredentialsOperator(task_id="list_credentials")
    RegisterCredentialOperator.partial(
        task_id="register",
        map_index_template="{{ task.credential['name'] }}",
        max_active_tis_per_dagrun=4,
    ).expand(credential=wanted.output)
