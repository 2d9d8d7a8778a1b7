"""Reads what a report shows about a run from the ledger's records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, select

from bulkgrants.ledger.changes import UNCONSENTED
from bulkgrants.ledger.database import Reading
from bulkgrants.ledger.tables import (
    attempts,
    changes,
    rejects,
    runs,
    skips,
    tenants,
    unreadable_grants,
)
from bulkgrants.model import MADE, ChangeState, Outcome, Run, Verification


@dataclass(frozen=True, slots=True)
class RunRows:
    """The mailboxes and rows that a report lists. The columns of each list are below its name."""

    lost_consent: Sequence[Row[*tuple[object, ...]]]
    """tenant"""
    not_granted: Sequence[Row[*tuple[object, ...]]]
    """tenant, email, outcome, reason, code, message"""
    unexpected: Sequence[Row[*tuple[object, ...]]]
    """tenant, email, reason, message"""
    drift: Sequence[Row[*tuple[object, ...]]]
    """tenant, email, kind"""
    unchecked: Sequence[Row[*tuple[object, ...]]]
    """tenant, email, kind"""
    held: Sequence[Row[*tuple[object, ...]]]
    """tenant, email, grant_id"""
    skipped: Sequence[Row[*tuple[object, ...]]]
    """tenant, email, reason, detail"""
    rejected: Sequence[Row[*tuple[object, ...]]]
    """row_number, tenant, email, sentence"""
    unreadable: Sequence[Row[*tuple[object, ...]]]
    """grant_id, provider, email, fault; empty once another run has listed the grants"""


def planned_counts(connection: Reading, run: Run) -> dict[str, int]:
    """The counts in the run's record; until the run is closed, they are the plan's."""
    counts: dict[str, int] | None = connection.execute(
        select(runs.c.counts).where(runs.c.id == run.run_id)
    ).scalar_one()
    return counts or {}


def applied_counts(connection: Reading, run: Run) -> dict[str, int]:
    """Changes by outcome, or as `held` or `open`; results of reading back; and attempts."""
    mine = changes.c.run_id == run.run_id
    fate = case(
        (changes.c.state == ChangeState.DONE, changes.c.outcome),
        (changes.c.state == ChangeState.HELD, "held"),
        else_="open",
    )
    outcomes = connection.execute(select(fate, func.count()).where(mine).group_by(fate))
    verifications = connection.execute(
        select(changes.c.verified, func.count())
        .where(mine, changes.c.verified.is_not(None))
        .group_by(changes.c.verified)
    )
    made = connection.execute(
        select(func.count()).select_from(attempts).where(attempts.c.run_id == run.run_id)
    ).scalar_one()
    odd = connection.execute(
        select(changes.c.reason, func.count())
        .where(mine, changes.c.outcome.in_(MADE.values()), changes.c.reason != "")
        .group_by(changes.c.reason)
    )
    counted = dict([*outcomes, *verifications, *odd])
    return counted | ({"attempts": made} if made else {})


def run_rows(connection: Reading, run: Run, limit: int) -> RunRows:
    """The rows that a report lists, at most `limit` of each kind."""
    mine = changes.c.run_id == run.run_id
    who = (changes.c.tenant, changes.c.email)

    def rows(query: Select[*tuple[object, ...]]) -> Sequence[Row[*tuple[object, ...]]]:
        return connection.execute(query.limit(limit)).all()

    odd = unreadable_grants.c
    read_back = select(*who, changes.c.kind).where(mine).order_by(changes.c.seq)
    not_granted = changes.c.outcome.in_((Outcome.REFUSED, Outcome.SKIPPED))
    return RunRows(
        lost_consent=rows(
            select(changes.c.tenant)
            .distinct()
            .join(tenants, _of_its_tenant(run))
            .where(mine, UNCONSENTED, tenants.c.awaiting.is_not(None))
            .order_by(changes.c.tenant)
        ),
        not_granted=rows(
            select(*who, changes.c.outcome, changes.c.reason, changes.c.code, changes.c.message)
            .where(mine, not_granted)
            .order_by(changes.c.seq)
        ),
        unexpected=rows(
            select(*who, changes.c.reason, changes.c.message)
            .where(mine, changes.c.outcome.in_(MADE.values()), changes.c.reason != "")
            .order_by(changes.c.seq)
        ),
        drift=rows(read_back.where(changes.c.verified == Verification.DRIFT)),
        unchecked=rows(read_back.where(changes.c.verified == Verification.UNCHECKED)),
        held=rows(
            select(*who, changes.c.grant_id)
            .where(mine, changes.c.state == ChangeState.HELD)
            .order_by(changes.c.seq)
        ),
        skipped=rows(
            select(skips.c.tenant, skips.c.email, skips.c.reason, skips.c.detail)
            .where(skips.c.run_id == run.run_id)
            .order_by(skips.c.reason, skips.c.email)
        ),
        rejected=rows(
            select(rejects.c.row_number, rejects.c.tenant, rejects.c.email, rejects.c.sentence)
            .where(rejects.c.run_id == run.run_id)
            .order_by(rejects.c.row_number)
        ),
        unreadable=rows(
            select(odd.grant_id, odd.provider, odd.email, odd.fault)
            .where(odd.run_id == run.run_id)
            .order_by(odd.id)
        ),
    )


def _of_its_tenant(run: Run) -> ColumnElement[bool]:
    return and_(tenants.c.application == run.application, tenants.c.tenant == changes.c.tenant)
