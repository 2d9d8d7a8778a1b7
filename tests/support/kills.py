"""Kills processes of a running demo: one of a batch at work, and the triggerer during a wait."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import Engine, text

from demo.rest import TaskState
from demo.samples import add_to_roster
from demo.stage import Stage
from demo.world import ONBOARDING, Admins

CROWD = [f"person{number:02d}@crowd.example.com" for number in range(24)]
KILLED_RUN = "killed"
ASKED_AGAIN = "asked-again"
REFUSED_TENANT = "elm"


@dataclass
class Killed:
    """What a run left behind after the process of one of its batches was killed."""

    map_index: int | None = None
    done_before: set[str] = field(default_factory=set)
    """Mailboxes of the batch whose outcome was in the ledger when its process was killed."""
    tasks: list[TaskState] = field(default_factory=list)
    authentications: dict[str, int] = field(default_factory=dict)
    grants: dict[str, dict] = field(default_factory=dict)
    grants_before: int = 0
    attempts: list[dict] = field(default_factory=list)
    """The run's records in the ledger."""
    changes: list[dict] = field(default_factory=list)


def kill_a_batch_half_way(stage: Stage, killed: Killed) -> None:
    """Reconcile many new mailboxes against a slow API, and send one SIGKILL during the run."""
    control = stage.nylas.control
    add_to_roster(stage.folder.warehouse, [{"tenant": "acme", "email": one} for one in CROWD])
    killed.grants_before = len(control.grants())
    control.clear_stats()
    control.add_fault("latency", seconds=4.0, jitter=3.9, match={"path": "/v3/connect/custom"})
    ledger = stage.ledger()

    def meanwhile() -> None:
        if killed.map_index is None:
            _kill_one(stage, ledger, killed)

    killed.tasks = stage.run("reconcile_grants", KILLED_RUN, meanwhile)
    killed.authentications = control.authentications()
    killed.grants = control.grants_by_mailbox()
    killed.attempts = _rows(ledger, "SELECT a.* FROM attempts a")
    killed.changes = _rows(ledger, "SELECT a.* FROM changes a")
    ledger.dispose()


def _kill_one(stage: Stage, ledger: Engine, killed: Killed) -> None:
    """Kill the first batch that has made some of its changes, but not all."""
    states: dict[int, dict[str, set[str]]] = {}
    for row in _rows(
        ledger,
        "SELECT b.batch, a.email, a.state FROM changes a JOIN batches b ON b.run_id = a.run_id"
        " AND a.seq BETWEEN b.first_seq AND b.last_seq",
    ):
        states.setdefault(row["batch"], {}).setdefault(row["state"], set()).add(row["email"])
    half_way = {batch for batch, found in states.items() if {"done", "planned"} <= found.keys()}
    for task in stage.airflow.tasks("reconcile_grants", KILLED_RUN):
        batch = task.map_index + 1
        if task.task_id == "apply" and task.state == "running" and batch in half_way:
            for process in psutil.process_iter(["cmdline"]):
                if "".join(process.info["cmdline"] or ()) == f"airflow worker -- {task.id}":
                    process.kill()
                    killed.map_index = task.map_index
                    killed.done_before = states[batch]["done"]
                    return


def _rows(ledger: Engine, query: str) -> list[dict]:
    """The rows of the killed run; the query calls their table `a`."""
    where = " WHERE a.run_id = (SELECT id FROM runs WHERE key = :key)"
    with ledger.connect() as connection:
        rows = connection.execute(text(query + where), {"key": f"reconcile_grants/{KILLED_RUN}"})
        return [dict(row) for row in rows.mappings()]


@dataclass
class Outlived:
    """What a run left behind whose wait for consent outlived its triggerer."""

    killed: int = 0
    """How many of the triggerer's processes were killed."""
    tasks: list[TaskState] = field(default_factory=list)
    standing: str = ""
    seconds: float = 0.0
    """From the admin's answer to the end of the run."""


def kill_the_triggerer(stage: Stage, outlived: Outlived) -> None:
    """Ask the tenant that refused again, and replace the triggerer during the wait."""
    admins = Admins(stage.airflow, stage.terminal, ASKED_AGAIN, {REFUSED_TENANT: True})
    others: list[subprocess.Popen[bytes]] = []
    answered_at = 0.0

    def meanwhile() -> None:
        nonlocal answered_at
        waits = any(
            task.task_id == "onboard.await_consent" and task.state == "deferred"
            for task in stage.airflow.tasks(ONBOARDING, ASKED_AGAIN)
        )
        if waits and not others:
            others.append(_replace_triggerer(stage, outlived))
            admins.answer()
            answered_at = time.monotonic()

    try:
        conf = {"tenants": [REFUSED_TENANT]}
        outlived.tasks = stage.run(ONBOARDING, ASKED_AGAIN, meanwhile, conf=conf)
        outlived.seconds = time.monotonic() - answered_at
    finally:
        for other in others:
            _end(other)
    ledger = stage.ledger()
    with ledger.connect() as connection:
        query = text("SELECT standing FROM onboarding WHERE tenant = :tenant")
        outlived.standing = connection.execute(query, {"tenant": REFUSED_TENANT}).scalar_one()
    ledger.dispose()


def _replace_triggerer(stage: Stage, outlived: Outlived) -> subprocess.Popen[bytes]:
    """SIGKILL for the triggerer and all it started, then a new one with the same settings."""
    found = [one for one in stage.standalone.processes() if "triggerer" in " ".join(one.cmdline())]
    environment = found[0].environ()
    doomed = {child.pid: child for one in found for child in (one, *one.children(recursive=True))}
    for one in doomed.values():
        one.kill()
    psutil.wait_procs(list(doomed.values()), timeout=10)
    outlived.killed = len(doomed)
    airflow = Path(sys.executable).with_name("airflow")
    with (stage.folder.path / "triggerer.log").open("wb") as output:
        return subprocess.Popen(
            [str(airflow), "triggerer"], env=environment, stdout=output, stderr=output
        )


def _end(triggerer: subprocess.Popen[bytes]) -> None:
    family = psutil.Process(triggerer.pid).children(recursive=True)
    triggerer.send_signal(signal.SIGTERM)
    try:
        triggerer.wait(timeout=30)
    except subprocess.TimeoutExpired:
        triggerer.kill()
        triggerer.wait()
    _, alive = psutil.wait_procs(family, timeout=5)
    for one in alive:
        one.kill()
