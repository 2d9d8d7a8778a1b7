from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.xcom import XComModel
from airflow.sdk import DAG

from bulkgrants.errors import Misconfigured
from bulkgrants_airflow.operators.register_credential import RegisterCredentialOperator
from bulkgrants_airflow.retries import RetryByKind

REFERENCE = {"provider": "google", "name": "acme", "secret_conn_id": "acme_google"}


@pytest.fixture
def run(run_dag, connect, standin, nylas_default, key_file, tmp_path, monkeypatch):
    """Runs the operator in a DAG, with every connection it needs."""
    connect("google_oauth", conn_type="generic", login="id", password="oauth-secret")
    connect("acme_google", conn_type="google_cloud_platform", extra={"keyfile_dict": key_file})
    connect("bulkgrants_ledger", conn_type="sqlite", host=str(tmp_path / "ledger.db"))
    monkeypatch.setenv("AIRFLOW__BULKGRANTS__GOOGLE_CONNECTOR_CONN_ID", "google_oauth")

    def call(*references):
        with DAG("registering", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
            RegisterCredentialOperator.partial(
                task_id="register", retries=2, retry_policy=RetryByKind()
            ).expand(credential=list(references))
        return run_dag(dag)

    return call


def pushed(session, run):
    rows = session.query(XComModel).filter_by(run_id=run.run_id, key="return_value").all()
    return [XComModel.deserialize_value(row) for row in rows]


def test_a_credential_is_registered_and_only_ids_are_pushed(run, standin, key_file, capfd):
    from airflow.utils.session import create_session

    first, second = run(REFERENCE), run(REFERENCE)
    with create_session() as session:
        results = pushed(session, first) + pushed(session, second)
        assert [one["registration"] for one in results] == ["created", "kept"]
        assert {one["credential_id"] for one in results} == {results[0]["credential_id"]}
        assert set(results[0]) == {"provider", "name", "credential_id", "registration"}
        rendered = session.query(RenderedTaskInstanceFields).all()
        assert rendered
        everything = json.dumps(results) + str([one.rendered_fields for one in rendered])
    everything += "".join(capfd.readouterr())
    for line in key_file["private_key"].splitlines():
        assert line not in everything
    assert "oauth-secret" not in everything
    assert standin.api_key not in everything


def test_a_bad_key_fails_at_once_with_a_sentence(run, connect, capfd):
    connect("acme_google", conn_type="google_cloud_platform", extra={"keyfile_dict": "{cut-off"})
    done = run(REFERENCE)
    (task,) = done.get_task_instances()
    assert (str(task.state), task.try_number) == ("failed", 1)
    shown = "".join(capfd.readouterr())
    assert "The Airflow connection 'acme_google' holds no usable Google service account" in shown
    assert "cut-off" not in shown


@pytest.mark.parametrize(
    "reference",
    [
        {},
        {**REFERENCE, "provider": "microsoft"},
        {**REFERENCE, "name": ""},
        {**REFERENCE, "secret_conn_id": None},
    ],
)
def test_a_reference_that_lacks_something_is_refused(reference):
    operator = RegisterCredentialOperator(task_id="register", credential=reference)
    with pytest.raises(Misconfigured, match="needs the provider 'google', a name and a secret"):
        operator.execute({})
