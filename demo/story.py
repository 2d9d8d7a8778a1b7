"""The demo's story: register, onboard, reconcile, see who got what, and once more for nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.text import Text
from sqlalchemy import Engine

from bulkgrants.ledger.engine import open_ledger
from bulkgrants.model import ChangeKind, Outcome
from demo import microsoft, watch
from demo.fates import Fate, counts_of, credential_ids, of_orphans, of_roster_rows
from demo.folder import Folder
from demo.nylas import Nylas
from demo.rest import Airflow, TaskState
from demo.samples import Samples, mailbox
from demo.standalone import Standalone
from demo.terminal import Terminal

DAGS = ("register_credentials", microsoft.DAG, "reconcile_grants")
FIRST, SECOND = "demo-1", "demo-2"
_WRITES = {Outcome.GRANTED: "green", Outcome.RENEWED: "green", Outcome.RESCOPED: "green"}


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that the story is played with."""

    folder: Folder
    samples: Samples
    nylas: Nylas
    standalone: Standalone
    airflow: Airflow
    terminal: Terminal

    def run(
        self,
        dag_id: str,
        run_id: str,
        meanwhile: Callable[[], None] | None = None,
        *,
        may_fail: bool = False,
        conf: Mapping[str, object] | None = None,
    ) -> list[TaskState]:
        """One run through Airflow's scheduler, followed to its end. Raises DemoError."""
        return watch.run(
            self.airflow,
            self.standalone,
            self.terminal,
            dag_id=dag_id,
            run_id=run_id,
            meanwhile=meanwhile,
            may_fail=may_fail,
            conf=conf,
        )

    def ledger(self) -> Engine:
        """The ledger that the runs write."""
        return open_ledger(f"sqlite:///{self.folder.ledger}")


def tell(stage: Stage) -> list[str]:
    """Play it; gives a sentence for each thing that is not as it should be. Raises DemoError."""
    terminal, nylas = stage.terminal, stage.nylas
    watch.until_ready(stage.airflow, stage.standalone, DAGS, terminal)
    stage.run("register_credentials", FIRST)
    ledger = stage.ledger()
    try:
        known = credential_ids(ledger)
        terminal.say(f"Registered: {', '.join(sorted(known))}")
        nylas.seed(stage.samples, known)
        before = nylas.grants()
        terminal.say(f"Nylas now has {len(before)} grants from before")
        admins = microsoft.Admins(stage, FIRST)
        stage.run(microsoft.DAG, FIRST, admins.answer, may_fail=True)  # as one tenant is refused
        complaints = microsoft.standings(stage, ledger)
        nylas.count_from_nothing()
        tasks = stage.run("reconcile_grants", FIRST)
        complaints += _first(stage, ledger, tasks) + _losses(stage, before)
        complaints += microsoft.fates(stage, ledger, f"reconcile_grants/{FIRST}")
        nylas.count_from_nothing()
        stage.run("reconcile_grants", SECOND)
        return complaints + _second(stage, ledger)
    finally:
        ledger.dispose()


def _first(stage: Stage, ledger: Engine, tasks: list[TaskState]) -> list[str]:
    key = f"reconcile_grants/{FIRST}"
    fates = of_roster_rows(ledger, key, stage.samples)
    orphans = of_orphans(ledger, stage.samples)
    show(stage.terminal, [*fates, *orphans])
    complaints = [
        f"{line.email.strip() or 'a row without address'} ({line.tenant or 'no tenant'}) "
        f"should be {line.expected}, and is {line.fate}."
        for line in (*fates, *orphans)
        if not line.as_expected
    ]
    counts = counts_of(ledger, key)
    done = sum(counts.get(outcome, 0) for outcome in _WRITES)
    if counts.get("verified") != done:
        complaints.append(f"{done} changes were made, {counts.get('verified', 0)} verified.")
    twice = sorted(one for one, calls in stage.nylas.authentications().items() if calls > 1)
    complaints += [f"{one} was authenticated more than once." for one in twice]
    batches = sum(task.task_id == "apply" for task in tasks)
    stage.terminal.say(
        f"{len(fates)} roster rows, {len(orphans)} orphans, {done} changes in {batches} batches"
    )
    return complaints


def _losses(stage: Stage, before: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Grants that lost their id, and with it their history; and those that nobody may touch."""
    after = stage.nylas.grants()
    wanted = {mailbox(row["email"]) for row in stage.samples.roster}
    lost = [one for one in before if after.get(one, {}).get("id") != before[one]["id"]]
    touched = [one for one in before if one not in wanted and after.get(one) != before[one]]
    return [f"The grant of {one} lost its id." for one in lost] + [
        f"The grant of {one}, an orphan, was touched." for one in touched
    ]


def _second(stage: Stage, ledger: Engine) -> list[str]:
    counts = counts_of(ledger, f"reconcile_grants/{SECOND}")
    planned = sum(counts.get(kind, 0) for kind in ChangeKind)
    calls = sum(stage.nylas.authentications().values())
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


def show(terminal: Terminal, fates: list[Fate]) -> None:
    """The table of who got what, and why."""
    rows = [
        (
            line.tenant,
            line.email.strip(),
            line.before,
            Text(line.fate if line.as_expected else f"{line.fate}!", style=_style(line)),
            line.why,
        )
        for line in fates
    ]
    terminal.table("Who got what, and why", ("tenant", "mailbox", "before", "fate", "why"), rows)


def _style(line: Fate) -> str:
    if not line.as_expected:
        return "bold red"
    return "green" if line.fate in _WRITES else "yellow"
