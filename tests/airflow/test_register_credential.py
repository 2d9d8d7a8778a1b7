from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime

import pytest
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.xcom import XComModel
from airflow.sdk import DAG

from bulkgrants.errors import Misconfigured
from bulkgrants_airflow.defaults import RetryByKind
from bulkgrants_airflow.operators.credentials import (
    ListCredentialsOperator,
    RegisterCredentialOperator,
)

REFERENCE = {"provider": "google", "name": "acme", "secret_conn_id": "acme_google"}
GUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"
AT_MICROSOFT = {
    "provider": "microsoft",
    "name": "umbra",
    "secret_conn_id": "azure_umbra",
    "microsoft_tenant": GUID,
}
SECRET, NEW_SECRET = "Zx8Q~of-the-first-year", "Zx8Q~of-the-second-year"
CONNECTOR_SECRET = "Zx8Q~of-the-connector"
TENANTS = (
    ("acme", "google", "acme-sa", "google_acme", "s", None, "true"),
    ("birch", "google", "acme-sa", "google_acme", "s", None, "true"),
    ("closed", "microsoft", "closed-ac", "azure_closed", None, None, "false"),
    ("umbra", "microsoft", "umbra-ac", "azure_umbra", None, GUID.upper(), "true"),
    ("vault", "microsoft", "any-ac", None, None, "common", "true"),
    ("wolf", "microsoft", "any-ac", "", None, "common", "true"),
)


def azure(connect, secret):
    fields = {"login": "app-of-umbra", "password": secret, "extra": {"tenantId": "t-1"}}
    connect("azure_umbra", conn_type="azure", **fields)


@pytest.fixture
def run(run_dag, connect, standin, nylas_default, key_file, tmp_path, monkeypatch):
    """Runs the operator in a DAG, with every connection it needs."""
    connect("google_oauth", conn_type="generic", login="id", password="oauth-secret")
    connect("acme_google", conn_type="google_cloud_platform", extra={"keyfile_dict": key_file})
    connect("bulkgrants_ledger", conn_type="sqlite", host=str(tmp_path / "ledger.db"))
    connect("azure_oauth", conn_type="azure", login="connector-app", password=CONNECTOR_SECRET)
    azure(connect, SECRET)
    monkeypatch.setenv("AIRFLOW__BULKGRANTS__GOOGLE_CONNECTOR_CONN_ID", "google_oauth")
    monkeypatch.setenv("AIRFLOW__BULKGRANTS__MICROSOFT_CONNECTOR_CONN_ID", "azure_oauth")

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
    assert "service account key in the Airflow connection 'acme_google' cannot be used" in shown
    assert "cut-off" not in shown


def test_microsofts_credentials_are_made_and_rotated_and_no_secret_is_left_anywhere(
    run, standin, connect, capfd, tmp_path
):
    from airflow.utils.session import create_session

    of_the_connector = {"provider": "microsoft", "name": "any", "secret_conn_id": ""}
    runs = [run(AT_MICROSOFT, of_the_connector)]
    azure(connect, NEW_SECRET)
    runs.append(run(AT_MICROSOFT, of_the_connector))
    with create_session() as session:
        results = [one for done in runs for one in pushed(session, done)]
        rendered = session.query(RenderedTaskInstanceFields).all()
        everything = json.dumps(results) + str([one.rendered_fields for one in rendered])
    came_to = {(one["name"], one["registration"]) for one in results}
    assert came_to == {
        ("umbra", "created"), ("umbra", "rotated"), ("any", "created"), ("any", "kept"),
    }  # fmt: skip
    assert len({one["credential_id"] for one in results}) == 2
    assert GUID in everything
    everything += "".join(capfd.readouterr()) + (tmp_path / "ledger.db").read_text("latin-1")
    for secret in (SECRET, NEW_SECRET, CONNECTOR_SECRET, standin.api_key):
        assert secret not in everything


def test_a_refusal_that_echoes_the_secret_shows_it_in_no_log(run, standin, capfd):
    echo = {"status": 403, "type": "api.forbidden", "message": f"not with {SECRET}"}
    standin.control.add_fault("error", error=echo, match={"method": "POST", "path": "/v3/*/creds"})
    (task,) = run(AT_MICROSOFT).get_task_instances()
    assert str(task.state) == "failed"
    shown = "".join(capfd.readouterr())
    assert "HTTP 403" in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    "reference",
    [
        {},
        {**REFERENCE, "provider": "yahoo"},
        {**REFERENCE, "name": ""},
        {**REFERENCE, "secret_conn_id": None},
        {**AT_MICROSOFT, "name": 7},
    ],
)
def test_a_reference_that_lacks_something_is_refused(reference):
    operator = RegisterCredentialOperator(task_id="register", credential=reference)
    with pytest.raises(Misconfigured, match="needs the provider google or microsoft, a name and"):
        operator.execute({})


def test_the_credentials_of_enabled_tenants_are_listed_once_each(run, connect, tmp_path):
    with sqlite3.connect(tmp_path / "warehouse.db") as warehouse:
        warehouse.execute(
            "CREATE TABLE tenants "
            "(tenant, provider, credential, secret_conn_id, scopes, microsoft_tenant, enabled)"
        )
        warehouse.executemany("INSERT INTO tenants VALUES (?, ?, ?, ?, ?, ?, ?)", TENANTS)
    connect("warehouse", conn_type="sqlite", host=str(tmp_path / "warehouse.db"))
    run(REFERENCE)  # brings the ledger to the current revision
    listed = ListCredentialsOperator(task_id="list").execute({})
    names = ("provider", "name", "secret_conn_id", "microsoft_tenant")
    assert listed == [
        dict(zip(names, row, strict=True))
        for row in (
            ("google", "acme-sa", "google_acme", ""),
            ("microsoft", "any-ac", "", "common"),
            ("microsoft", "umbra-ac", "azure_umbra", GUID),
        )
    ]
    assert {type(one["provider"]) for one in listed} == {str}
