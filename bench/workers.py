"""Starts processes like idle Airflow tasks (`bench.child`), gives them steps, and stops them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.standin import Standin

REPOSITORY = Path(__file__).parents[1]
STOP_WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What one step cost."""

    seconds: float
    cpu: float
    """Seconds of processor time, of the step's own process."""
    ended: float
    """On the monotonic clock, which all processes share."""
    idle_mb: float
    above_idle_mb: float
    """The process's peak, less what an idle Airflow task holds."""
    details: dict[str, float]


class Worker:
    """One such process."""

    def __init__(self, home: Path, standin: Standin | None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.child"],
            cwd=REPOSITORY,
            env=_environment(home, standin),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, step: str, **arguments: object) -> None:
        """Have the step of that name in `bench.steps` carried out."""
        job = {"step": step, "arguments": arguments}
        assert self._process.stdin
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def figures(self) -> Figures:
        """What the step that was begun has cost, once it is over. Raises RuntimeError."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("A measured step failed; its error stands above.")
        return Figures(**json.loads(line))

    def stop(self) -> None:
        """End the process, by its own id."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def workers(count: int, home: Path, standin: Standin | None = None) -> Iterator[Sequence[Worker]]:
    """So many processes, for as long as the block."""
    with ExitStack() as stack:
        started = []
        for _ in range(count):
            worker = Worker(home, standin)
            stack.callback(worker.stop)
            started.append(worker)
        yield started


def run(home: Path, step: str, standin: Standin | None = None, **arguments: object) -> Figures:
    """One step in a process of its own."""
    with workers(1, home, standin) as (worker,):
        worker.begin(step, **arguments)
        return worker.figures()


def _environment(home: Path, standin: Standin | None) -> dict[str, str]:
    inherited = os.environ.items()  # noqa: TID251 - handed on to a process
    environment = {k: v for k, v in inherited if not k.startswith("AIRFLOW")}
    environment |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    if standin is not None:
        environment["AIRFLOW_CONN_NYLAS_DEFAULT"] = standin.connection
    return environment
