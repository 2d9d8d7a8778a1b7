"""Tenants on their way to ready through Airflow's own machinery, against the stand-in."""

import json
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

REPOSITORY = Path(__file__).parents[2]
MAIL = "https://www.googleapis.com/auth/gmail.readonly"
TENANT_ID = "7b0f5a1e-55d1-4f0e-9c37-2f3a3a5d9e10"
SECRET = "azure-app-secret-value"


class Airflow:
    """One deployment with a ledger and a warehouse of its own."""

    def __init__(self, folder: Path, standin) -> None:
        self.folder = folder
        self.standin = standin
        self.ledger_file = folder / "ledger.db"
        self.warehouse = sqlite3.connect(folder / "warehouse.db")
        self.warehouse.execute(
            "CREATE TABLE tenants (tenant, provider, credential, secret_conn_id, scopes, canary,"
            " microsoft_tenant, consent_scopes, azure_manifest, enabled)"
        )
        self.warehouse.execute("CREATE TABLE roster (roster_date, tenant, email)")

    def tenant(self, name: str, provider: str = "microsoft", **cells: object) -> None:
        row = {
            "tenant": name,
            "provider": provider,
            "credential": f"{name}-credential",
            "secret_conn_id": "google_sa" if provider == "google" else "azure_app",
            "scopes": MAIL if provider == "google" else "Mail.ReadWrite User.Read.All",
            "canary": f"canary@{name}.example.com",
            **cells,
        }
        with self.warehouse:
            self.warehouse.execute(
                f"INSERT INTO tenants ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
                list(row.values()),
            )

    def roster(self, *rows: tuple[str, str]) -> None:
        today = datetime.now(UTC).date().isoformat()
        with self.warehouse:
            self.warehouse.executemany(
                "INSERT INTO roster VALUES (?, ?, ?)", [(today, *row) for row in rows]
            )

    def run(self, dag_id: str = "onboard_tenants", **kwargs):
        from airflow.dag_processing.dagbag import DagBag

        return DagBag(str(REPOSITORY / "dags")).dags[dag_id].test(**kwargs)

    def change(self, statement: str) -> None:
        """Change the ledger, as if time had passed."""
        with sqlite3.connect(self.ledger_file) as ledger:
            ledger.execute(statement)

    def ask(self, query: str) -> list[tuple]:
        with sqlite3.connect(self.ledger_file) as ledger:
            return ledger.execute(query).fetchall()

    def messages(self) -> list[dict[str, str]]:
        file = self.folder / "messages.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def receive(self, location: str):
        """What the callback does with the redirect that the admin's browser follows."""
        from bulkgrants.ledger.database import open_ledger
        from bulkgrants.onboarding.callback import receive
        from bulkgrants.onboarding.links import state_key
        from bulkgrants.ports import utc_now

        engine = open_ledger(f"sqlite:///{self.ledger_file}")
        received = receive(
            engine,
            urlsplit(location).query,
            application=self.standin.client_id,
            key=state_key(self.standin.api_key),
            now=utc_now(),
        )
        engine.dispose()
        return received

    def answer(self, message: dict[str, str], **how: object) -> str:
        """Open a consent link and answer it. Returns where the browser is sent."""
        assert httpx.get(message["link"], follow_redirects=True).status_code == httpx.codes.OK
        return self.standin.control.answer_consent(**how)


class Admin(threading.Thread):
    """Answers each link that a message brings, as `answers` says, one after the other.

    An answer of None leaves the link alone.
    """

    def __init__(self, airflow: Airflow, *answers: dict[str, object] | None) -> None:
        super().__init__(daemon=True)
        self.airflow = airflow
        self.answers = answers

    def run(self) -> None:
        for number, how in enumerate(self.answers):
            while len(self.airflow.messages()) <= number:
                time.sleep(0.1)
            if how is not None:
                self.airflow.receive(self.airflow.answer(self.airflow.messages()[number], **how))


@pytest.fixture
def airflow(tmp_path, connect, nylas_default, key_file, monkeypatch, standin) -> Airflow:
    made = Airflow(tmp_path, standin)
    connect("warehouse", conn_type="sqlite", host=str(tmp_path / "warehouse.db"))
    connect("bulkgrants_ledger", conn_type="sqlite", host=str(made.ledger_file))
    connect(
        "google_sa", conn_type="google_cloud_platform", extra={"keyfile_dict": json.dumps(key_file)}
    )
    connect("google_oauth", conn_type="generic", login="client", password="client-secret")
    connect("azure_app", conn_type="azure", login="azure-client", password=SECRET)
    notifier = {
        "class": "support.messengers.FileNotifier",
        "kwargs": {"path": str(tmp_path / "messages.jsonl")},
    }
    for option, value in {
        "GOOGLE_CONNECTOR_CONN_ID": "google_oauth",
        "MICROSOFT_CONNECTOR_CONN_ID": "azure_app",
        "CONSENT_NOTIFIER": json.dumps(notifier),
        "CONSENT_REDIRECT_URI": "http://localhost:8080/bulkgrants/consent",
        "CONSENT_GIVE_UP_DAYS": "0.001",  # a test that goes wrong ends within two minutes
        "PROPAGATION_FLOOR_SECONDS": "1",
        "MANIFESTS_FOLDER": str(tmp_path),
    }.items():
        monkeypatch.setenv(f"AIRFLOW__BULKGRANTS__{option}", value)
    standin.control.set_redirect_uris("http://localhost:8080/bulkgrants/consent")
    standin.control.set_propagation(delay=0)
    return made


def states(run) -> dict[tuple[str, int], str]:
    return {
        (task.task_id.removeprefix("onboard."), task.map_index): str(task.state)
        for task in run.get_task_instances()
    }


YES = {"approve": True, "tenant": TENANT_ID}
NO = {"approve": False}


def asset_events(run) -> list[tuple[str, dict[str, str]]]:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return [
            (name, extra)
            for name, extra in session.execute(
                select(AssetModel.name, AssetEvent.extra)
                .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
                .where(AssetEvent.source_run_id == run.run_id)
            )
        ]


def link_on(run, task_id: str) -> str:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        value = session.scalar(
            select(XComModel.value).where(
                XComModel.run_id == run.run_id,
                XComModel.task_id == f"onboard.{task_id}",
                XComModel.key == "_link_ConsentLink",
            )
        )
    return json.loads(value) if isinstance(value, str) and value.startswith('"') else value


def test_a_microsoft_tenant_from_a_row_to_ready_and_an_event_to_start_a_reconcile(airflow):
    airflow.tenant("contoso", microsoft_tenant=TENANT_ID)
    airflow.roster(("contoso", "ada@contoso.example.com"))
    Admin(airflow, YES).start()
    run = airflow.run()
    assert states(run) == {
        ("take_up_tenants", -1): "success",
        ("register", 0): "success",
        ("check_manifest", 0): "skipped",
        ("request_consent", 0): "success",
        ("await_consent", 0): "success",
        ("await_propagation", 0): "success",
        ("announce_ready", 0): "success",
    }
    assert airflow.ask(
        "SELECT awaiting, stopped, claimed_by, ready_at IS NOT NULL FROM tenants"
    ) == [(None, "", None, 1)]
    assert airflow.ask("SELECT tenant, status, microsoft_tenant FROM consents") == [
        ("contoso", "given", TENANT_ID)
    ]
    assert airflow.ask("SELECT email, outcome, missing FROM probes")[-1] == (
        "canary@contoso.example.com",
        "granted",
        "",
    )
    assert asset_events(run) == [("bulkgrants_tenant_ready", {"tenant": "contoso"})]
    (message,) = airflow.messages()
    assert message["message"] == "contoso False"
    assert message["link"].startswith(f"{airflow.standin.base_url}/v3/connect/auth?")
    assert link_on(run, "request_consent") == message["link"]
    assert link_on(run, "await_consent") == message["link"]


def test_a_tenant_that_only_the_connection_names_is_asked_as_that_one(airflow, connect):
    extra = {"tenantId": TENANT_ID.upper()}
    connect("azure_app", conn_type="azure", login="azure-client", password=SECRET, extra=extra)
    airflow.tenant("contoso")
    Admin(airflow, YES).start()
    run = airflow.run()
    assert run.state == "success", states(run)
    assert airflow.ask("SELECT microsoft_tenant FROM consents") == [(TENANT_ID,)]
    assert "scope=https%3A%2F%2Fgraph.microsoft.com%2F.default" in airflow.messages()[0]["link"]


def test_a_google_tenant_needs_no_admin(airflow):
    airflow.tenant("acme", provider="google")
    run = airflow.run()
    assert run.state == "success", states(run)
    assert states(run)["request_consent", 0] == "skipped"
    assert states(run)["await_consent", 0] == "success"
    assert airflow.ask("SELECT awaiting, ready_at IS NOT NULL FROM tenants") == [(None, 1)]
    assert airflow.ask("SELECT * FROM consents") == []
    assert airflow.messages() == []
    assert asset_events(run) == [("bulkgrants_tenant_ready", {"tenant": "acme"})]


ODD = "{{ 7 * 7 }} {% raw %} {{ conn.nylas_default.password }} %s %(name)s <b> | `a` \\n"


def test_a_tenants_name_is_a_name_to_airflow_whatever_is_in_it(airflow, capfd):
    """Neither a template nor a format nor markup, though it goes through XComs and a trigger."""
    cells = {"canary": "canary@odd.example.com", "microsoft_tenant": TENANT_ID}
    airflow.tenant(ODD, credential="{{ 6 * 7 }} %d", **cells)
    Admin(airflow, YES).start()
    run = airflow.run()
    shown = "".join(capfd.readouterr())
    assert run.state == "success", states(run)
    assert airflow.ask("SELECT tenant, awaiting FROM tenants") == [(ODD, None)]
    assert airflow.ask("SELECT name FROM credentials WHERE provider = 'microsoft'") == [
        ("{{ 6 * 7 }} %d",)
    ]
    assert asset_events(run) == [("bulkgrants_tenant_ready", {"tenant": ODD})]
    assert "49" not in {part for line in shown.splitlines() for part in line.split("'")}
    assert "Logging error" not in shown
    assert "Traceback" not in shown


def test_a_refusal_ends_the_run_and_a_person_may_ask_again(airflow, capfd):
    airflow.tenant("contoso", microsoft_tenant=TENANT_ID)
    Admin(airflow, NO, YES).start()
    refused = airflow.run()
    shown = "".join(capfd.readouterr())
    assert refused.state == "failed"
    assert states(refused)["await_consent", 0] == "failed"
    assert states(refused)["announce_ready", 0] == "upstream_failed"
    assert airflow.ask("SELECT stopped, claimed_by, awaiting FROM tenants") == [
        ("refused", None, "consent")
    ]
    assert "The consent of the tenant contoso was refused." in shown
    assert (
        "A new link is made if you trigger onboard_tenants with `tenants` set to contoso" in shown
    )
    assert "access_denied" in shown
    assert asset_events(refused) == []

    later = airflow.run()
    assert later.state == "success", states(later)
    assert states(later)["take_up_tenants", -1] == "success"
    assert len(airflow.messages()) == 1

    again = airflow.run(run_conf={"tenants": ["contoso"]})
    assert again.state == "success", states(again)
    assert airflow.ask("SELECT status FROM consents ORDER BY id") == [("refused",), ("given",)]
    assert airflow.ask("SELECT stopped, awaiting FROM tenants") == [("", None)]
    assert [one["message"] for one in airflow.messages()] == ["contoso False", "contoso False"]
    assert asset_events(again) == [("bulkgrants_tenant_ready", {"tenant": "contoso"})]


def manifest(airflow: Airflow) -> dict:
    """The sample, for an app whose callback is the stand-in's."""
    found = json.loads((REPOSITORY / "include/samples/azure-manifest.json").read_text())
    found["web"]["redirectUris"] = [f"{airflow.standin.base_url}/v3/connect/callback"]
    return found


def test_a_bad_manifest_ends_the_task_before_any_admin_is_asked(airflow, tmp_path, capfd):
    bad = manifest(airflow)
    bad["signInAudience"] = "AzureADMyOrg"
    bad["web"]["redirectUris"] = []
    (tmp_path / "app.json").write_text(json.dumps(bad))
    airflow.tenant("contoso", microsoft_tenant=TENANT_ID, azure_manifest="app.json")
    run = airflow.run()
    shown = "".join(capfd.readouterr())
    assert run.state == "failed"
    assert states(run)["check_manifest", 0] == "failed"
    assert states(run)["request_consent", 0] == "upstream_failed"
    assert "The Azure app of the tenant contoso is not ready for consent: " in shown
    assert "no customer's admin can consent to it" in shown
    assert "/v3/connect/callback" in shown
    assert airflow.ask("SELECT * FROM consents") == []
    assert airflow.messages() == []


def test_a_manifest_in_order_lets_the_tenant_pass(airflow, tmp_path):
    (tmp_path / "app.json").write_text(json.dumps(manifest(airflow)))
    airflow.tenant("contoso", microsoft_tenant=TENANT_ID, azure_manifest="app.json")
    Admin(airflow, YES).start()
    run = airflow.run()
    assert run.state == "success", states(run)
    assert states(run)["check_manifest", 0] == "success"
    assert airflow.ask("SELECT azure_manifest, awaiting FROM tenants") == [("app.json", None)]


def test_an_expired_link_is_replaced_while_the_task_waits(airflow, monkeypatch):
    monkeypatch.setenv("AIRFLOW__BULKGRANTS__CONSENT_LINK_DAYS", str(8 / 86400))
    airflow.tenant("contoso", microsoft_tenant=TENANT_ID)
    Admin(airflow, None, YES).start()
    run = airflow.run()
    assert run.state == "success", states(run)
    first, second = airflow.messages()
    assert (first["message"], second["message"]) == ("contoso False", "contoso True")
    assert first["link"] != second["link"]
    assert airflow.ask("SELECT status FROM consents ORDER BY id") == [("expired",), ("given",)]
    assert link_on(run, "request_consent") == first["link"]
    # `dag.test` drops what a deferral keeps, so this test cannot see which link the sensor shows.


@pytest.fixture
def unanswered(airflow, monkeypatch) -> Airflow:
    """A tenant whose admin was asked, and did not answer until the run gave up."""
    monkeypatch.setenv("AIRFLOW__BULKGRANTS__CONSENT_GIVE_UP_DAYS", str(1 / 86400))
    airflow.tenant("contoso", microsoft_tenant=TENANT_ID)
    run = airflow.run()
    assert states(run)["await_consent", 0] == "failed"
    assert airflow.ask("SELECT stopped FROM tenants") == [("expired",)]
    monkeypatch.setenv("AIRFLOW__BULKGRANTS__CONSENT_GIVE_UP_DAYS", "60")
    airflow.change("UPDATE tenants SET stopped = ''")
    return airflow


def test_a_reminder_is_a_new_link_and_the_older_one_stays_valid(unanswered):
    unanswered.change(
        "UPDATE tenants SET awaiting_since = datetime(awaiting_since, '-4 days') || '.000000'"
    )
    unanswered.change(
        "UPDATE consents SET requested_at = datetime(requested_at, '-3 days') || '.000000'"
    )
    link = unanswered.messages()[0]
    threading.Thread(target=answer_old_link, args=(unanswered, link), daemon=True).start()
    run = unanswered.run()
    assert run.state == "success", states(run)
    assert [one["message"] for one in unanswered.messages()] == ["contoso False", "contoso True"]
    assert unanswered.ask("SELECT status FROM consents ORDER BY id")[0] == ("given",)
    assert unanswered.ask("SELECT awaiting FROM tenants") == [(None,)]


def answer_old_link(airflow: Airflow, link: dict[str, str]) -> None:
    while len(airflow.messages()) < 2:
        time.sleep(0.1)
    airflow.receive(airflow.answer(link, **YES))


def sensor_context() -> dict[str, object]:
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag(str(REPOSITORY / "dags")).dags["onboard_tenants"]
    return {"dag": dag, "run_id": "by-hand"}


def test_the_time_that_a_task_is_allowed_bounds_its_waits_together(unanswered):
    from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferred

    from bulkgrants_airflow.sensors.onboarding import ConsentSensor

    hour = timedelta(hours=1)
    made = {"task_id": "wait", "tenant": "contoso", "execution_timeout": hour}
    with pytest.raises(TaskDeferred) as first:
        ConsentSensor(link="https://link.example", **made).execute(sensor_context())
    assert hour - timedelta(seconds=20) < first.value.timeout <= hour
    kept = first.value.kwargs
    assert kept["link"] == "https://link.example"

    kept["ends_at"] = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    with pytest.raises(TaskDeferred) as second:
        ConsentSensor(**made).resume(sensor_context(), event={"woken": "due"}, **kept)
    assert second.value.timeout <= timedelta(minutes=5)
    assert second.value.kwargs == kept

    kept["ends_at"] = datetime.now(UTC).isoformat()
    with pytest.raises(AirflowSensorTimeout, match="ended at"):
        ConsentSensor(**made).resume(sensor_context(), event={"woken": "due"}, **kept)


RUN = """
import sys
from airflow.dag_processing.dagbag import DagBag
run = DagBag(sys.argv[1]).dags["onboard_tenants"].test()
print("ENDED", run.state, [task.map_index for task in run.get_task_instances()])
"""


def test_a_run_does_not_take_up_a_tenant_that_another_run_waits_for(airflow):
    airflow.tenant("contoso", microsoft_tenant=TENANT_ID)
    second = []

    def meanwhile() -> None:
        while not airflow.messages():
            time.sleep(0.1)
        command = [sys.executable, "-W", "ignore", "-c", RUN, str(REPOSITORY / "dags")]
        second.append(subprocess.run(command, capture_output=True, text=True, check=False))
        airflow.receive(airflow.answer(airflow.messages()[0], **YES))

    threading.Thread(target=meanwhile, daemon=True).start()
    run = airflow.run()
    assert run.state == "success", states(run)
    assert "ENDED success" in second[0].stdout, second[0].stderr[-2000:]
    assert "0" not in second[0].stdout.rpartition("ENDED")[2], "it took up the tenant"
    assert len(airflow.messages()) == 1
    assert airflow.ask("SELECT status FROM consents") == [("given",)]
    assert airflow.ask("SELECT awaiting FROM tenants") == [(None,)]
