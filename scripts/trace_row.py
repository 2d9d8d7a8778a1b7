"""Counts the files of `include/` and `plugins/` that one roster row passes on its way to a grant.

It runs a row of the demo's roster through the real operators, against the stand-in, and notes every
file of the project in which a function is called, from `read_roster` until the grant is in the
ledger. A second row, which Google refuses, shows the files that know what its refusal means: those
that ran and import the table of refusals. The figures are in `docs/architecture.md`.

    python scripts/trace_row.py
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import csv
import json
import os
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulkgrants.ledger.database import Ledger
    from nylas_standin.server import Running

ROOT = Path(__file__).resolve().parent.parent
TRACED = (ROOT / "include" / "bulkgrants", ROOT / "plugins")
SAMPLES = ROOT / "include" / "samples"
GRANTED = "ada.okoro@acme.example.com"
REFUSED = "nobody.at.all@acme.example.com"
MOST_FILES = 30
MOST_KNOWING = 5


@dataclass(frozen=True)
class Trace:
    """The files that one row passed, as paths in the repository, in the order of first use."""

    passed: list[str]
    knowing: list[str]
    """Those of them that import the table of refusals, and the table itself."""


class _Tracer:
    """Notes the files of the project in which a function is called, in every thread."""

    def __init__(self) -> None:
        self.files: dict[str, None] = {}

    def __call__(self, frame: FrameType, _event: str, _argument: object) -> None:
        self.files.setdefault(frame.f_code.co_filename)

    def during(self, work: Callable[[], None]) -> None:
        threading.settrace(self)
        sys.settrace(self)
        try:
            work()
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type] # None ends it, as documented

    def passed(self) -> list[str]:
        inside = [
            path
            for name in self.files
            if (path := Path(name)).is_absolute()
            and any(path.is_relative_to(one) for one in TRACED)
        ]
        return [path.relative_to(ROOT).as_posix() for path in inside]


def trace(email: str) -> Trace:
    """Take one row from `read_roster` to its outcome, with its own Airflow, ledger and stand-in."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(AIRFLOW_HOME=folder, AIRFLOW__CORE__LOAD_EXAMPLES="False")
        # Airflow reads its environment at the first import, so everything is imported after that.
        from nylas_standin.client import Control
        from nylas_standin.config import Config
        from nylas_standin.server import serve_in_thread

        with serve_in_thread(Config()) as standin, Control(standin.base_url) as control:
            control.set_directory({"acme.example.com": [GRANTED]})
            _prepare(Path(folder), standin, email)
            tracer = _Tracer()
            ledger = _reconcile(email, tracer)
            _require_outcome(ledger, email)
    passed = tracer.passed()
    return Trace(passed, [path for path in passed if _knows_refusals(ROOT / path)])


def _prepare(folder: Path, standin: Running, email: str) -> None:
    """Make a warehouse with the tenant and the row, and the connections of a deployment."""
    from nylas_standin.keys import google_key_file

    with sqlite3.connect(folder / "warehouse.db") as warehouse:
        for table in ("tenants", "roster"):
            with (SAMPLES / f"{table}.csv").open(encoding="utf-8", newline="") as file:
                rows = [row for row in csv.DictReader(file) if row["tenant"] == "acme"]
            wanted = [row for row in rows if row.get("email", email) == email] or [
                {**rows[0], "email": email}
            ]
            row = {**wanted[0], **({"canary": ""} if table == "tenants" else {})}
            warehouse.execute(f"CREATE TABLE {table} ({', '.join(row)})")
            marks = ", ".join("?" * len(row))
            warehouse.execute(f"INSERT INTO {table} VALUES ({marks})", list(row.values()))
    nylas = {"host": standin.base_url, "password": standin.api_key}
    connections: dict[str, dict[str, object]] = {
        "nylas_default": {
            "conn_type": "nylas", **nylas, "extra": {"client_id": standin.standin.config.client_id}
        },
        "warehouse": {"conn_type": "sqlite", "host": str(folder / "warehouse.db")},
        "google_acme": {
            "conn_type": "google_cloud_platform",
            "extra": {"keyfile_dict": json.dumps(google_key_file())},
        },
        "google_oauth": {"conn_type": "generic", "login": "client", "password": "client-secret"},
    }  # fmt: skip
    for name, connection in connections.items():
        os.environ[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(connection)
    os.environ["AIRFLOW__BULKGRANTS__GOOGLE_CONNECTOR_CONN_ID"] = "google_oauth"


def _reconcile(email: str, tracer: _Tracer) -> Ledger:
    """Register, open a run, and trace the row from there; returns the ledger."""
    from bulkgrants.model import Mode, RunKind, Selection
    from bulkgrants.ports import utc_now
    from bulkgrants.reconcile.opening import RosterState, open_run
    from bulkgrants_airflow.operators.credentials import (
        ListCredentialsOperator,
        RegisterCredentialOperator,
    )
    from bulkgrants_airflow.operators.reconcile import (
        ApplyBatchOperator,
        ObserveGrantsOperator,
        PlanChangesOperator,
        ReadRosterOperator,
    )
    from bulkgrants_airflow.workspace import Workspace

    for credential in ListCredentialsOperator(task_id="list").execute({}):
        RegisterCredentialOperator(task_id="register", credential=credential).execute({})
    workspace = Workspace.open()
    today = utc_now().date()
    run = open_run(
        workspace.ledger,
        application=workspace.application,
        key=f"trace/{email}",
        kind=RunKind.RECONCILE,
        mode=Mode.APPLY,
        selection=Selection(),
        roster=RosterState(today, today, exact=False, dated=False, newest=None),
        now=utc_now(),
    )

    def work() -> None:
        ReadRosterOperator(task_id="read_roster", run=run.run_id).execute({})
        asyncio.run(ObserveGrantsOperator(task_id="observe_grants", run=run.run_id).aexecute({}))
        for batch in PlanChangesOperator(task_id="plan", run=run.run_id).execute({}):
            asyncio.run(ApplyBatchOperator(task_id="apply", batch=batch).aexecute({}))

    tracer.during(work)
    return workspace.ledger


def _require_outcome(ledger: Ledger, email: str) -> None:
    """Make sure that the row has the outcome that it is traced for."""
    from sqlalchemy import text

    with ledger.connect() as connection:
        found = connection.execute(text("SELECT email, fate FROM fates")).all()
    wanted = "granted" if email == GRANTED else "refused"
    if [tuple(row) for row in found] != [(email, wanted)]:
        raise SystemExit(f"The row of {email} should be {wanted}, but the ledger says {found}.")


def _knows_refusals(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return path.name == "refusals.py" or "bulkgrants.refusals" in imported


def main() -> int:
    """Print both traces as JSON; fail if a row passes too many files."""
    with contextlib.redirect_stdout(sys.stderr):  # keeps Airflow's log lines out of the JSON
        granted, refused = trace(GRANTED), trace(REFUSED)
    found = {
        "granted": granted.passed,
        "refused": refused.passed,
        "knowing what a refusal means": refused.knowing,
    }
    print(
        json.dumps(
            found | {"counts": {name: len(files) for name, files in found.items()}}, indent=2
        )
    )
    return int(len(granted.passed) > MOST_FILES or len(refused.knowing) > MOST_KNOWING)


if __name__ == "__main__":
    sys.exit(main())
