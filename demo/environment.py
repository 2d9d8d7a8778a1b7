"""Airflow's whole configuration, as environment variables: no file to edit, nothing left behind."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from demo.folder import ROOT, Folder, free_ports
from demo.nylas import Nylas
from demo.secrets_made import Secrets

USER = "admin"
_OTHERS = ("AIRFLOW", "PYTHON", "BULKGRANTS")
"""Beginnings of variables that would lead a developer's own settings into the demo."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where Airflow listens."""

    api: int
    worker_logs: int
    trigger_logs: int

    @property
    def base_url(self) -> str:
        """Airflow's address."""
        return f"http://127.0.0.1:{self.api}"


def choose_ports() -> Ports:
    """Three free ones."""
    return Ports(*free_ports(3))


def airflow_environment(
    folder: Folder, ports: Ports, nylas: Nylas, secrets: Secrets
) -> dict[str, str]:
    """What `airflow standalone` is started with."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', os.defpath)}"
    return {
        **inherited,
        "PATH": path,  # standalone starts its components by the name `airflow`
        "PYTHONUNBUFFERED": "1",  # or the last words before an end by signal are lost
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "AIRFLOW_HOME": str(folder.airflow_home),
        **{f"AIRFLOW__{name}": value for name, value in _settings(folder, ports, secrets).items()},
        **{
            f"AIRFLOW_CONN_{conn_id.upper()}": json.dumps(connection)
            for conn_id, connection in _connections(folder, nylas, secrets).items()
        },
    }


def _settings(folder: Folder, ports: Ports, secrets: Secrets) -> dict[str, str]:
    return {
        "CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__TEST_CONNECTION": "Enabled",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "4",  # SQLite has one writer at a time; at 32 it gives up
        # Nothing runs by the clock, or a nightly run would mix with those that the demo asks for.
        "SCHEDULER__USE_JOB_SCHEDULE": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__EXECUTION_API_SERVER_URL": f"{ports.base_url}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder.passwords),
        "API__HOST": "127.0.0.1",
        "API__PORT": str(ports.api),
        "API__BASE_URL": ports.base_url,
        "API__WORKERS": "1",
        "API_AUTH__JWT_SECRET": secrets.jwt_secret,
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder.airflow_home / 'airflow.db'}",
        "LOGGING__WORKER_LOG_SERVER_PORT": str(ports.worker_logs),
        "LOGGING__TRIGGER_LOG_SERVER_PORT": str(ports.trigger_logs),
        "BULKGRANTS__BATCH_SIZE": "8",  # so that a small roster makes several batches
        "BULKGRANTS__GOOGLE_CONNECTOR_CONN_ID": "google_oauth",
        "BULKGRANTS__MICROSOFT_CONNECTOR_CONN_ID": "azure_app",
        "BULKGRANTS__PROPAGATION_FLOOR_SECONDS": "2",  # the real Microsoft needs five minutes
    }


def _connections(folder: Folder, nylas: Nylas, secrets: Secrets) -> dict[str, object]:
    return {
        "nylas_default": {
            "conn_type": "nylas",
            "host": nylas.base_url,
            "password": secrets.api_key,
            "extra": {"client_id": nylas.client_id},
        },
        "warehouse": {"conn_type": "sqlite", "host": str(folder.warehouse)},
        "google_oauth": {
            "conn_type": "generic",
            "login": "demo.apps.googleusercontent.com",
            "password": secrets.oauth_secret,
        },
        "azure_app": {
            "conn_type": "azure",
            "login": "5d1f8c1e-90a4-4c8e-8f0b-1c2d3e4f5a6b",
            "password": secrets.oauth_secret,
        },
        **{
            conn_id: {"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": key_file}}
            for conn_id, key_file in secrets.key_files.items()
        },
    }
