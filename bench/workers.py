"""Processes like idle Airflow tasks, which carry out steps and report what each one cost.

Run as a program, this module is such a process. It reads one JSON object per line, such as
`{"step": "plan", "arguments": {…}}`, carries out the step of that name in `bench.steps`, and
answers with a line of figures. All other output goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import psutil

from bench import steps

REPOSITORY = Path(__file__).parents[1]
STOP_WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What one step cost."""

    seconds: float
    cpu: float
    """Seconds of processor time in the step's process."""
    ended: float
    """On the monotonic clock, which all processes share."""
    idle_mb: float
    above_idle_mb: float
    """The process's peak, less the memory of an idle Airflow task."""
    details: dict[str, float]


class Worker:
    """One such process, seen from outside."""

    def __init__(self, home: Path, connection: str = "") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.workers"],
            cwd=REPOSITORY,
            env=_environment(home, connection),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, step: str, **arguments: object) -> None:
        """Start the step of that name in `bench.steps`."""
        job = {"step": step, "arguments": arguments}
        assert self._process.stdin
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def figures(self) -> Figures:
        """Wait for the step that was started; return what it cost. Raises RuntimeError."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("A measured step failed; its error is above.")
        return Figures(**json.loads(line))

    def stop(self) -> None:
        """End the process by its id."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def workers(count: int, home: Path, connection: str = "") -> Iterator[Sequence[Worker]]:
    """A number of processes for the block; `connection` is JSON for `nylas_default`."""
    with ExitStack() as stack:
        started = []
        for _ in range(count):
            worker = Worker(home, connection)
            stack.callback(worker.stop)
            started.append(worker)
        yield started


def run(home: Path, step: str, connection: str = "", **arguments: object) -> Figures:
    """Run one step in its own process."""
    with workers(1, home, connection) as (worker,):
        worker.begin(step, **arguments)
        return worker.figures()


def _environment(home: Path, connection: str) -> dict[str, str]:
    inherited = os.environ.items()  # noqa: TID251 - passed on to a process
    environment = {k: v for k, v in inherited if not k.startswith("AIRFLOW")}
    environment |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    if connection:
        environment["AIRFLOW_CONN_NYLAS_DEFAULT"] = connection
    return environment


def _serve() -> None:
    """The process seen from inside: carry out steps until the input ends."""
    output = os.fdopen(os.dup(1), "w", buffering=1)  # standard output, only for the figures
    os.dup2(2, 1)
    idle = _become_idle_task()
    for line in sys.stdin:
        job = json.loads(line)
        figures = _measured(idle, job["step"], job["arguments"])
        _write(output, figures)


def _become_idle_task() -> float:
    """Import what an Airflow task process has imported before its task starts; return its MB."""
    importlib.import_module("airflow.sdk")
    importlib.import_module("airflow.sdk.execution_time.task_runner")
    return float(psutil.Process().memory_info().rss) / 1e6


def _measured(idle_mb: float, name: str, arguments: dict[str, object]) -> Figures:
    step = getattr(steps, name)()
    begun, cpu = time.monotonic(), time.process_time()
    details = step(**arguments)
    return Figures(
        seconds=time.monotonic() - begun,
        cpu=time.process_time() - cpu,
        ended=time.monotonic(),
        idle_mb=idle_mb,
        above_idle_mb=_peak_mb() - idle_mb,
        details=details,
    )


def _write(output: TextIO, figures: Figures) -> None:
    output.write(json.dumps(asdict(figures)) + "\n")


def _peak_mb() -> float:
    """The peak of this process's resident memory so far.

    On Linux `getrusage` includes the process that started this one, so `VmHWM` is read there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


if __name__ == "__main__":
    _serve()
