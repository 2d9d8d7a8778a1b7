"""A real `airflow standalone`: its configuration, its processes, and how they are stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from demo.folder import ROOT, Folder, Secrets
from demo.terminal import DemoError
from demo.world import Nylas

USER = "admin"
_NOT_INHERITED = ("AIRFLOW", "PYTHON", "BULKGRANTS")
"""Prefixes of variables that would bring a developer's own settings into the demo."""
_GRACE = 15.0
"""Seconds that processes have to end by themselves."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports on which Airflow listens."""

    api: int
    worker_logs: int
    trigger_logs: int

    @property
    def base_url(self) -> str:
        """Airflow's address."""
        return f"http://127.0.0.1:{self.api}"


def choose_ports() -> Ports:
    """Three free ports. All are held open at the same time, so that they differ."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return Ports(*(int(one.getsockname()[1]) for one in held))


def airflow_environment(
    folder: Folder, ports: Ports, nylas: Nylas, secrets: Secrets
) -> dict[str, str]:
    """Airflow's whole configuration as variables, so there is no file to edit or clean up."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', os.defpath)}"
    return {
        **inherited,
        "PATH": path,  # standalone starts its components by the name `airflow`
        "PYTHONUNBUFFERED": "1",  # otherwise a signal would cut off the last lines of output
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
        "CORE__PARALLELISM": "4",  # SQLite allows one writer at a time; with 32 it gives up
        # Nothing is scheduled, or a nightly run would mix with those that the demo starts.
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


class Standalone:
    """The processes of one Airflow. They share a session, so all of them can be found."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process = process
        self._output = output

    def require_alive(self) -> None:
        """Raise DemoError with the last lines of output if the parent process has ended."""
        if self._process.poll() is not None:
            raise DemoError(f"Airflow has stopped by itself. Its last lines:\n{self.last_lines()}")

    def last_lines(self, count: int = 25) -> str:
        """The end of what Airflow's components printed."""
        text = self._output.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-count:])

    def processes(self) -> list[psutil.Process]:
        """All processes that are alive, the newest first: children mostly before their parents."""
        found = []
        for process in psutil.process_iter():
            try:
                same = os.getsid(process.pid) == self._process.pid
                if same and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
                continue
        return sorted(found, key=lambda process: process.pid, reverse=True)

    def stop(self) -> None:
        """End every process: by SIGTERM, and after a while by SIGKILL.

        The four components are signalled first, because `airflow standalone` does not pass a signal
        on, and they would outlive it.
        """
        try:
            components = psutil.Process(self._process.pid).children()
        except psutil.NoSuchProcess:
            components = []
        if components:
            _signal(components, signal.SIGTERM)
            self._wait_for_end(besides=self._process.pid)
        _signal(self.processes(), signal.SIGTERM)
        self._wait_for_end()
        _signal(self.processes(), signal.SIGKILL)
        self._process.wait()

    def _wait_for_end(self, besides: int | None = None) -> None:
        deadline = time.monotonic() + _GRACE
        while time.monotonic() < deadline:
            self._process.poll()  # collects its exit status, or it would stay a zombie
            if all(process.pid == besides for process in self.processes()):
                return
            time.sleep(0.1)


@contextmanager
def running_airflow(
    folder: Folder, environment: Mapping[str, str], secrets: Secrets
) -> Iterator[Standalone]:
    """Airflow for the length of the block. However the block ends, no process of it is left."""
    folder.passwords.touch(mode=0o600)
    folder.passwords.write_text(json.dumps({USER: secrets.password}), encoding="utf-8")
    with folder.airflow_output.open("wb") as output:
        process = subprocess.Popen(
            ["airflow", "standalone"],
            cwd=folder.path,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the demo, which then stops Airflow in order
        )
    airflow = Standalone(process, folder.airflow_output)
    try:
        yield airflow
    finally:
        with _ignoring_ctrl_c():
            airflow.stop()


@contextmanager
def _ignoring_ctrl_c() -> Iterator[None]:
    """Ignore a second Ctrl-C, which would leave half of Airflow running."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
