"""Says what a run did: Markdown for people, counts for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, case, func, select

from bulkgrants.ledger import leases, runs
from bulkgrants.ledger.tables import attempts, changes, rejects, skips, tenants
from bulkgrants.ledger.tables import runs as runs_table
from bulkgrants.model import ChangeKind, Mode, Outcome
from bulkgrants.reconcile.losing import UNCONSENTED
from bulkgrants.reconcile.verify import DRIFT, VERIFIED
from bulkgrants.text import markdown_cell

_MADE = (Outcome.GRANTED, Outcome.RENEWED, Outcome.RESCOPED)
_OUTCOMES = {*Outcome, VERIFIED, DRIFT, "open", "held", "attempts"}
_MODE_WORDS = {Mode.APPLY: "apply", Mode.DRY_RUN: "dry run", Mode.AUDIT: "audit"}
_MODE_PHRASES = {Mode.DRY_RUN: "a dry run", Mode.AUDIT: "an audit"}

_AT_MOST = 50
"""Rows of each list; the ledger has them all."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did."""

    markdown: str
    counts: dict[str, int]
    complete: bool
    """Whether nothing that was to be applied is still open."""
    headline: str
    """One sentence."""


def close_run(engine: Engine, run: runs.Run, now: datetime) -> Report:
    """Write the report into the run's record, close it, and give the lease back.

    Safe to repeat: the report is made anew from the ledger's records.
    """
    with engine.begin() as connection:
        report = _report(connection, run)
        runs.note(
            connection, run.run_id, report=report.markdown, counts=report.counts, closed_at=now
        )
        leases.release(connection, run.lease, now)
    return report


def _report(connection: Connection, run: runs.Run) -> Report:
    counts = _counts(connection, run)
    turned_away = bool(run.mode_reason)
    complete = turned_away or (run.planned_at is not None and not counts.get("open"))
    headline = _headline(run, counts)
    parts = [f"# {markdown_cell(run.key, 120)}", headline, _facts(run)]
    if run.planned_at is not None:
        parts.append(_table("Counts", ("what", "mailboxes"), counts.items()))
    for title, head, rows in _lists(connection, run):
        if rows:
            parts.append(_table(title, head, rows))
    return Report("\n\n".join(parts) + "\n", counts, complete, headline)


def _counts(connection: Connection, run: runs.Run) -> dict[str, int]:
    """The plan's counts, then the outcomes', all of whole mailboxes but `attempts`."""
    planned = connection.execute(
        select(runs_table.c.counts).where(runs_table.c.id == run.run_id)
    ).scalar_one()
    mine = changes.c.run_id == run.run_id
    fate = case(
        (changes.c.state == "done", changes.c.outcome),
        (changes.c.state == "held", "held"),
        else_="open",
    )
    outcomes = connection.execute(select(fate, func.count()).where(mine).group_by(fate))
    verdicts = connection.execute(
        select(changes.c.verified, func.count())
        .where(mine, changes.c.verified.is_not(None))
        .group_by(changes.c.verified)
    )
    made = connection.execute(
        select(func.count()).select_from(attempts).where(attempts.c.run_id == run.run_id)
    ).scalar_one()
    counts = {label: count for label, count in (planned or {}).items() if label not in _OUTCOMES}
    applied = {label: count for label, count in [*outcomes, *verdicts] if _counted(run, label)}
    return counts | applied | ({"attempts": made} if made else {})


def _counted(run: runs.Run, label: str) -> bool:
    """A run that only plans leaves nothing open: it never meant to apply."""
    return label != "open" or run.mode is Mode.APPLY


def _headline(run: runs.Run, counts: dict[str, int]) -> str:
    if run.mode_reason:
        return f"Nothing was written to Nylas. {run.mode_reason}"
    if run.planned_at is None:
        return "Nothing was written to Nylas: the run did not get as far as a plan."
    wanted = sum(counts.get(kind, 0) for kind in ChangeKind if kind is not ChangeKind.REVOKE)
    if run.mode is not Mode.APPLY:
        return f"{wanted} changes planned, none applied: this was {_MODE_PHRASES[run.mode]}."
    made = sum(counts.get(outcome, 0) for outcome in _MADE)
    words = [f"{wanted} changes planned", f"{made} made"]
    words += [f"{counts[word]} {word}" for word in ("refused", "skipped", "open") if word in counts]
    return f"{', '.join(words)}; {counts.get('unchanged', 0)} mailboxes were as they should be."


def _facts(run: runs.Run) -> str:
    scope = "all tenants"
    if run.scope.tenants:
        scope = "tenants " + ", ".join(markdown_cell(name, 60) for name in run.scope.tenants[:20])
    if run.scope.mailbox:
        scope += f", mailbox {markdown_cell(run.scope.mailbox, 120)} only"
    return "\n".join(
        [
            f"- application: `{run.application}`",
            f"- roster: {run.roster_date or 'current table'}",
            f"- mode: {_MODE_WORDS[run.mode]}, {scope}",
            f"- opened: {run.opened_at:%Y-%m-%d %H:%M:%S} UTC",
        ]
    )


def _lists(
    connection: Connection, run: runs.Run
) -> list[tuple[str, tuple[str, ...], Sequence[Row[*tuple[object, ...]]]]]:
    mine = changes.c.run_id == run.run_id
    who = (changes.c.tenant, changes.c.email)
    queries = [
        (
            "Consent lost: onboard_tenants asks the admin again",
            ("tenant",),
            select(changes.c.tenant)
            .distinct()
            .join(tenants, _of_its_tenant(run))
            .where(mine, UNCONSENTED, tenants.c.awaiting.is_not(None))
            .order_by(changes.c.tenant),
        ),
        (
            "Refused or skipped while applying",
            ("tenant", "mailbox", "outcome", "reason"),
            select(*who, changes.c.outcome, changes.c.reason + ": " + changes.c.message)
            .where(mine, changes.c.outcome.in_((Outcome.REFUSED, Outcome.SKIPPED)))
            .order_by(changes.c.seq),
        ),
        (
            "Drift: applied, but not found so afterwards",
            ("tenant", "mailbox", "change"),
            select(*who, changes.c.kind)
            .where(mine, changes.c.verified == DRIFT)
            .order_by(changes.c.seq),
        ),
        (
            "Owned orphans past their grace: held, nothing is deleted",
            ("tenant", "mailbox", "grant"),
            select(*who, changes.c.grant_id)
            .where(mine, changes.c.state == "held")
            .order_by(changes.c.seq),
        ),
        (
            "Skipped with a reason",
            ("tenant", "mailbox", "reason", "detail"),
            select(skips.c.tenant, skips.c.email, skips.c.reason, skips.c.detail)
            .where(skips.c.run_id == run.run_id)
            .order_by(skips.c.reason, skips.c.email),
        ),
        (
            "Rejected roster rows",
            ("row", "tenant", "email", "what to change"),
            select(rejects.c.row_number, rejects.c.tenant, rejects.c.email, rejects.c.sentence)
            .where(rejects.c.run_id == run.run_id)
            .order_by(rejects.c.row_number),
        ),
    ]
    return [
        (title, head, connection.execute(query.limit(_AT_MOST + 1)).all())
        for title, head, query in queries
    ]


def _of_its_tenant(run: runs.Run) -> ColumnElement[bool]:
    return and_(tenants.c.application == run.application, tenants.c.tenant == changes.c.tenant)


def _table(title: str, head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    listed = [[markdown_cell(cell if cell is not None else "") for cell in row] for row in rows]
    head = list(head)
    lines = [head, ["---"] * len(head), *listed[:_AT_MOST]]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    more = "\n\nand more; the ledger has them all." if len(listed) > _AT_MOST else ""
    return f"## {title}\n\n{table}{more}"
