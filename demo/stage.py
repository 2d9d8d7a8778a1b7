"""What the demo works with, and how it follows one run of a DAG to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from bulkgrants.ledger.database import open_ledger
from demo.airflow import Standalone
from demo.folder import Folder
from demo.rest import Airflow, LogRecord, TaskState
from demo.samples import Samples
from demo.terminal import DemoError, Terminal
from demo.world import Nylas

_BOOT_SECONDS = 240.0
_RUN_SECONDS = 300.0
_PAUSE_SECONDS = 0.5
_TOLD = {
    "success": "green",
    "failed": "bold red",
    "upstream_failed": "red",
    "up_for_retry": "yellow",
    "up_for_reschedule": "",
    "skipped": "cyan",
    "removed": "",
}
"""The states of a task that are printed, each with its style."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demo works with: Airflow, its folder, and the terminal."""

    folder: Folder
    samples: Samples
    nylas: Nylas
    standalone: Standalone
    airflow: Airflow
    terminal: Terminal

    def ledger(self) -> Engine:
        """The ledger that the runs write."""
        return open_ledger(f"sqlite:///{self.folder.ledger}")

    def wait_for_airflow(self, dag_ids: Collection[str]) -> None:
        """Wait until every component is healthy and the DAGs are known. Raises DemoError."""
        deadline = time.monotonic() + _BOOT_SECONDS
        healthy: set[str] = set()
        while True:
            found = self.airflow.health()
            for name, status in found.items():
                if status == "healthy" and name not in healthy:
                    healthy.add(name)
                    self.terminal.say(f"Airflow's {name.replace('_', ' ')} is healthy")
            if found and healthy >= found.keys():
                break
            self._pause(deadline, f"Airflow was not up after {_BOOT_SECONDS:.0f} s")
        self.airflow.log_in()
        while not self.airflow.dag_ids() >= set(dag_ids):
            errors = self.airflow.import_errors()
            if errors:
                raise DemoError("Airflow cannot read a DAG file.\n" + "\n".join(errors))
            self._pause(deadline, f"Airflow had not read the DAGs after {_BOOT_SECONDS:.0f} s")
        self.terminal.say(f"Airflow has read the DAGs: {', '.join(sorted(self.airflow.dag_ids()))}")

    def run(
        self,
        dag_id: str,
        run_id: str,
        meanwhile: Callable[[], None] | None = None,
        *,
        may_fail: bool = False,
        conf: Mapping[str, object] | None = None,
    ) -> list[TaskState]:
        """Trigger a DAG, follow its run to the end, and return its tasks. Raises DemoError.

        `meanwhile` is called each time after the run was checked.
        """
        self.terminal.chapter(f"{dag_id}, run {run_id}")
        self.airflow.trigger(dag_id, run_id, conf)
        deadline = time.monotonic() + _RUN_SECONDS
        told: set[tuple[object, ...]] = set()
        while True:
            state = self.airflow.run_state(dag_id, run_id)
            tasks = self.airflow.tasks(dag_id, run_id)
            for task in tasks:
                if task.state in _TOLD and (*task.key, task.state) not in told:
                    told.add((*task.key, task.state))
                    self._tell(dag_id, run_id, task)
            if state == "success" or (state == "failed" and may_fail):
                return tasks
            if state == "failed":
                raise DemoError(self._why(dag_id, run_id, tasks))
            if meanwhile is not None:
                meanwhile()
            self._pause(deadline, f"{dag_id} was still {state} after {_RUN_SECONDS:.0f} s")

    def _tell(self, dag_id: str, run_id: str, task: TaskState) -> None:
        took = f"{task.seconds:5.1f} s" if task.seconds is not None else " " * 7
        words = task.state.replace("_", " ")
        again = f", try {task.try_number}" if task.try_number > 1 else ""
        self.terminal.say(f"{task.name:<34} {took}  {words}{again}", _TOLD[task.state])
        if task.state == "up_for_retry":
            self.terminal.say(_last_error(self.airflow.log(dag_id, run_id, task)))

    def _why(self, dag_id: str, run_id: str, tasks: list[TaskState]) -> str:
        """The name of the first failed task, and the end of its log."""
        failed = [task for task in tasks if task.state == "failed"]
        if not failed:
            return f"{dag_id} has failed, although none of its tasks has."
        lines = "\n".join(map(str, self.airflow.log(dag_id, run_id, failed[0])[-12:]))
        return f"The task {failed[0].name} of {dag_id} has failed. Its log ends with:\n{lines}"

    def _pause(self, deadline: float, late: str) -> None:
        self.standalone.require_alive()
        if time.monotonic() > deadline:
            last = self.standalone.last_lines()
            raise DemoError(f"{late}. Its last lines:\n{last}")
        time.sleep(_PAUSE_SECONDS)


def _last_error(records: Sequence[LogRecord]) -> str:
    errors = [one for one in records if one.level in {"error", "critical"}]
    return str(errors[-1]) if errors else "Its process ended without a message"
