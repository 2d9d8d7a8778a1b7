"""Reads what the comparison found: the mailboxes where the two sides differ, as values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, Select, Table, and_, exists, or_, select
from sqlalchemy.engine import Row

from bulkgrants.ledger.runs import Run
from bulkgrants.ledger.tables import escrow, rejects
from bulkgrants.model import Actual, Desired, Escrow, GrantStatus

_BLOCK = 2_000


class Side(StrEnum):
    """Who knows a candidate."""

    BOTH = "both"
    ROSTER = "roster"
    API = "api"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mailbox where roster and grants differ, or where something is due."""

    provider: str
    email: str
    tenant: str | None
    desired: Desired | None
    actual: Actual | None
    escrow: Escrow | None
    rejected: bool

    @property
    def side(self) -> Side:
        """Which side knows the mailbox."""
        if self.desired is None:
            return Side.API
        return Side.ROSTER if self.actual is None else Side.BOTH

    @property
    def freshly_orphaned(self) -> bool:
        """Whether this is the first plan that finds its grant without an entry."""
        if self.desired is not None or self.actual is None or self.rejected:
            return False
        return self.actual.orphan_since is None


def candidates(connection: Connection, run: Run, compared: Table) -> Iterator[list[Candidate]]:
    """The candidates in blocks, in the order in which they are to be worked off.

    Broken grants come first, then missing ones, then other scopes, then orphans. Foreign orphans
    are nobody's business and do not appear; they are counted by `comparison.totals`.
    """
    result = connection.execute(
        _query(run, compared).execution_options(stream_results=True, yield_per=_BLOCK)
    )
    for block in result.partitions(_BLOCK):
        yield [_candidate(row) for row in block]


def _query(run: Run, compared: Table) -> Select[tuple[object, ...]]:
    """What differs, with what else a decision depends on."""
    held_back = and_(
        escrow.c.application == run.application,
        escrow.c.provider == compared.c.provider,
        escrow.c.email == compared.c.email,
    )
    named_in_a_reject = exists().where(
        rejects.c.run_id == run.run_id,
        rejects.c.mailbox == compared.c.email,
        or_(rejects.c.provider.is_(None), rejects.c.provider == compared.c.provider),
    )
    return (
        select(
            compared,
            escrow.c.email.is_not(None).label("in_escrow"),
            escrow.c.reason.label("escrow_reason"),
            escrow.c.due_at,
            and_(compared.c.grant_id.is_not(None), named_in_a_reject).label("rejected"),
        )
        .select_from(compared.join(escrow, held_back, isouter=True))
        .where(compared.c.differs)
        .order_by(
            compared.c.priority,
            compared.c.tenant.nulls_first(),
            compared.c.provider,
            compared.c.email,
        )
    )


def _candidate(row: Row[tuple[object, ...]]) -> Candidate:
    return Candidate(
        provider=row.provider,
        email=row.email,
        tenant=row.tenant,
        desired=Desired(row.tenant, row.desired_scopes, row.desired_credential_id)
        if row.has_entry
        else None,
        actual=Actual(
            grant_id=row.grant_id,
            status=GrantStatus(row.status),
            scopes=row.actual_scopes,
            credential_id=row.actual_credential_id,
            blocked=bool(row.blocked),
            owned=bool(row.owned),
            orphan_since=row.orphan_since,
        )
        if row.grant_id is not None
        else None,
        escrow=Escrow(row.escrow_reason, row.due_at) if row.in_escrow else None,
        rejected=bool(row.rejected),
    )
