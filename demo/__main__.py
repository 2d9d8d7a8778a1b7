"""`python -m demo` exits with 0 if all is as it should be; `--stay` keeps Airflow running."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from sqlalchemy import Engine

from bulkgrants.model import ChangeKind
from demo import fates
from demo import folder as folders
from demo.airflow import USER, airflow_environment, choose_ports, running_airflow
from demo.folder import Folder, Secrets, leaks, make_secrets
from demo.rest import Airflow, TaskState
from demo.samples import Samples, load_warehouse, mailbox, read_samples
from demo.stage import Stage
from demo.terminal import DemoError, Terminal
from demo.world import ONBOARDING, Admins, running_nylas

REGISTER, RECONCILE = "register_credentials", "reconcile_grants"
FIRST, SECOND = "demo-1", "demo-2"

Epilogue = Callable[[Stage], list[str]]
"""What to do after the story while everything still runs; returns complaints, like the story."""


def main() -> int:
    """Run the program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--stay", action="store_true", help="leave Airflow running until Ctrl-C")
    stay = parser.parse_args().stay
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    return demo(epilogue=_stay if stay else None, login=stay)


def demo(
    *, path: Path = folders.DEFAULT, epilogue: Epilogue | None = None, login: bool = False
) -> int:
    """Run the whole demo; returns the exit code."""
    terminal = Terminal()
    try:
        with folders.fresh(path) as folder:
            samples = read_samples()
            secrets = make_secrets(samples.secret_conn_ids())
            complaints = _play(folder, samples, secrets, terminal, epilogue, login=login)
            found, places = leaks(secrets, folder.path, terminal.everything_said())
    except DemoError as error:
        terminal.say(str(error), "bold red")
        return 1
    except KeyboardInterrupt:
        terminal.say("Interrupted; everything that was started is stopped", "yellow")
        return 130
    if not found:
        terminal.say(f"No key and no secret in {places} places: logs, databases, this terminal")
    return _conclude(terminal, complaints + found)


def _play(
    folder: Folder,
    samples: Samples,
    secrets: Secrets,
    terminal: Terminal,
    epilogue: Epilogue | None,
    *,
    login: bool,
) -> list[str]:
    """Start everything, tell the story, and stop everything; returns complaints."""
    load_warehouse(folder.warehouse, samples)
    terminal.chapter("Start")
    with ExitStack() as stack:
        nylas = stack.enter_context(running_nylas(secrets))
        nylas.prepare_google(samples, secrets)
        terminal.say(f"A stand-in for Nylas listens on {nylas.base_url}")
        ports = choose_ports()
        nylas.prepare_microsoft(f"{ports.base_url}/bulkgrants/consent")
        terminal.say(f"Airflow starts on {ports.base_url}")
        if login:
            terminal.say(f"Log in as {USER} with the password {secrets.password}", "bold")
        environment = airflow_environment(folder, ports, nylas, secrets)
        standalone = stack.enter_context(running_airflow(folder, environment, secrets))
        client = Airflow(ports.base_url, USER, secrets.password)
        airflow = stack.enter_context(closing(client))
        stage = Stage(folder, samples, nylas, standalone, airflow, terminal)
        complaints = _tell(stage)
        if epilogue is not None:
            complaints += epilogue(stage)
        terminal.chapter("The end")
        terminal.say("Stopping Airflow and the stand-in")
    left = standalone.processes()
    return complaints + [f"Process {process.pid} is still alive." for process in left]


def _tell(stage: Stage) -> list[str]:
    """Register, onboard, reconcile, show who got what, and reconcile once more without a change.

    Returns a sentence for each thing that is not as it should be. Raises DemoError.
    """
    terminal, nylas = stage.terminal, stage.nylas
    stage.wait_for_airflow((REGISTER, ONBOARDING, RECONCILE))
    stage.run(REGISTER, FIRST)
    ledger = stage.ledger()
    try:
        known = fates.credential_ids(ledger)
        terminal.say(f"Registered: {', '.join(sorted(known))}")
        nylas.seed(stage.samples, known)
        before = nylas.control.grants_by_mailbox()
        terminal.say(f"Nylas now has {len(before)} grants from before")
        admins = Admins(stage.airflow, terminal, FIRST)
        stage.run(ONBOARDING, FIRST, admins.answer, may_fail=True)  # as one tenant is refused
        complaints = fates.tell_standings(terminal, ledger)
        nylas.control.clear_stats()
        tasks = stage.run(RECONCILE, FIRST)
        complaints += _first(stage, ledger, tasks) + _losses(stage, before)
        complaints += fates.tell_microsoft(terminal, ledger, f"{RECONCILE}/{FIRST}")
        nylas.control.clear_stats()
        stage.run(RECONCILE, SECOND)
        return complaints + _second(stage, ledger)
    finally:
        ledger.dispose()


def _first(stage: Stage, ledger: Engine, tasks: list[TaskState]) -> list[str]:
    """Check that rows got their fates, changes were verified, and no mailbox was called twice."""
    key = f"{RECONCILE}/{FIRST}"
    rows = fates.of_roster_rows(ledger, key, stage.samples)
    orphans = fates.of_orphans(ledger, stage.samples)
    fates.show(stage.terminal, [*rows, *orphans])
    complaints = [
        f"{line.email.strip() or 'a row without address'} ({line.tenant or 'no tenant'}) "
        f"should be {line.expected}, but is {line.fate}."
        for line in (*rows, *orphans)
        if not line.as_expected
    ]
    counts = fates.counts_of(ledger, key)
    done = sum(counts.get(outcome, 0) for outcome in fates.DONE)
    if counts.get("verified") != done:
        complaints.append(f"{done} changes were made, {counts.get('verified', 0)} verified.")
    calls = stage.nylas.control.authentications()
    twice = sorted(one for one, count in calls.items() if count > 1)
    complaints += [f"{one} was authenticated more than once." for one in twice]
    batches = sum(task.task_id == "apply" for task in tasks)
    stage.terminal.say(
        f"{len(rows)} roster rows, {len(orphans)} orphans, {done} changes in {batches} batches"
    )
    return complaints


def _losses(stage: Stage, before: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Complaints about grants that lost their id, and their history, and orphans that changed."""
    after = stage.nylas.control.grants_by_mailbox()
    wanted = {mailbox(row["email"]) for row in stage.samples.roster}
    lost = [one for one in before if after.get(one, {}).get("id") != before[one]["id"]]
    touched = [one for one in before if one not in wanted and after.get(one) != before[one]]
    return [f"The grant of {one} lost its id." for one in lost] + [
        f"The grant of {one}, an orphan, was touched." for one in touched
    ]


def _second(stage: Stage, ledger: Engine) -> list[str]:
    """Check that the second run had nothing to do."""
    counts = fates.counts_of(ledger, f"{RECONCILE}/{SECOND}")
    planned = sum(counts.get(kind, 0) for kind in ChangeKind)
    calls = sum(stage.nylas.control.authentications().values())
    stage.terminal.say(
        f"Reconciled once more: {planned} changes, {calls} mailboxes authenticated, "
        f"{counts.get('unchanged', 0)} as they should be"
    )
    complaints = []
    if planned:
        complaints.append(f"The second reconcile planned {planned} changes instead of none.")
    if calls:
        complaints.append(f"The second reconcile authenticated {calls} mailboxes.")
    return complaints


def _conclude(terminal: Terminal, complaints: list[str]) -> int:
    took = f"in {terminal.seconds:.0f} s"
    if not complaints:
        terminal.say(f"All is as it should be, {took}", "bold green")
        return 0
    for complaint in complaints:
        terminal.say(complaint, "bold red")
    terminal.say(f"{len(complaints)} things are not as they should be, {took}", "bold red")
    return 1


def _stay(stage: Stage) -> list[str]:
    """Wait for Ctrl-C. Raises DemoError if Airflow ends before."""
    stage.terminal.chapter("Airflow is yours")
    stage.terminal.say("Its address and password are above; Ctrl-C stops it", "bold")
    try:
        while True:
            stage.standalone.require_alive()
            time.sleep(1)
    except KeyboardInterrupt:
        return []


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
