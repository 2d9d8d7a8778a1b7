"""Kills the process of a batch while it is at work, and lets Airflow try again."""

from __future__ import annotations

from dataclasses import dataclass, field

import psutil
from sqlalchemy import Engine, text

from demo.rest import TaskState
from demo.samples import add_to_roster
from demo.story import Stage

CROWD = [f"person{number:02d}@crowd.example.com" for number in range(24)]
RUN = "killed"


@dataclass
class Killed:
    """What a test wants to know of it."""

    map_index: int | None = None
    done_before: set[str] = field(default_factory=set)
    """Mailboxes of the batch whose outcome was in the ledger when its process was killed."""
    tasks: list[TaskState] = field(default_factory=list)
    authentications: dict[str, int] = field(default_factory=dict)
    grants: dict[str, dict] = field(default_factory=dict)
    grants_before: int = 0
    attempts: list[dict] = field(default_factory=list)
    """Of this run, as the ledger has them."""
    changes: list[dict] = field(default_factory=list)


def kill_a_batch_half_way(stage: Stage, killed: Killed) -> None:
    """Reconcile a crowd of new mailboxes against a slow API, with one SIGKILL on the way."""
    add_to_roster(stage.folder.warehouse, [{"tenant": "acme", "email": one} for one in CROWD])
    killed.grants_before = len(stage.nylas.grants())
    stage.nylas.count_from_nothing()
    stage.nylas.slow_down(4.0, jitter=3.9)
    ledger = stage.ledger()

    def meanwhile() -> None:
        if killed.map_index is None:
            _kill_one(stage, ledger, killed)

    killed.tasks = stage.run("reconcile_grants", RUN, meanwhile)
    killed.authentications = stage.nylas.authentications()
    killed.grants = stage.nylas.grants()
    killed.attempts = _rows(ledger, "SELECT a.* FROM attempts a")
    killed.changes = _rows(ledger, "SELECT a.* FROM changes a")
    ledger.dispose()


def _kill_one(stage: Stage, ledger: Engine, killed: Killed) -> None:
    """Kill the first batch that is found with some changes made and some not."""
    states: dict[int, dict[str, set[str]]] = {}
    for row in _rows(
        ledger,
        "SELECT b.batch, a.email, a.state FROM changes a JOIN batches b ON b.run_id = a.run_id"
        " AND a.seq BETWEEN b.first_seq AND b.last_seq",
    ):
        states.setdefault(row["batch"], {}).setdefault(row["state"], set()).add(row["email"])
    half_way = {batch for batch, found in states.items() if {"done", "planned"} <= found.keys()}
    for task in stage.airflow.tasks("reconcile_grants", RUN):
        batch = task.map_index + 1
        if task.task_id == "apply" and task.state == "running" and batch in half_way:
            for process in psutil.process_iter(["cmdline"]):
                if "".join(process.info["cmdline"] or ()) == f"airflow worker -- {task.id}":
                    process.kill()
                    killed.map_index = task.map_index
                    killed.done_before = states[batch]["done"]
                    return


def _rows(ledger: Engine, query: str) -> list[dict]:
    """Rows of the run alone; `a` is the table that is looked at."""
    where = " WHERE a.run_id = (SELECT id FROM runs WHERE key = :key)"
    with ledger.connect() as connection:
        rows = connection.execute(text(query + where), {"key": f"reconcile_grants/{RUN}"})
        return [dict(row) for row in rows.mappings()]
