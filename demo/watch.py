"""Waits for Airflow and for runs, and tells what is going on meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from demo.errors import DemoError
from demo.rest import Airflow, TaskState
from demo.standalone import Standalone
from demo.terminal import STYLES, Terminal

_BOOT_SECONDS = 240.0
_RUN_SECONDS = 300.0
_PAUSE = 0.5
_ENDED = frozenset({"success", "failed", "upstream_failed", "skipped", "removed"})
_TOLD = _ENDED | {"up_for_retry", "up_for_reschedule"}


def until_ready(
    airflow: Airflow, standalone: Standalone, dag_ids: Collection[str], terminal: Terminal
) -> None:
    """Wait until every component is healthy and the DAGs are known. Raises DemoError."""
    deadline = time.monotonic() + _BOOT_SECONDS
    healthy: set[str] = set()
    while True:
        found = airflow.health()
        for name, status in found.items():
            if status == "healthy" and name not in healthy:
                healthy.add(name)
                terminal.say(f"Airflow's {name.replace('_', ' ')} is healthy")
        if found and healthy >= found.keys():
            break
        _pause(standalone, deadline, f"Airflow was not up after {_BOOT_SECONDS:.0f} s")
    airflow.log_in()
    while not airflow.dag_ids() >= set(dag_ids):
        errors = airflow.import_errors()
        if errors:
            raise DemoError("Airflow cannot read a DAG file.\n" + "\n".join(errors))
        _pause(standalone, deadline, f"Airflow had not read the DAGs after {_BOOT_SECONDS:.0f} s")
    terminal.say(f"Airflow has read the DAGs: {', '.join(sorted(airflow.dag_ids()))}")


def run(
    airflow: Airflow,
    standalone: Standalone,
    terminal: Terminal,
    *,
    dag_id: str,
    run_id: str,
    meanwhile: Callable[[], None] | None = None,
    may_fail: bool = False,
    conf: Mapping[str, object] | None = None,
) -> list[TaskState]:
    """Trigger a DAG and follow its run to the end; gives its tasks. Raises DemoError.

    `meanwhile` is called whenever the run was looked at.
    """
    terminal.chapter(f"{dag_id}, run {run_id}")
    airflow.trigger(dag_id, run_id, conf)
    deadline = time.monotonic() + _RUN_SECONDS
    told: set[tuple[object, ...]] = set()
    while True:
        state = airflow.run_state(dag_id, run_id)
        tasks = airflow.tasks(dag_id, run_id)
        for task in tasks:
            if task.state in _TOLD and (*task.key, task.state) not in told:
                told.add((*task.key, task.state))
                _tell(terminal, task)
                if task.state == "up_for_retry":
                    terminal.say(_last_words(airflow.log(dag_id, run_id, task)))
        if state == "success" or (state == "failed" and may_fail):
            return tasks
        if state == "failed":
            raise DemoError(_why(airflow, dag_id, run_id, tasks))
        if meanwhile is not None:
            meanwhile()
        late = f"{dag_id} was still {state} after {_RUN_SECONDS:.0f} s"
        _pause(standalone, deadline, late)


def _tell(terminal: Terminal, task: TaskState) -> None:
    took = f"{task.seconds:5.1f} s" if task.seconds is not None else " " * 7
    words = task.state.replace("_", " ")
    again = f", try {task.try_number}" if task.try_number > 1 else ""
    terminal.say(f"{task.name:<34} {took}  {words}{again}", STYLES.get(task.state, ""))


def _last_words(lines: Sequence[str]) -> str:
    """What a task said last of what went wrong."""
    errors = [line for line in lines if line.startswith(("error", "critical"))]
    return errors[-1] if errors else "Its process ended without a word"


def _why(airflow: Airflow, dag_id: str, run_id: str, tasks: list[TaskState]) -> str:
    """The sentence on which the first failed task ended, and where the rest can be read."""
    failed = [task for task in tasks if task.state == "failed"]
    if not failed:
        return f"{dag_id} has failed, though no task of it did."
    lines = "\n".join(airflow.log(dag_id, run_id, failed[0])[-12:])
    return f"The task {failed[0].name} of {dag_id} has failed. Its log ends with:\n{lines}"


def _pause(standalone: Standalone, deadline: float, late: str) -> None:
    standalone.require_alive()
    if time.monotonic() > deadline:
        raise DemoError(f"{late}. Its last lines:\n{standalone.last_lines()}")
    time.sleep(_PAUSE)
