"""Orders what is to be done: candidates in; changes, skips and batches out, all at once."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, Table, bindparam, exists, func, insert, select, update

from bulkgrants.errors import Unavailable
from bulkgrants.ledger import leases, runs, tables
from bulkgrants.ledger.bulk import Cell, insert_rows
from bulkgrants.ledger.grants import adopt
from bulkgrants.ledger.tables import batches, changes, entries, grants, skips
from bulkgrants.ledger.tenants import DEFAULT_GRACE, standings
from bulkgrants.model import Change, Circumstances, Mode, Revoke, Skip, SkipReason, Standing
from bulkgrants.reconcile.comparison import compared, totals
from bulkgrants.reconcile.decide import decide
from bulkgrants.reconcile.diff import Candidate, Side, candidates

MAX_BATCHES = 1_000
"""However large the plan: Airflow maps over at most 1,024 items (airflow-3.3.md §7)."""

_CHANGE = (
    "run_id", "seq", "kind", "provider", "email", "tenant", "scopes", "credential_id",
    "grant_id", "state", "message",
)  # fmt: skip
_SKIP = ("run_id", "provider", "email", "tenant", "grant_id", "reason", "detail")
_UNKNOWN_TENANT = Standing(
    enabled=True, awaiting=None, quarantined_until=None, quarantine_reason="", grace=DEFAULT_GRACE
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as the tasks that follow need it; its rows are in the ledger."""

    run_id: int
    batches: tuple[int, ...]
    """Numbers of the batches to apply; none for a dry run."""
    fingerprint: str
    """SHA-256 over the ordered changes; the same changes give the same fingerprint."""
    counts: dict[str, int]
    """How many mailboxes fared how: a change's kind, `skip:` with its reason, or a state."""


def plan(engine: Engine, run: runs.Run, *, batch_size: int, now: datetime) -> Plan:
    """Compare, decide, and write the work queue; a second call gives the same plan back.

    Everything is written in one transaction, so a killed plan leaves nothing. Raises Superseded
    for a run that has lost its lease, Unavailable where the staged roster or the listing is gone.
    """
    with engine.begin() as connection:
        known = connection.execute(
            select(tables.runs.c.planned_at)
            .where(tables.runs.c.id == run.run_id)
            .with_for_update(key_share=True)  # foreign keys to it are no concern of ours
        ).scalar_one()
        leases.renew(connection, run.lease, now)
        if known is None:
            _require_input(connection, run)
            with compared(connection, run) as rows:
                _write(connection, run, rows, batch_size, now)
                if run.mode is Mode.APPLY:
                    adopt(connection, run, rows)
        return _read(connection, run)


def _require_input(connection: Connection, run: runs.Run) -> None:
    """Refuse to plan from staging that is gone.

    It is unlogged on PostgreSQL: after a crash of the server it would look like an empty roster,
    and every grant like an orphan.
    """
    staged = connection.execute(
        select(func.count()).select_from(entries).where(entries.c.application == run.application)
    ).scalar_one()
    if run.entries is None or run.observed is None or staged != run.entries:
        raise Unavailable(
            f"The staged roster of run {run.key} is incomplete ({staged} of {run.entries} "
            "entries); clear the task that reads the roster, with everything downstream."
        )


def _write(
    connection: Connection, run: runs.Run, rows: Table, batch_size: int, now: datetime
) -> None:
    tally, digest = Counter[str](), hashlib.sha256()
    _forget_orphans(connection, run)
    by_tenant = standings(connection, run.application)
    seq = 0
    for block in candidates(connection, run, rows):
        change_rows, skip_rows = list[tuple[Cell, ...]](), list[tuple[Cell, ...]]()
        for candidate in block:
            circumstances = _circumstances(candidate, by_tenant, now)
            decision = decide(candidate.desired, candidate.actual, circumstances)
            tally[_label(decision)] += 1
            tally[candidate.side] += 1
            if not isinstance(decision, Skip):
                seq += 1
                row = _change_row(run.run_id, seq, candidate, decision)
                digest.update(json.dumps(row[2:9]).encode() + b"\n")
                change_rows.append(row)
            elif decision.reason is not SkipReason.EQUAL:
                skip_rows.append(_skip_row(run.run_id, candidate, decision))
        insert_rows(connection, changes, _CHANGE, change_rows)
        insert_rows(connection, skips, _SKIP, skip_rows)
        _mark_orphans(connection, run, block, now)
    counts = _counts(connection, run, tally)
    _make_batches(connection, run, seq - tally["revoke"], batch_size)
    runs.note(connection, run.run_id, planned_at=now, fingerprint=digest.hexdigest(), counts=counts)


def _circumstances(
    candidate: Candidate, by_tenant: Mapping[str, Standing], now: datetime
) -> Circumstances:
    return Circumstances(
        now=now,
        provider=candidate.provider,
        standing=by_tenant.get(candidate.tenant or "", _UNKNOWN_TENANT),
        escrow=candidate.escrow,
        rejected=candidate.rejected,
    )


def _label(decision: Change | Skip) -> str:
    return f"skip:{decision.reason}" if isinstance(decision, Skip) else str(decision.kind)


def _change_row(run_id: int, seq: int, candidate: Candidate, change: Change) -> tuple[Cell, ...]:
    who = (candidate.provider, candidate.email, candidate.tenant)
    grant_id = candidate.actual.grant_id if candidate.actual else None
    if isinstance(change, Revoke):
        kept = candidate.actual.scopes if candidate.actual else ""
        return (run_id, seq, change.kind, *who, kept, None, grant_id, "held", "")
    return (
        run_id, seq, change.kind, *who, change.scopes, change.credential_id, grant_id,
        "planned", "",
    )  # fmt: skip


def _skip_row(run_id: int, candidate: Candidate, skip: Skip) -> tuple[Cell, ...]:
    grant_id = candidate.actual.grant_id if candidate.actual else None
    return (
        run_id, candidate.provider, candidate.email, candidate.tenant, grant_id,
        skip.reason, skip.detail,
    )  # fmt: skip


def _counts(connection: Connection, run: runs.Run, tally: Counter[str]) -> dict[str, int]:
    """The tally, and by subtraction the mailboxes that never became candidates."""
    sizes = totals(connection, run)
    differ, missing, orphans = (tally.pop(side, 0) for side in Side)
    unchanged = sizes.entries - differ - missing
    return {
        **{label: count for label, count in sorted(tally.items()) if count},
        "entries": sizes.entries,
        "unchanged": unchanged,
        "foreign": max(0, sizes.grants - unchanged - differ - orphans),
        "rejected": run.rejected or 0,
    }


def _forget_orphans(connection: Connection, run: runs.Run) -> None:
    """A grant that has an entry again is no orphan, whatever this run is about."""
    has_entry = exists().where(
        entries.c.application == run.application,
        entries.c.provider == grants.c.provider,
        entries.c.email == grants.c.email,
    )
    connection.execute(
        update(grants)
        .where(
            grants.c.application == run.application, grants.c.orphan_since.is_not(None), has_entry
        )
        .values(orphan_since=None)
    )


def _mark_orphans(
    connection: Connection, run: runs.Run, block: list[Candidate], now: datetime
) -> None:
    """Remember since when a grant has been without an entry."""
    fresh = [
        {"its_provider": candidate.provider, "its_email": candidate.email}
        for candidate in block
        if candidate.freshly_orphaned
    ]
    if fresh:
        connection.execute(
            update(grants)
            .where(
                grants.c.application == run.application,
                grants.c.provider == bindparam("its_provider"),
                grants.c.email == bindparam("its_email"),
            )
            .values(orphan_since=now),
            fresh,
        )


def _make_batches(connection: Connection, run: runs.Run, planned: int, batch_size: int) -> None:
    """Equal shares of the planned changes; the held ones come last in the order and stay out."""
    if run.mode is not Mode.APPLY or planned == 0:
        return
    size = max(batch_size, -(-planned // MAX_BATCHES))
    connection.execute(
        insert(batches),
        [
            {
                "run_id": run.run_id,
                "batch": number,
                "first_seq": first,
                "last_seq": min(first + size - 1, planned),
                "claim": 0,
            }
            for number, first in enumerate(range(1, planned + 1, size), start=1)
        ],
    )


def _read(connection: Connection, run: runs.Run) -> Plan:
    row = connection.execute(
        select(tables.runs.c.fingerprint, tables.runs.c.counts).where(
            tables.runs.c.id == run.run_id
        )
    ).one()
    numbers = connection.execute(
        select(batches.c.batch).where(batches.c.run_id == run.run_id).order_by(batches.c.batch)
    ).scalars()
    return Plan(run.run_id, tuple(numbers), row.fingerprint, dict(row.counts))
