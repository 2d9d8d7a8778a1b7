"""Makes the plan of a run: candidates in; ordered changes, skips and batches out."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from bulkgrants.ledger import changes, comparison, runs, staging
from bulkgrants.ledger.database import Cell, Ledger
from bulkgrants.ledger.rights import Writing, writing
from bulkgrants.ledger.tenants import standings
from bulkgrants.model import (
    DEFAULT_GRACE,
    Candidate,
    Change,
    ChangeKind,
    ChangeState,
    Circumstances,
    Mode,
    Plan,
    Revoke,
    Run,
    Skip,
    SkipReason,
    Standing,
)
from bulkgrants.reconcile.decide import decide, is_new_orphan

MAX_BATCHES = 1_000
"""Of a plan of any size: Airflow maps a task over at most 1,024 items (docs/airflow.md)."""

_UNKNOWN_TENANT = Standing(
    enabled=True, awaiting=None, quarantined_until=None, quarantine_reason="", grace=DEFAULT_GRACE
)


def plan(ledger: Ledger, run: Run, *, batch_size: int, now: datetime) -> Plan:
    """Compare, decide, and write the changes; a second call returns the same plan.

    Everything is written in one transaction, so a plan that is killed leaves nothing behind. Raises
    Superseded if the run has lost its lease, Unavailable if the staged roster or listing is gone.
    """
    with writing(ledger, run, now) as write:
        if not runs.is_planned(write):
            changes.require_input(write)
            with comparison.compared(write) as compared:
                _write(write, compared, batch_size)
                if run.mode is Mode.APPLY:
                    staging.adopt(write, compared)
                    changes.end_escrow(write, compared)
        return changes.read_plan(write)


def _write(write: Writing[Run], compared: comparison.Compared, batch_size: int) -> None:
    tally, sides, digest = Counter[str](), Counter[str](), hashlib.sha256()
    staging.forget_orphans(write)
    by_tenant = standings(write.connection, write.application)
    seq = 0
    for block in comparison.candidates(write, compared):
        change_rows, skip_rows = list[tuple[Cell, ...]](), list[tuple[Cell, ...]]()
        for candidate in block:
            circumstances = _circumstances(candidate, by_tenant, write.now)
            decision = decide(candidate.desired, candidate.actual, circumstances)
            tally[_label(decision)] += 1
            sides[_side(candidate)] += 1
            if not isinstance(decision, Skip):
                seq += 1
                row = _change_row(candidate, decision)
                digest.update(json.dumps(row).encode() + b"\n")
                state = ChangeState.HELD if isinstance(decision, Revoke) else ChangeState.PLANNED
                change_rows.append((seq, *row, state))
            elif decision.reason is not SkipReason.EQUAL:
                skip_rows.append(_skip_row(candidate, decision))
        changes.add_changes(write, change_rows)
        changes.add_skips(write, skip_rows)
        staging.mark_orphans(write, filter(is_new_orphan, block))
    if write.right.mode is Mode.APPLY:
        planned = seq - tally[ChangeKind.REVOKE]
        changes.add_batches(write, planned, max(batch_size, -(-planned // MAX_BATCHES)))
    counts = _counts(write, tally, sides)
    fingerprint = digest.hexdigest()
    runs.note(write, planned_at=write.now, fingerprint=fingerprint, counts=counts)


def _circumstances(
    candidate: Candidate, by_tenant: Mapping[str, Standing], now: datetime
) -> Circumstances:
    return Circumstances(
        now=now,
        provider=candidate.provider,
        standing=by_tenant.get(candidate.tenant or "", _UNKNOWN_TENANT),
        escrow=candidate.escrow,
        rejected=candidate.rejected,
        unreadable=candidate.unreadable,
        credential_made_anew=candidate.credential_made_anew,
        permissions_changed=candidate.permissions_changed,
        shared_with=candidate.shared_with,
    )


def _side(candidate: Candidate) -> str:
    """Which sides of the comparison have the mailbox."""
    if candidate.desired is None:
        return "api"
    return "roster" if candidate.actual is None else "both"


def _label(decision: Change | Skip) -> str:
    return f"skip:{decision.reason}" if isinstance(decision, Skip) else str(decision.kind)


def _change_row(candidate: Candidate, change: Change) -> tuple[Cell, ...]:
    """The columns of a change that the plan's fingerprint covers.

    They are kind, provider, email, tenant, scopes, credential_id, grant_id.
    """
    who = (candidate.provider, candidate.email, candidate.tenant)
    grant_id = candidate.actual.grant_id if candidate.actual else None
    if isinstance(change, Revoke):
        kept = candidate.actual.scopes if candidate.actual else ""
        return (change.kind, *who, kept, None, grant_id)
    return (change.kind, *who, change.scopes, change.credential_id, grant_id)


def _skip_row(candidate: Candidate, skip: Skip) -> tuple[Cell, ...]:
    grant_id = candidate.actual.grant_id if candidate.actual else None
    who = (candidate.provider, candidate.email, candidate.tenant)
    return (*who, grant_id, skip.reason, skip.detail)


def _counts(write: Writing[Run], tally: Counter[str], sides: Counter[str]) -> dict[str, int]:
    """The decisions' counts and, by subtraction, those of mailboxes that are not candidates."""
    sizes = comparison.totals(write)
    differ, missing, orphans = sides["both"], sides["roster"], sides["api"]
    unchanged = sizes.entries - differ - missing
    unreadable = staging.count_unreadable(write)
    return {
        **dict(sorted(tally.items())),
        "entries": sizes.entries,
        "unchanged": unchanged,
        "foreign": max(0, sizes.grants - unchanged - differ - orphans),
        "rejected": write.right.rejected or 0,
        **({"unreadable": unreadable} if unreadable else {}),
    }
