"""Says what a run did: Markdown for people, counts for programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from bulkgrants.ledger import reports, runs
from bulkgrants.ledger.database import Ledger, Reading
from bulkgrants.model import MADE, ChangeKind, ChangeState, Mode, Outcome, Run, Verification
from bulkgrants.text import markdown_cell

_APPLIED = {*Outcome, *Verification, "open", ChangeState.HELD, "attempts"}
_MODE_WORDS = {Mode.APPLY: "apply", Mode.DRY_RUN: "dry run", Mode.AUDIT: "audit"}
_MODE_PHRASES = {Mode.DRY_RUN: "a dry run", Mode.AUDIT: "an audit"}

Cells: TypeAlias = tuple[object, ...]

_AT_MOST = 50
"""Rows of each list; the ledger has them all."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did."""

    markdown: str
    counts: dict[str, int]
    complete: bool
    """Whether no change that should have been applied is still open."""
    headline: str
    """One sentence."""


def close_run(ledger: Ledger, run: Run, now: datetime) -> Report:
    """Write the report into the run's record, close the run, and release the lease.

    Safe to repeat: each call makes the report from the ledger's records.
    """
    with runs.closing(ledger, run) as connection:
        report = _report(connection, run)
        runs.write_report(connection, run, now, report=report.markdown, counts=report.counts)
    return report


def _report(connection: Reading, run: Run) -> Report:
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


def _counts(connection: Reading, run: Run) -> dict[str, int]:
    """The plan's counts, then those of the outcomes. They count mailboxes, except `attempts`."""
    planned = reports.planned_counts(connection, run)
    applied = reports.applied_counts(connection, run)
    if run.mode is not Mode.APPLY:
        applied.pop("open", None)  # a run that only plans leaves nothing open
    return {label: count for label, count in planned.items() if label not in _APPLIED} | applied


def _headline(run: Run, counts: dict[str, int]) -> str:
    if run.mode_reason:
        return f"Nothing was written to Nylas. {run.mode_reason}"
    if run.planned_at is None:
        return "Nothing was written to Nylas: the run ended before it had a plan."
    wanted = sum(counts.get(kind, 0) for kind in ChangeKind if kind is not ChangeKind.REVOKE)
    if run.mode is not Mode.APPLY:
        return f"{wanted} changes planned, none applied: this was {_MODE_PHRASES[run.mode]}."
    made = sum(counts.get(outcome, 0) for outcome in MADE.values())
    words = [f"{wanted} changes planned", f"{made} made"]
    words += [f"{counts[word]} {word}" for word in ("refused", "skipped", "open") if word in counts]
    return f"{', '.join(words)}; {counts.get('unchanged', 0)} mailboxes were as they should be."


def _facts(run: Run) -> str:
    selected = "all tenants"
    if run.selection.tenants:
        selected = "tenants " + ", ".join(
            markdown_cell(name, 60) for name in run.selection.tenants[:20]
        )
    if run.selection.mailbox:
        selected += f", mailbox {markdown_cell(run.selection.mailbox, 120)} only"
    note = [f"- listing: {markdown_cell(run.listing_note, 400)}"] if run.listing_note else []
    return "\n".join(
        [
            f"- application: `{run.application}`",
            f"- roster: {run.roster_date or 'current table'}",
            f"- mode: {_MODE_WORDS[run.mode]}, {selected}",
            f"- opened: {run.opened_at:%Y-%m-%d %H:%M:%S} UTC",
            *note,
        ]
    )


def _lists(connection: Reading, run: Run) -> list[tuple[str, tuple[str, ...], list[Cells]]]:
    """The title, head and rows of each list; one row more than is shown tells if there are more."""
    rows = reports.run_rows(connection, run, _AT_MOST + 1)
    return [
        (
            "Consent lost: onboard_tenants asks the admin again",
            ("tenant",),
            [tuple(row) for row in rows.lost_consent],
        ),
        (
            "Refused or skipped while applying",
            ("tenant", "mailbox", "outcome", "reason", "what was said"),
            [
                (row.tenant, row.email, row.outcome, row.reason, row.message)
                for row in rows.not_granted
            ],
        ),
        (
            "Answered with another grant or another address",
            ("tenant", "mailbox", "reason", "what was said"),
            [tuple(row) for row in rows.unexpected],
        ),
        (
            "Drift: applied, but not found so afterwards",
            ("tenant", "mailbox", "change"),
            [tuple(row) for row in rows.drift],
        ),
        (
            "Applied, but not read back: no listing shows them, and they are too many to ask for",
            ("tenant", "mailbox", "change"),
            [tuple(row) for row in rows.unchecked],
        ),
        (
            "Owned orphans past their grace: held, nothing is deleted",
            ("tenant", "mailbox", "grant"),
            [tuple(row) for row in rows.held],
        ),
        (
            "Skipped with a reason",
            ("tenant", "mailbox", "reason", "detail"),
            [tuple(row) for row in rows.skipped],
        ),
        (
            "Rejected roster rows",
            ("row", "tenant", "email", "what to change"),
            [tuple(row) for row in rows.rejected],
        ),
        (
            "Items of the listing that could not be read: their mailboxes are left alone",
            ("grant", "provider", "mailbox", "what is wrong"),
            [tuple(row) for row in rows.unreadable],
        ),
    ]


def _table(title: str, head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    listed = [[markdown_cell(cell if cell is not None else "") for cell in row] for row in rows]
    head = list(head)
    lines = [head, ["---"] * len(head), *listed[:_AT_MOST]]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    more = "\n\nThere are more; the ledger has them all." if len(listed) > _AT_MOST else ""
    return f"## {title}\n\n{table}{more}"
