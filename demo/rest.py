"""The parts of Airflow's REST API that the demo needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import requests

from demo.terminal import DemoError


@dataclass(frozen=True, slots=True)
class TaskState:
    """The state of one task of a run."""

    label: str
    """Of a mapped task: the label of its element, as the tenant's name."""
    id: str
    """The id of this try. The title of its process contains it."""
    task_id: str
    map_index: int
    try_number: int
    state: str
    seconds: float | None

    @property
    def name(self) -> str:
        """The task's id and its label."""
        return f"{self.task_id} {self.label}".strip()

    @property
    def key(self) -> tuple[str, int, int]:
        """Unique among all tries of all tasks of the run."""
        return self.task_id, self.map_index, self.try_number


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record of a task's log."""

    level: str
    text: str

    def __str__(self) -> str:
        return f"{self.level} {self.text}".strip()


class Airflow:
    """A client of one Airflow. Every method but `health` raises DemoError if it fails."""

    def __init__(self, base_url: str, user: str, password: str) -> None:
        self.base_url = base_url
        self._login = {"username": user, "password": password}
        self._session = requests.Session()
        self._session.trust_env = False  # Airflow is on loopback, where no proxy belongs

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def health(self) -> dict[str, str]:
        """Each component's status; empty until the API is up."""
        try:
            answer = self._session.get(f"{self.base_url}/api/v2/monitor/health", timeout=10)
            found: dict[str, dict[str, str] | None] = answer.json()
        except (requests.RequestException, ValueError):
            return {}
        return {name: (one or {}).get("status") or "" for name, one in found.items()}

    def log_in(self) -> None:
        """Get a token, and send it with every later request."""
        token = self._ask("POST", "/auth/token", self._login)["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def dag_ids(self) -> set[str]:
        """The DAGs that Airflow has read so far."""
        return {dag["dag_id"] for dag in self._ask("GET", "/api/v2/dags")["dags"]}

    def import_errors(self) -> list[str]:
        """Why Airflow could not read DAG files."""
        found = self._ask("GET", "/api/v2/importErrors")["import_errors"]
        return [f"{error['filename']}: {error['stack_trace']}" for error in found]

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, object] | None = None) -> None:
        """Start a run, as the button in the UI does."""
        now = datetime.now(UTC).isoformat()
        body = {"dag_run_id": run_id, "logical_date": now, "conf": conf or {}}
        self._ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)

    def run_state(self, dag_id: str, run_id: str) -> str:
        """`queued`, `running`, `success` or `failed`."""
        return str(self._ask("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[TaskState]:
        """The run's tasks in the order in which they ended; a mapped task once for each element."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100"
        found = self._ask("GET", path)["task_instances"]
        return [
            TaskState(
                label=one.get("rendered_map_index") or "",
                id=one["id"],
                task_id=one["task_id"],
                map_index=one["map_index"],
                try_number=one["try_number"],
                state=one["state"] or "",
                seconds=one["duration"],
            )
            for one in sorted(found, key=lambda one: one["end_date"] or "")
        ]

    def links(self, dag_id: str, run_id: str, task: TaskState) -> dict[str, str | None]:
        """The links of the task's buttons, by the buttons' labels."""
        where = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task.task_id}"
        found: dict[str, str | None] = self._ask(
            "GET", f"{where}/links?map_index={task.map_index}"
        )["extra_links"]
        return found

    def log(self, dag_id: str, run_id: str, task: TaskState) -> Sequence[LogRecord]:
        """The log of the task's last try."""
        where = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task.task_id}"
        content = self._ask("GET", f"{where}/logs/{task.try_number}?map_index={task.map_index}")
        return [_record(one) for one in content["content"]]

    def _ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        headers = {"Accept": "application/json"}
        url = f"{self.base_url}{path}"
        try:
            answer = self._session.request(method, url, json=body, headers=headers, timeout=60)
        except requests.RequestException as error:
            kind = type(error).__name__
            raise DemoError(f"Airflow does not answer {method} {path} ({kind}).") from None
        if not answer.ok:
            raise DemoError(
                f"Airflow answers {method} {path} with {answer.status_code}: {answer.text[:300]}"
            )
        return answer.json()


def _record(one: object) -> LogRecord:
    if not isinstance(one, dict):
        return LogRecord("", str(one))
    details = " ".join(f"{error['exc_type']}: {error['exc_value']}" for error in _errors(one))
    return LogRecord(one.get("level") or "", f"{one.get('event', '')} {details}".strip())


def _errors(one: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [error for error in one.get("error_detail") or () if isinstance(error, dict)]
