"""The comparison of roster and grants: one SQL join over all of them, which returns few rows.

The database compares, and Python decides about the rows that differ. The join's result is stored
before it is read, for two reasons: PostgreSQL does not use several processes for a join that is
read through a cursor, and SQLite must not join while the plan is being written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Table,
    and_,
    case,
    exists,
    false,
    func,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy.engine import Row

from bulkgrants.ledger.changes import in_escrow
from bulkgrants.ledger.database import temporary_table
from bulkgrants.ledger.rights import Writing
from bulkgrants.ledger.staging import has_entry, unreadable_grant
from bulkgrants.ledger.tables import (
    credentials,
    entries,
    escrow,
    former_credentials,
    grants,
    rejects,
    tenants,
)
from bulkgrants.model import (
    Actual,
    Candidate,
    Desired,
    Escrow,
    GrantStatus,
    Provider,
    Run,
    Selection,
)

Compared: TypeAlias = Table
"""The temporary table of one comparison."""

_NAME = "bulkgrants_compared"
_BLOCK = 2_000
_ROOM = (
    "SET LOCAL work_mem = '128MB'",
    # PostgreSQL expects so many rows from the join that it would not use several processes
    "SET LOCAL parallel_tuple_cost = 0",
    "SET LOCAL jit = off",
)
"""PostgreSQL's settings for the join, in this transaction only."""


@dataclass(frozen=True, slots=True)
class Totals:
    """How many mailboxes each side has, within the run's selection."""

    entries: int
    grants: int


def totals(write: Writing[Run]) -> Totals:
    """The sizes of both sides. The whole roster was counted when it was staged."""
    run = write.right

    def size(side: FromClause) -> int:
        return write.connection.execute(select(func.count()).select_from(side)).scalar_one()

    counted = run.entries if run.selection == Selection() else None
    entries_within = size(_desired(run)) if counted is None else counted
    return Totals(entries_within, size(_actual(run)))


@contextmanager
def compared(write: Writing[Run]) -> Iterator[Compared]:
    """The mailboxes that need attention, in a temporary table that exists for the block.

    Rows with `differs` are candidates. Rows with `adoptable` are exactly as the roster asks, but
    not owned yet, or recorded under another tenant.
    """
    connection, run = write.connection, write.right
    postgresql = connection.dialect.name == "postgresql"
    for setting in _ROOM if postgresql else ():
        connection.execute(text(setting))
    with temporary_table(connection, _NAME, _join(run, full=postgresql)) as table:
        if postgresql:
            connection.execute(text(f"ANALYZE {_NAME}"))
        yield table


def _join(run: Run, *, full: bool) -> Select[tuple[object, ...]]:
    """The full join of entries and grants, reduced to what needs attention.

    For a full join SQLite compares every row with every other, so there it is done in two halves.
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
        actual.c.alias_of.label("alias_of"),
        _priority(desired, actual).label("priority"),
        _permissions_changed(desired, actual).label("permissions_changed"),
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
    """Whether the two sides differ; true or false, never null, even if one side is missing."""
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
                _permissions_changed(desired, actual),
            ),
        ),
    )


def _permissions_changed(desired: FromClause, actual: FromClause) -> ColumnElement[bool]:
    """Whether the tenant's canary has got other permissions since the grant was authenticated.

    The canary's own permissions show what the tenant's admin allows now. Never null.
    """
    return func.coalesce(
        and_(
            actual.c.scopes != desired.c.canary_scopes,
            actual.c.updated_at < desired.c.canary_updated_at,
        ),
        false(),
    )


def _adoptable(desired: FromClause, actual: FromClause) -> ColumnElement[bool]:
    """Whether the grant should be owned and recorded under its entry's tenant.

    It only counts if the two sides do not differ.
    """
    return and_(
        desired.c.credential_id.is_not(None),
        actual.c.email.is_not(None),
        or_(~actual.c.owned, actual.c.tenant.is_distinct_from(desired.c.tenant)),
    )


def _desired(run: Run) -> FromClause:
    canary = _canaries(run)
    return _selected(
        select(
            entries.c.provider,
            entries.c.email,
            entries.c.tenant,
            entries.c.scopes,
            entries.c.credential_id,
            canary.c.scopes.label("canary_scopes"),
            canary.c.updated_at.label("canary_updated_at"),
        )
        .select_from(entries.outerjoin(canary, canary.c.tenant == entries.c.tenant))
        .where(entries.c.application == run.application),
        entries,
        run,
    ).subquery("desired")


def _canaries(run: Run) -> FromClause:
    """The canaries' grants of Microsoft tenants: what each tenant's admin allows."""
    return (
        select(tenants.c.tenant, grants.c.scopes, grants.c.updated_at)
        .join(
            grants,
            and_(
                grants.c.application == tenants.c.application,
                grants.c.provider == tenants.c.provider,
                grants.c.email == tenants.c.canary,
            ),
        )
        .where(
            tenants.c.application == run.application,
            tenants.c.provider == Provider.MICROSOFT,
            grants.c.status == GrantStatus.VALID,
            grants.c.owned,
            grants.c.gone_at.is_(None),
        )
        .subquery("canaries")
    )


def _actual(run: Run) -> FromClause:
    return _selected(
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
            grants.c.updated_at,
            grants.c.alias_of,
        ).where(grants.c.application == run.application, grants.c.gone_at.is_(None)),
        grants,
        run,
    ).subquery("actual")


def _selected(
    query: Select[tuple[object, ...]], side: FromClause, run: Run
) -> Select[tuple[object, ...]]:
    """The part of one side that the run selects.

    A grant belongs to the tenant of its mailbox's entry or, without an entry, to that of its last
    entry. So a run for some tenants sees neither the orphans of other tenants nor mailboxes that
    have moved to them.
    """
    if run.selection.mailbox is not None:
        query = query.where(side.c.email == run.selection.mailbox)
    if run.selection.tenants and side is entries:
        query = query.where(side.c.tenant.in_(run.selection.tenants))
    if run.selection.tenants and side is grants:
        entry = has_entry(grants)
        wanted = entry.where(entries.c.tenant.in_(run.selection.tenants))
        query = query.where(or_(wanted, and_(side.c.tenant.in_(run.selection.tenants), ~entry)))
    return query


def candidates(write: Writing[Run], compared: Compared) -> Iterator[list[Candidate]]:
    """The candidates in blocks, in the order in which they are to be applied.

    Broken grants come first, then missing ones, then other scopes; then, in the same order, the
    mailboxes that were refused before, so that they keep nobody from their turn; then orphans.
    Foreign orphans are left out, because they are not the project's business; `totals` counts them.
    """
    result = write.connection.execute(
        _query(write.right, compared).execution_options(stream_results=True, yield_per=_BLOCK)
    )
    for block in result.partitions(_BLOCK):
        yield [_candidate(row) for row in block]


def _query(run: Run, compared: Table) -> Select[tuple[object, ...]]:
    """The rows that differ, with all other facts that a decision depends on."""
    refused = in_escrow(
        run.application,
        (compared.c.provider, compared.c.email),
        (compared.c.tenant, compared.c.desired_scopes, compared.c.desired_credential_id),
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
            unreadable_grant(run.run_id, compared).label("unreadable"),
            _made_anew(run, compared).label("made_anew"),
            _shared_with(run, compared).label("shared_with"),
        )
        .select_from(compared.join(escrow, refused, isouter=True))
        .where(compared.c.differs)
        .order_by(
            ~compared.c.has_entry,
            escrow.c.email.is_not(None),
            compared.c.priority,
            compared.c.tenant.nulls_first(),
            compared.c.provider,
            compared.c.email,
        )
    )


def _made_anew(run: Run, compared: Table) -> ColumnElement[bool]:
    """Whether the grant carries the former id of the credential that the roster asks for."""
    former, now = former_credentials.c, credentials.c
    return exists().where(
        former.application == run.application,
        former.provider == compared.c.provider,
        former.credential_id == compared.c.actual_credential_id,
        now.application == former.application,
        now.provider == former.provider,
        now.name == former.name,
        now.credential_id == compared.c.desired_credential_id,
    )


def _shared_with(run: Run, compared: Table) -> ColumnElement[str]:
    """The mailbox whose entry decides about the grant, if it is not this one; otherwise null.

    Nylas answers an alias with the grant of its primary address. If several mailboxes have one
    grant, the primary address comes first, then the aliases in their order. A mailbox without an
    entry comes last.
    """
    same = (
        grants.c.application == run.application,
        grants.c.provider == compared.c.provider,
        grants.c.grant_id == compared.c.grant_id,
        grants.c.gone_at.is_(None),
        has_entry(grants),
    )
    primary = select(grants.c.email).where(*same, grants.c.email == compared.c.alias_of)
    first_alias = select(func.min(grants.c.email)).where(
        *same,
        grants.c.alias_of == func.coalesce(compared.c.alias_of, compared.c.email),
        or_(
            ~compared.c.has_entry,
            and_(compared.c.alias_of.is_not(None), grants.c.email < compared.c.email),
        ),
    )
    return func.coalesce(primary.scalar_subquery(), first_alias.scalar_subquery())


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
        unreadable=bool(row.unreadable),
        credential_made_anew=bool(row.made_anew),
        permissions_changed=bool(row.permissions_changed),
        shared_with=row.shared_with,
    )
