"""The workspace of a task, and the operators' bases that open it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowSkipException

from bulkgrants.credentials.secrets import fingerprint_key
from bulkgrants.errors import LeaseHeld
from bulkgrants.model import Run
from bulkgrants_airflow.operators.base import AsyncRunOperator
from bulkgrants_airflow.operators.reconcile import CloseRunOperator
from bulkgrants_airflow.workspace import Workspace
from support.ledgers import lease_run, let_lapse


@pytest.fixture
def lookups(monkeypatch):
    """The connections that were looked up, in order."""
    seen = []
    look_up = BaseHook.get_connection.__func__

    def get(cls, conn_id):
        seen.append(conn_id)
        return look_up(cls, conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", classmethod(get))
    return seen


@pytest.fixture
def workspace(connect, tmp_path):
    fields = {"conn_type": "nylas", "host": "us", "password": "key-1"}
    connect("nylas_default", **fields, extra={"client_id": "app-1"})
    connect("bulkgrants_ledger", conn_type="sqlite", host=str(tmp_path / "ledger.db"))
    opened = Workspace.open()
    yield opened
    opened.ledger.dispose()


def test_a_workspace_looks_the_application_up_once_and_a_copy_of_it_again(
    workspace, lookups, connect
):
    asker = workspace.asker()
    assert (workspace.application, asker.application, asker.key) == (
        "app-1",
        "app-1",
        workspace.state_key,
    )
    assert asker.base_url == workspace.nylas.base_url == "https://api.us.nylas.com"
    assert workspace.fingerprint_key == fingerprint_key("key-1")
    workspace.patient_sender()
    assert lookups == ["nylas_default"]

    fields = {"conn_type": "nylas", "host": "us", "password": "key-2"}
    connect("nylas_default", **fields, extra={"client_id": "app-1"})
    assert workspace.nylas.api_key == "key-1"
    assert replace(workspace).nylas.api_key == "key-2"


def test_opening_a_workspace_does_not_need_the_nylas_connection(workspace, lookups):
    again = Workspace.open()
    again.ledger.dispose()
    assert lookups == ["bulkgrants_ledger"]


def test_a_run_that_was_never_opened_is_skipped_before_anything_is_looked_up(lookups):
    with pytest.raises(AirflowSkipException, match="No run was opened"):
        CloseRunOperator(task_id="close_run", run=None).execute({})
    assert lookups == []


class Waiting(AsyncRunOperator):
    """A step during which Nylas lets a call wait for longer than the lease lasts."""

    async def work(self, workspace: Workspace, run: Run) -> str:
        let_lapse(workspace.ledger)
        await asyncio.sleep(0.5)
        try:
            return lease_run(workspace.ledger, "other").key
        except LeaseHeld as error:
            return str(error)


async def test_a_step_that_waits_for_nylas_keeps_the_lease(workspace, monkeypatch):
    monkeypatch.setattr("bulkgrants.ledger.rights.KEEP_EVERY", timedelta(milliseconds=50))
    run = lease_run(workspace.ledger, "nightly")
    said = await Waiting(task_id="waiting", run=run.run_id).aexecute({})
    assert said.startswith("Run nightly of the same application is active")
