"""Kills the triggerer while a tenant's consent is waited for, and starts another one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import text

from demo import microsoft
from demo.rest import TaskState
from demo.story import Stage

RUN = "asked-again"
TENANT = "elm"


@dataclass
class Outlived:
    """What a test wants to know of it."""

    killed: int = 0
    """How many processes of the triggerer were killed."""
    tasks: list[TaskState] = field(default_factory=list)
    standing: str = ""
    seconds: float = 0.0
    """From the admin's answer to the end of the run."""


def kill_the_triggerer(stage: Stage, outlived: Outlived) -> None:
    """Ask the tenant that refused once more; its wait outlives its triggerer."""
    admins = microsoft.Admins(stage, RUN, {TENANT: True})
    others: list[subprocess.Popen[bytes]] = []
    answered_at = 0.0

    def meanwhile() -> None:
        nonlocal answered_at
        waits = any(
            task.task_id == "onboard.await_consent" and task.state == "deferred"
            for task in stage.airflow.tasks(microsoft.DAG, RUN)
        )
        if waits and not others:
            others.append(_another(stage, outlived))
            admins.answer()
            answered_at = time.monotonic()

    try:
        conf = {"tenants": [TENANT]}
        outlived.tasks = stage.run(microsoft.DAG, RUN, meanwhile, conf=conf)
        outlived.seconds = time.monotonic() - answered_at
    finally:
        for other in others:
            _end(other)
    ledger = stage.ledger()
    with ledger.connect() as connection:
        query = text("SELECT standing FROM onboarding WHERE tenant = :tenant")
        outlived.standing = connection.execute(query, {"tenant": TENANT}).scalar_one()
    ledger.dispose()


def _another(stage: Stage, outlived: Outlived) -> subprocess.Popen[bytes]:
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
