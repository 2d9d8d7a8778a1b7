"""The comparison of roster and grants, as SQL: one join over everything, few rows out of it.

Its rows are written down before they are read, since PostgreSQL shares out the work of a join
among several processes only where no cursor waits for it, and SQLite must not join while we write.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    CreateTableAs,
    FromClause,
    Select,
    Table,
    and_,
    case,
    exists,
    func,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy.schema import DropTable

from bulkgrants.ledger.runs import Run
from bulkgrants.ledger.tables import entries, grants
from bulkgrants.model import GrantStatus, Provider

_NAME = "bulkgrants_compared"
_ROOM = (
    "SET LOCAL work_mem = '128MB'",
    # the join's few rows would be taken for many, too many to be worth handing over
    "SET LOCAL parallel_tuple_cost = 0",
    "SET LOCAL jit = off",
)
"""Settings of PostgreSQL for the join, for this transaction only."""


@dataclass(frozen=True, slots=True)
class Totals:
    """How many mailboxes each side has, within the run's scope."""

    entries: int
    grants: int


def totals(connection: Connection, run: Run) -> Totals:
    """Sizes of both sides; the whole roster was counted when it was staged."""

    def size(side: FromClause) -> int:
        return connection.execute(select(func.count()).select_from(side)).scalar_one()

    counted = run.entries if run.scope.whole else None
    entries_within = size(_desired(run)) if counted is None else counted
    return Totals(entries_within, size(_actual(run)))


@contextmanager
def compared(connection: Connection, run: Run) -> Iterator[Table]:
    """The mailboxes that need attention, as a temporary table for as long as the block.

    Those with `differs` are candidates. Those with `adoptable` are just as the roster wants them,
    but not ours yet, or on record under another tenant.
    """
    postgresql = connection.dialect.name == "postgresql"
    for setting in _ROOM if postgresql else ():
        connection.execute(text(setting))
    making = CreateTableAs(_join(run, full=postgresql), _NAME, temporary=True)
    connection.execute(DropTable(making.table, if_exists=True))
    connection.execute(making)
    if postgresql:
        connection.execute(text(f"ANALYZE {_NAME}"))
    yield making.table
    connection.execute(DropTable(making.table))


def _join(run: Run, *, full: bool) -> Select[tuple[object, ...]]:
    """The full join of entries and grants, reduced to what needs attention.

    SQLite works a full join off by comparing each row with each other, so there it is two halves.
    """
    desired, actual = _desired(run), _actual(run)
    same = and_(desired.c.provider == actual.c.provider, desired.c.email == actual.c.email)
    rows = _rows(desired, actual)
    if full:
        return rows.select_from(desired.join(actual, same, full=True))
    halves = union_all(
        rows.select_from(desired.join(actual, same, isouter=True)),
        rows.select_from(actual.join(desired, same, isouter=True)).where(desired.c.email.is_(None)),
    ).subquery("halves")
    return select(*halves.c)


def _rows(desired: FromClause, actual: FromClause) -> Select[tuple[object, ...]]:
    differs, adoptable = _differ(desired, actual), _adoptable(desired, actual)
    return select(
        func.coalesce(desired.c.provider, actual.c.provider).label("provider"),
        func.coalesce(desired.c.email, actual.c.email).label("email"),
        func.coalesce(desired.c.tenant, actual.c.tenant).label("tenant"),
        desired.c.email.is_not(None).label("has_entry"),
        desired.c.scopes.label("desired_scopes"),
        desired.c.credential_id.label("desired_credential_id"),
        actual.c.grant_id.label("grant_id"),
        actual.c.status.label("status"),
        actual.c.scopes.label("actual_scopes"),
        actual.c.credential_id.label("actual_credential_id"),
        actual.c.blocked.label("blocked"),
        actual.c.owned.label("owned"),
        actual.c.orphan_since.label("orphan_since"),
        _priority(desired, actual).label("priority"),
        differs.label("differs"),
        and_(~differs, adoptable).label("adoptable"),
    ).where(or_(differs, adoptable))


def _priority(desired: FromClause, actual: FromClause) -> ColumnElement[int]:
    """Broken grants first, then missing ones, then other scopes, then orphans."""
    return case(
        (desired.c.email.is_(None), 3),
        (actual.c.email.is_(None), 1),
        (actual.c.status == GrantStatus.INVALID, 0),
        else_=2,
    )


def _differ(desired: FromClause, actual: FromClause) -> ColumnElement[bool]:
    """True or false, never null, whichever side is missing."""
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


def _adoptable(desired: FromClause, actual: FromClause) -> ColumnElement[bool]:
    """What, unless the two sides differ, is to become ours, and its tenant's."""
    return and_(
        desired.c.credential_id.is_not(None),
        actual.c.email.is_not(None),
        or_(~actual.c.owned, actual.c.tenant.is_distinct_from(desired.c.tenant)),
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
