"""The comparison, made by the database: it yields the mailboxes where the two sides differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    case,
    exists,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.engine import Row

from bulkgrants.ledger.runs import Run
from bulkgrants.ledger.tables import entries, escrow, grants, rejects
from bulkgrants.model import Actual, Desired, Escrow, GrantStatus, Provider

_BLOCK = 5_000


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


def candidates(connection: Connection, run: Run) -> Iterator[list[Candidate]]:
    """The candidates in blocks, in the order in which they are to be worked off.

    Broken grants come first, then missing ones, then other scopes, then orphans. Foreign orphans
    are nobody's business and do not appear; they are counted by `totals`.
    """
    _spare_disk(connection)
    result = connection.execute(
        comparison(run).execution_options(stream_results=True, yield_per=_BLOCK)
    )
    for block in result.partitions(_BLOCK):
        yield [_candidate(row) for row in block]


@dataclass(frozen=True, slots=True)
class Totals:
    """How many mailboxes each side has, within the run's scope."""

    entries: int
    grants: int


def totals(connection: Connection, run: Run) -> Totals:
    """Sizes of both sides."""
    desired, actual = _desired(run), _actual(run)
    return Totals(
        entries=connection.execute(select(func.count()).select_from(desired)).scalar_one(),
        grants=connection.execute(select(func.count()).select_from(actual)).scalar_one(),
    )


def comparison(run: Run) -> Select[tuple[object, ...]]:
    """The full join of entries and grants, reduced to where they differ."""
    desired, actual = _desired(run), _actual(run)
    same_mailbox = and_(desired.c.provider == actual.c.provider, desired.c.email == actual.c.email)
    provider = func.coalesce(desired.c.provider, actual.c.provider)
    email = func.coalesce(desired.c.email, actual.c.email)
    held_back = and_(
        escrow.c.application == run.application,
        escrow.c.provider == provider,
        escrow.c.email == email,
    )
    tenant = func.coalesce(desired.c.tenant, actual.c.tenant)
    priority = case(
        (desired.c.email.is_(None), 3),
        (actual.c.email.is_(None), 1),
        (actual.c.status == GrantStatus.INVALID, 0),
        else_=2,
    )
    return (
        select(
            provider.label("provider"),
            email.label("email"),
            tenant.label("tenant"),
            desired.c.email.is_not(None).label("has_entry"),
            desired.c.scopes.label("desired_scopes"),
            desired.c.credential_id.label("desired_credential_id"),
            actual.c.grant_id,
            actual.c.status,
            actual.c.scopes.label("actual_scopes"),
            actual.c.credential_id.label("actual_credential_id"),
            actual.c.blocked,
            actual.c.owned,
            actual.c.orphan_since,
            escrow.c.email.is_not(None).label("in_escrow"),
            escrow.c.reason.label("escrow_reason"),
            escrow.c.due_at,
            _named_in_a_reject(run, actual).label("rejected"),
        )
        .select_from(
            desired.join(actual, same_mailbox, full=True).join(escrow, held_back, isouter=True)
        )
        .where(_differ(desired, actual))
        .order_by(priority, tenant, provider, email)
    )


def _differ(desired: FromClause, actual: FromClause) -> ColumnElement[bool]:
    return or_(
        actual.c.email.is_(None),
        and_(desired.c.email.is_(None), actual.c.owned),
        and_(
            desired.c.email.is_not(None),
            or_(
                actual.c.status != GrantStatus.VALID,
                actual.c.blocked,
                actual.c.credential_id.is_distinct_from(desired.c.credential_id),
                and_(
                    desired.c.provider == Provider.GOOGLE,
                    actual.c.scopes != desired.c.scopes,
                ),
            ),
        ),
    )


def _named_in_a_reject(run: Run, actual: FromClause) -> ColumnElement[bool]:
    return exists().where(
        rejects.c.run_id == run.run_id,
        rejects.c.mailbox == actual.c.email,
        or_(rejects.c.provider.is_(None), rejects.c.provider == actual.c.provider),
    )


def _desired(run: Run) -> FromClause:
    return _within(
        select(
            entries.c.provider,
            entries.c.email,
            entries.c.tenant,
            entries.c.scopes,
            entries.c.credential_id,
        ).where(entries.c.application == run.application),
        entries,
        run,
    ).subquery("desired")


def _actual(run: Run) -> FromClause:
    return _within(
        select(
            grants.c.provider,
            grants.c.email,
            grants.c.tenant,
            grants.c.grant_id,
            grants.c.status,
            grants.c.scopes,
            grants.c.credential_id,
            grants.c.blocked,
            grants.c.owned,
            grants.c.orphan_since,
        ).where(grants.c.application == run.application, grants.c.gone_at.is_(None)),
        grants,
        run,
    ).subquery("actual")


def _within(
    query: Select[tuple[object, ...]], side: FromClause, run: Run
) -> Select[tuple[object, ...]]:
    """The part of one side that the run is about.

    A grant goes with its mailbox's entry; without one, with the tenant of its last entry. So a
    filtered run sees no orphan of other tenants, nor a mailbox that has moved to one of them.
    """
    if run.scope.mailbox is not None:
        query = query.where(side.c.email == run.scope.mailbox)
    if run.scope.tenants and side is entries:
        query = query.where(side.c.tenant.in_(run.scope.tenants))
    if run.scope.tenants and side is grants:
        entry = exists().where(
            entries.c.application == run.application,
            entries.c.provider == grants.c.provider,
            entries.c.email == grants.c.email,
        )
        wanted = entry.where(entries.c.tenant.in_(run.scope.tenants))
        query = query.where(or_(wanted, and_(side.c.tenant.in_(run.scope.tenants), ~entry)))
    return query


def _spare_disk(connection: Connection) -> None:
    """Room for the join in PostgreSQL's memory, for this transaction only."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL work_mem = '128MB'"))


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
