"""Brings each tenant that is not ready to that point: credential, consent, propagation."""

from collections.abc import Mapping
from datetime import datetime

from airflow.sdk import DAG, task_group

from bulkgrants_airflow.defaults import RETRIES, TENANTS
from bulkgrants_airflow.operators.credentials import RegisterCredentialOperator
from bulkgrants_airflow.operators.onboarding import (
    AnnounceReadyOperator,
    CheckManifestOperator,
    RequestConsentOperator,
    TakeUpTenantsOperator,
)
from bulkgrants_airflow.sensors.onboarding import ConsentSensor, PropagationSensor

with DAG(
    dag_id="onboard_tenants",
    doc_md="From a row in the tenants table to *ready*: see `docs/onboarding.md`.",
    schedule="0 * * * *",
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in the DAG's time zone
    catchup=False,
    max_active_runs=1000,  # some wait for weeks, and must not delay later ones
    default_args=RETRIES,
    params={"tenants": TENANTS},
    tags=["bulkgrants"],
) as dag:

    @task_group(default_args={"map_index_template": "{{ task.tenant }}"})
    def onboard(tenant: str, credential: Mapping[str, str]) -> None:
        """The steps of one tenant; no tenant waits for another."""
        register = RegisterCredentialOperator(
            task_id="register",
            credential=credential,
            map_index_template="{{ task.credential['name'] }}",
        )
        manifest = CheckManifestOperator(task_id="check_manifest", tenant=tenant)
        request = RequestConsentOperator(
            task_id="request_consent", tenant=tenant, trigger_rule="none_failed"
        )
        consent = ConsentSensor(
            task_id="await_consent", tenant=tenant, link=request.output, trigger_rule="none_failed"
        )
        propagation = PropagationSensor(task_id="await_propagation", tenant=tenant)
        ready = AnnounceReadyOperator(task_id="announce_ready", tenant=tenant)

        register >> manifest >> request >> consent >> propagation >> ready

    onboard.expand_kwargs(TakeUpTenantsOperator(task_id="take_up_tenants").output)
