"""Airflow for tests: a home, a metadata database and a stand-in of their own, set before import.

Every xdist worker has its own. All tests that need Airflow are in this folder, so that `tests/core`
runs where Airflow is not installed.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nylas_standin.client import Control
from nylas_standin.keys import google_key_file

REPOSITORY = Path(__file__).parents[2]
HOME = Path(tempfile.mkdtemp(prefix="bulkgrants-airflow-"))

os.environ.update(
    {
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME / 'airflow.db'}",
        "AIRFLOW__API_AUTH__JWT_SECRET": "for-tests-alone-" * 8,
    }
)
for name in [name for name in os.environ if name.startswith("AIRFLOW_CONN_")]:
    del os.environ[name]


@pytest.fixture(scope="session", autouse=True)
def airflow_env() -> Iterator[Path]:
    """Airflow's home, with an empty metadata database at Airflow's own revision."""
    from airflow.utils.db import initdb

    initdb()
    yield HOME
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def _served() -> Iterator[object]:
    from nylas_standin.server import serve_in_thread

    with serve_in_thread() as running:
        yield running


class StandIn:
    """The stand-in as tests see it: where it is, its key, and its control plane."""

    def __init__(self, base_url: str, api_key: str, client_id: str) -> None:
        self.base_url = base_url
        self.api_key = api_key
        self.client_id = client_id
        self.control = Control(base_url)


@pytest.fixture
def standin(_served) -> Iterator[StandIn]:
    """The stand-in, reset, on a free port of this machine."""
    one = StandIn(_served.base_url, _served.api_key, _served.standin.config.client_id)
    one.control.reset()
    one.control.set_switches(unknown_query="refuse")  # we send none
    yield one
    one.control.close()


@pytest.fixture
def run_dag():
    """`run_dag(dag)` runs a DAG in this process, even one without a file; returns the run."""

    def run(dag, **kwargs):
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

        DagBundlesManager().sync_bundles_to_db()
        bag = DagBag(dag_folder=os.devnull)
        bag.bag_dag(dag)
        sync_bag_to_db(bag, "dags-folder", None)
        return dag.test(**kwargs)

    return run


Connect = Callable[..., str]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """`connect(conn_id, conn_type=…, host=…, extra={…})` makes a connection and returns its id."""

    def make(conn_id: str, **fields: object) -> str:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
        return conn_id

    return make


@pytest.fixture
def nylas_default(standin: StandIn, connect: Connect) -> str:
    """The connection `nylas_default`, to the stand-in."""
    return connect(
        "nylas_default",
        conn_type="nylas",
        host=standin.base_url,
        password=standin.api_key,
        extra={"client_id": standin.client_id},
    )


@pytest.fixture(scope="session")
def key_file() -> dict[str, str]:
    """The key file of a Google service account."""
    return google_key_file("p")
