"""Airflow's REST API, as far as the demo needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import requests

from demo.environment import USER, Ports
from demo.errors import DemoError
from demo.secrets_made import Secrets


@dataclass(frozen=True, slots=True)
class TaskState:
    """How one task of a run is doing."""

    name: str
    """Its id; of a mapped one with what it is mapped over."""
    id: str
    """Of this one attempt; its process has it in its title."""
    task_id: str
    map_index: int
    try_number: int
    state: str
    seconds: float | None

    @property
    def key(self) -> tuple[str, int, int]:
        """What no other attempt at any task of the run has."""
        return self.task_id, self.map_index, self.try_number


class Airflow:
    """A client that is logged in as soon as Airflow is up."""

    def __init__(self, ports: Ports, secrets: Secrets) -> None:
        self.base_url = ports.base_url
        self._password = secrets.password
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy has no business on loopback

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def health(self) -> dict[str, str]:
        """Each component's status; nothing while the API is not up."""
        try:
            answer = self._session.get(f"{self.base_url}/api/v2/monitor/health", timeout=10)
            found: dict[str, dict[str, str] | None] = answer.json()
        except (requests.RequestException, ValueError):
            return {}
        return {name: (one or {}).get("status") or "" for name, one in found.items()}

    def log_in(self) -> None:
        """Ask for a token, and show it from now on."""
        login = {"username": USER, "password": self._password}
        token = self._ask("POST", "/auth/token", login)["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def dag_ids(self) -> set[str]:
        """The DAGs that Airflow has read so far."""
        return {dag["dag_id"] for dag in self._ask("GET", "/api/v2/dags")["dags"]}

    def import_errors(self) -> list[str]:
        """Why DAG files could not be read."""
        found = self._ask("GET", "/api/v2/importErrors")["import_errors"]
        return [f"{error['filename']}: {error['stack_trace']}" for error in found]

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, object] | None = None) -> None:
        """Start a run, as a person does who presses the button."""
        now = datetime.now(UTC).isoformat()
        body = {"dag_run_id": run_id, "logical_date": now, "conf": conf or {}}
        self._ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)

    def run_state(self, dag_id: str, run_id: str) -> str:
        """`queued`, `running`, `success` or `failed`."""
        return str(self._ask("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[TaskState]:
        """The run's tasks in the order of their ends, mapped ones once for each thing they map."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100"
        found = self._ask("GET", path)["task_instances"]
        return [
            TaskState(
                name=_name(one),
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
        """The task's buttons, by the words on them."""
        where = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task.task_id}"
        found: dict[str, str | None] = self._ask(
            "GET", f"{where}/links?map_index={task.map_index}"
        )["extra_links"]
        return found

    def log(self, dag_id: str, run_id: str, task: TaskState) -> Sequence[str]:
        """What the task's last attempt wrote, a line for each record."""
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


def _name(one: Mapping[str, Any]) -> str:
    label = one.get("rendered_map_index")
    return f"{one['task_id']} {label}" if label else str(one["task_id"])


def _record(one: object) -> str:
    if not isinstance(one, dict):
        return str(one)
    details = " ".join(f"{error['exc_type']}: {error['exc_value']}" for error in _errors(one))
    return f"{one.get('level', '')} {one.get('event', '')} {details}".strip()


def _errors(one: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [error for error in one.get("error_detail") or () if isinstance(error, dict)]
