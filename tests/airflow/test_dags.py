"""The DAG files hold the right tasks in the right order, and are cheap to parse."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bag():
    from airflow.dag_processing.dagbag import DagBag

    loaded = DagBag(str(REPOSITORY / "dags"))
    assert loaded.import_errors == {}
    return loaded


def test_there_are_exactly_these_dags(bag):
    assert set(bag.dags) == {
        "register_credentials",
        "onboard_tenants",
        "reconcile_grants",
        "audit_grants",
    }


@pytest.mark.parametrize(
    ("dag_id", "graph"),
    [
        (
            "reconcile_grants",
            {
                "open_run": {
                    "read_roster",
                    "observe_grants",
                    "plan",
                    "verify",
                    "close_run",
                },
                "read_roster": {"observe_grants"},
                "observe_grants": {"plan"},
                "plan": {"apply"},
                "apply": {"verify", "complete"},
                "verify": {"complete", "close_run"},
                "complete": {"close_run"},
                "close_run": set(),
            },
        ),
        (
            "audit_grants",
            {
                "open_run": {"read_roster", "observe_grants", "plan", "close_run"},
                "read_roster": {"observe_grants"},
                "observe_grants": {"plan"},
                "plan": {"close_run"},
                "close_run": set(),
            },
        ),
        ("register_credentials", {"list_credentials": {"register"}, "register": set()}),
        (
            "onboard_tenants",
            {
                "take_up_tenants": {
                    f"onboard.{name}"
                    for name in (
                        "register",
                        "check_manifest",
                        "request_consent",
                        "await_consent",
                        "await_propagation",
                        "announce_ready",
                    )
                },
                "onboard.register": {"onboard.check_manifest"},
                "onboard.check_manifest": {"onboard.request_consent"},
                "onboard.request_consent": {"onboard.await_consent"},
                "onboard.await_consent": {"onboard.await_propagation"},
                "onboard.await_propagation": {"onboard.announce_ready"},
                "onboard.announce_ready": set(),
            },
        ),
    ],
)
def test_each_dag_has_this_task_graph(bag, dag_id, graph):
    tasks = bag.dags[dag_id].task_dict
    assert {name: task.downstream_task_ids for name, task in tasks.items()} == graph


def test_the_audit_holds_no_task_that_writes_to_nylas(bag):
    kinds = {type(task).__name__ for task in bag.dags["audit_grants"].tasks}
    assert kinds == {
        "RunOpeningSensor",
        "ReadRosterOperator",
        "ObserveGrantsOperator",
        "PlanChangesOperator",
        "CloseRunOperator",
    }


def test_a_person_can_choose_tenants_a_mailbox_and_a_dry_run(bag):
    params = bag.dags["reconcile_grants"].params
    assert dict(params) == {
        "tenants": None,
        "mailbox": None,
        "dry_run": False,
        "vanished_grants": 0,
    }
    assert dict(bag.dags["audit_grants"].params) == {"tenants": None, "mailbox": None}
    assert dict(bag.dags["onboard_tenants"].params) == {"tenants": None}


def test_every_task_retries_by_the_kind_of_error(bag):
    from bulkgrants_airflow.defaults import RetryByKind

    for dag in bag.dags.values():
        for task in dag.tasks:
            assert isinstance(task.retry_policy, RetryByKind)
            assert task.retries >= 3


PROBE = """
import json, socket, sys
import airflow.sdk
before = set(sys.modules)
def refuse(*_): raise AssertionError("a DAG file opened a socket")
socket.socket.connect = refuse
import importlib.util
for name in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("dag_file", name)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - before})))
"""


def test_parsing_opens_no_socket_and_imports_no_pandas():
    files = [str(path) for path in (REPOSITORY / "dags").glob("*.py")]
    assert len(files) == 4
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROBE, *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not {"pandas", "numpy", "alembic"} & set(json.loads(done.stdout.splitlines()[-1]))
