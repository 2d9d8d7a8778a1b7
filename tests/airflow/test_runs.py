"""Whole DAG runs through Airflow's own machinery, against the stand-in and a real warehouse."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

REPOSITORY = Path(__file__).parents[2]
MAIL = "https://www.googleapis.com/auth/gmail.readonly"
TODAY = datetime.now(UTC).date()


class Airflow:
    """One deployment: a warehouse, a ledger of its own, and DAGs to run."""

    def __init__(self, folder: Path) -> None:
        self.warehouse = sqlite3.connect(folder / "warehouse.db")
        self.ledger_file = folder / "ledger.db"
        self.warehouse.execute(
            "CREATE TABLE tenants (tenant, provider, credential, secret_conn_id, scopes)"
        )
        self.warehouse.execute("CREATE TABLE roster (roster_date, tenant, email, scopes)")
        self.tenant("acme")

    def tenant(self, name: str, provider: str = "google") -> None:
        own = ("google_sa", MAIL) if provider == "google" else (None, None)
        row = (name, provider, f"{name}-sa", *own)
        with self.warehouse:
            self.warehouse.execute("INSERT INTO tenants VALUES (?, ?, ?, ?, ?)", row)

    def roster(self, *rows: tuple, day=TODAY) -> None:
        with self.warehouse:
            self.warehouse.executemany(
                "INSERT INTO roster VALUES (?, ?, ?, ?)",
                [(day.isoformat(), *row, *[None] * (3 - len(row))) for row in rows],
            )

    def run(self, dag_id: str, **kwargs):
        from airflow.dag_processing.dagbag import DagBag

        return DagBag(str(REPOSITORY / "dags")).dags[dag_id].test(**kwargs)

    def ask(self, query: str) -> list[tuple]:
        return sqlite3.connect(self.ledger_file).execute(query).fetchall()


@pytest.fixture
def airflow(tmp_path, connect, nylas_default, key_file, monkeypatch, standin) -> Airflow:
    made = Airflow(tmp_path)
    connect("warehouse", conn_type="sqlite", host=str(tmp_path / "warehouse.db"))
    connect("bulkgrants_ledger", conn_type="sqlite", host=str(made.ledger_file))
    extra = {"keyfile_dict": json.dumps(key_file)}
    connect("google_sa", conn_type="google_cloud_platform", extra=extra)
    connect("google_oauth", conn_type="generic", login="client", password="client-secret")
    connect("azure_oauth", conn_type="azure", login="client", password="azure-secret")
    monkeypatch.setenv("AIRFLOW__BULKGRANTS__GOOGLE_CONNECTOR_CONN_ID", "google_oauth")
    monkeypatch.setenv("AIRFLOW__BULKGRANTS__MICROSOFT_CONNECTOR_CONN_ID", "azure_oauth")
    monkeypatch.setenv("AIRFLOW__BULKGRANTS__BATCH_SIZE", "2")
    return made


def states(run) -> dict[str, str]:
    found = {}
    for task in run.get_task_instances():
        found[task.task_id] = str(task.state)
    return found


def writes(standin) -> dict[str, int]:
    """How often each route was called that changes something at Nylas."""
    routes = standin.control.requests_by_route()
    return {route: calls for route, calls in routes.items() if not route.startswith("GET ")}


def last_report(airflow: Airflow) -> str:
    return airflow.ask("SELECT report FROM runs ORDER BY id DESC LIMIT 1")[0][0]


def test_from_a_roster_table_to_grants_and_then_nothing_left_to_do(airflow, standin):
    airflow.roster(*(("acme", f"user{number}@acme.example.com") for number in range(5)))
    assert airflow.run("register_credentials").state == "success"
    run = airflow.run("reconcile_grants")
    assert run.state == "success"
    labels = {task.rendered_map_index for task in run.get_task_instances(state=None)}
    assert {"batch 1 of 3", "batch 2 of 3", "batch 3 of 3"} <= labels
    assert airflow.ask("SELECT outcome, verified, count(*) FROM changes GROUP BY 1, 2") == [
        ("granted", "verified", 5)
    ]
    again = airflow.run("reconcile_grants")
    assert states(again)["apply"] == "skipped"
    assert states(again)["close_run"] == "success"
    assert "0 changes planned, 0 made; 5 mailboxes were as they should be" in last_report(airflow)
    assert standin.control.stats()["custom"]["requests"] == 5


def test_every_kind_of_bad_row_is_rejected_with_a_reason_and_the_good_ones_are_granted(airflow):
    airflow.tenant("umbrella")
    airflow.roster(
        ("acme", "good@acme.example.com"),
        ("acme", "own-scopes@acme.example.com", "https://www.googleapis.com/auth/calendar"),
        ("acme", " GÜNTER@bücher.example.com "),
        ("acme", "no-at-sign"),
        ("acme", ""),
        ("acme", None),
        ("", "tenantless@acme.example.com"),
        ("nobody", "stranger@acme.example.com"),
        ("acme", "GOOD@acme.example.com"),
        ("acme", "torn@acme.example.com"),
        ("umbrella", "torn@acme.example.com"),
        ("acme", "someone@outlook.com"),
        ("acme", 42),
    )
    airflow.run("register_credentials")
    assert airflow.run("reconcile_grants").state == "success"
    granted = {email for (email,) in airflow.ask("SELECT email FROM grants WHERE owned")}
    assert granted == {
        "good@acme.example.com",
        "own-scopes@acme.example.com",
        "günter@xn--bcher-kva.example.com",
    }
    rejects = airflow.ask("SELECT row_number, reason, sentence FROM rejects ORDER BY row_number")
    assert [number for number, *_ in rejects] == [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
    assert all(len(sentence) > 20 and sentence.endswith(".") for *_, sentence in rejects)
    (entries, rejected), *_ = airflow.ask("SELECT entries, rejected FROM runs WHERE entries > 0")
    assert entries + rejected == 13


def test_a_dry_run_for_one_tenant_is_chosen_in_the_form(airflow, standin):
    airflow.tenant("umbrella")
    airflow.roster(("acme", "a@acme.example.com"), ("umbrella", "u@umbrella.example.com"))
    airflow.run("register_credentials")
    airflow.run("reconcile_grants", run_conf={"tenants": ["umbrella"], "dry_run": True})
    assert airflow.ask("SELECT kind, email FROM changes") == [("create", "u@umbrella.example.com")]
    assert standin.control.stats()["custom"]["requests"] == 0
    airflow.run("reconcile_grants", run_conf={"mailbox": " A@acme.example.com"})
    assert airflow.ask("SELECT email FROM grants WHERE owned") == [("a@acme.example.com",)]


def test_the_audit_plans_the_same_and_applies_nothing(airflow, standin):
    airflow.roster(("acme", "a@acme.example.com"))
    airflow.run("register_credentials")
    assert airflow.run("audit_grants").state == "success"
    assert airflow.ask("SELECT kind, state FROM changes") == [("create", "planned")]
    assert standin.control.stats()["custom"]["requests"] == 0
    assert "1 changes planned, none applied: this was an audit" in last_report(airflow)


def test_an_old_roster_writes_nothing_and_says_so(airflow, standin):
    yesterday = TODAY - timedelta(days=1)
    airflow.roster(("acme", "old@acme.example.com"), day=yesterday)
    airflow.roster(("acme", "new@acme.example.com"))
    airflow.run("register_credentials")
    midnight = datetime(yesterday.year, yesterday.month, yesterday.day, 2, tzinfo=UTC)
    run = airflow.run("reconcile_grants", logical_date=midnight)
    assert run.state == "success"
    assert states(run)["plan"] == "skipped"
    assert standin.control.stats()["custom"]["requests"] == 0
    assert (
        f"Nothing was written to Nylas. This run is for {yesterday}, but the newest roster is "
        f"{TODAY}." in last_report(airflow)
    )


def test_rows_without_a_readable_date_are_rejects_and_their_grants_stay(airflow):
    airflow.roster(("acme", "a@acme.example.com"), ("acme", "b@acme.example.com"))
    airflow.run("register_credentials")
    assert airflow.run("reconcile_grants").state == "success"
    with airflow.warehouse:
        airflow.warehouse.execute("UPDATE roster SET roster_date = '1 Mar' WHERE email LIKE 'b%'")
    assert airflow.run("reconcile_grants").state == "success"
    assert airflow.ask("SELECT mailbox, reason FROM rejects") == [
        ("b@acme.example.com", "unreadable_date")
    ]
    assert airflow.ask("SELECT email, reason FROM skips") == [
        ("b@acme.example.com", "roster_row_rejected")
    ]
    assert "1 Mar" in last_report(airflow)


def test_one_row_of_the_far_future_is_an_error_not_a_green_run_that_does_nothing(
    airflow, standin, capfd
):
    airflow.roster(("acme", "a@acme.example.com"))
    airflow.roster(("acme", "typo@acme.example.com"), day=TODAY.replace(year=2062, day=1))
    airflow.run("register_credentials")
    assert airflow.run("reconcile_grants").state == "failed"
    assert "typo@acme.example.com" in "".join(capfd.readouterr())
    assert standin.control.stats()["custom"]["requests"] == 0


@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_a_run_of_a_current_table_that_opens_after_midnight_is_not_old(airflow, run_type):
    """It was due late in the evening, and then waited for another run."""
    from airflow.dag_processing.dagbag import DagBag

    with airflow.warehouse:
        airflow.warehouse.execute("ALTER TABLE roster DROP COLUMN roster_date")
    dag = DagBag(str(REPOSITORY / "dags")).dags["reconcile_grants"]
    for hours, mode in ((25, "audit"), (23, "apply")):
        due = datetime.now(UTC) - timedelta(hours=hours)
        dag_run = SimpleNamespace(run_type=run_type, run_after=due)
        context = {"dag": dag, "dag_run": dag_run, "run_id": mode, "logical_date": due}
        dag.task_dict["open_run"].poke({**context, "params": {}})
        assert airflow.ask("SELECT mode FROM runs ORDER BY id DESC LIMIT 1") == [(mode,)]
        with sqlite3.connect(airflow.ledger_file) as ledger:
            ledger.execute("UPDATE leases SET expires_at = '2000-01-01 00:00:00.000000'")


def test_microsoft_tenants_wait_for_consent_and_delay_no_other(airflow):
    airflow.tenant("contoso", provider="microsoft")
    airflow.roster(("acme", "a@acme.example.com"), ("contoso", "m@contoso.example.com"))
    assert airflow.run("register_credentials").state == "success"
    kinds = "SELECT provider, credential_type FROM credentials ORDER BY provider"
    assert airflow.ask(kinds) == [("google", "serviceaccount"), ("microsoft", "adminconsent")]
    assert airflow.run("reconcile_grants").state == "success"
    assert airflow.ask("SELECT email, fate, reason FROM fates ORDER BY email") == [
        ("a@acme.example.com", "granted", ""),
        ("m@contoso.example.com", "skipped", "awaiting_consent"),
    ]


def test_what_was_made_is_verified_and_the_run_is_red_if_a_mailbox_is_never_served(
    airflow, standin, monkeypatch
):
    from airflow.dag_processing.dagbag import DagBag

    airflow.roster(*(("acme", f"user{number}@acme.example.com") for number in range(3)))
    airflow.run("register_credentials")
    only = {"path": "/v3/connect/custom", "email": "user0@*"}
    standin.control.add_fault("server_error", status=504, retry_after=0, match=only)
    dag = DagBag(str(REPOSITORY / "dags")).dags["reconcile_grants"]
    monkeypatch.setattr(dag.task_dict["apply"], "retries", 0)  # dag.test() would really wait
    run = dag.test()
    assert run.state == "failed"
    found = states(run)
    assert (found["verify"], found["complete"]) == ("success", "upstream_failed")
    assert found["close_run"] == "success"
    assert airflow.ask("SELECT outcome, verified, count(*) FROM changes GROUP BY 1, 2") == [
        (None, None, 1),
        ("granted", "verified", 2),
    ]
    assert "2 made, 1 open" in last_report(airflow)


def wrong_key(connect, standin, _airflow):
    extra = {"client_id": standin.client_id}
    connect("nylas_default", conn_type="nylas", host=standin.base_url, password="no", extra=extra)


def wrong_application(connect, standin, _airflow):
    connect(
        "nylas_default", conn_type="nylas", host=standin.base_url, password=standin.api_key,
        extra={"client_id": "another-application"},
    )  # fmt: skip


def unreadable_key(connect, _standin, _airflow):
    connect("google_sa", conn_type="google_cloud_platform", extra={"keyfile_dict": '{"type": "x'})


def no_roster(_connect, _standin, airflow):
    airflow.warehouse.execute("DROP TABLE roster")


@pytest.mark.parametrize(
    ("breakage", "dag_id", "words"),
    [
        (wrong_key, "register_credentials", ["API key", "nylas_default"]),
        (wrong_key, "reconcile_grants", ["API key", "nylas_default"]),
        (wrong_application, "register_credentials", ["nylas_default", "another-application"]),
        (wrong_application, "reconcile_grants", ["nylas_default", "another-application"]),
        (wrong_application, "audit_grants", ["nylas_default", "another-application"]),
        (wrong_application, "onboard_tenants", ["nylas_default", "another-application"]),
        (unreadable_key, "register_credentials", ["google_sa", "keyfile_dict"]),
        (no_roster, "reconcile_grants", ["roster"]),
    ],
)
def test_what_a_person_must_fix_is_one_clear_sentence(
    breakage, dag_id, words, airflow, connect, standin, capfd, monkeypatch, key_file
):
    from airflow.dag_processing.dagbag import DagBag

    airflow.roster(("acme", "a@acme.example.com"))
    if dag_id != "register_credentials":
        airflow.run("register_credentials")
    before = writes(standin)
    breakage(connect, standin, airflow)
    dag = DagBag(str(REPOSITORY / "dags")).dags[dag_id]
    for task in dag.tasks:
        monkeypatch.setattr(task, "retries", 0)  # dag.test() would really wait between them
    capfd.readouterr()
    assert dag.test().state == "failed"
    printed = "".join(capfd.readouterr())
    errors = [line for line in printed.splitlines() if line.startswith("bulkgrants.errors.")]
    assert len(errors) == 1, printed
    assert all(word in errors[0] for word in words), errors
    assert key_file["private_key"][40:80] not in printed
    assert writes(standin) == before
    assert airflow.ask("SELECT run_id FROM leases WHERE run_id IS NOT NULL") == []
