"""A real `airflow standalone`: started, waited for, and stopped with everything that it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from demo.environment import USER
from demo.errors import DemoError
from demo.folder import Folder
from demo.secrets_made import Secrets

_GRACE = 15.0
"""Seconds that processes have to end by themselves."""


class Standalone:
    """The processes of one Airflow. They are a session of their own, by which all can be found."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process = process
        self._output = output

    def require_alive(self) -> None:
        """Raise DemoError, with the last that Airflow printed, once its parent process is gone."""
        if self._process.poll() is not None:
            raise DemoError(f"Airflow has stopped by itself. Its last lines:\n{self.last_lines()}")

    def last_lines(self, count: int = 25) -> str:
        """The end of what Airflow's components printed."""
        text = self._output.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-count:])

    def processes(self) -> list[psutil.Process]:
        """All that are alive, children before their parents as far as that can be told."""
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
        """End every process: by asking, and after a while without.

        Asked first are the four components. `airflow standalone` itself does not pass on what it
        is told, and its components would outlive it.
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
            self._process.poll()  # takes note of its end, or it would stay a zombie
            if all(process.pid == besides for process in self.processes()):
                return
            time.sleep(0.1)


@contextmanager
def standing_alone(
    folder: Folder, environment: Mapping[str, str], secrets: Secrets
) -> Iterator[Standalone]:
    """Airflow, started; nothing of it is alive afterwards, whatever happens meanwhile."""
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
        with _undisturbed():
            airflow.stop()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C would leave half of it running."""
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
