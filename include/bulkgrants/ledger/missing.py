"""The known grants that a listing lacks: which are listed elsewhere, and which to ask for by id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Table,
    and_,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
)

from bulkgrants.ledger import staging
from bulkgrants.ledger.database import temporary_table
from bulkgrants.ledger.rights import Writing
from bulkgrants.ledger.tables import entries, grants, observed
from bulkgrants.model import Run


@dataclass(frozen=True, slots=True)
class KnownGrant:
    """A mailbox and the grant that the ledger knows for it."""

    provider: str
    email: str
    """Normalised."""
    grant_id: str


@contextmanager
def unlisted_grants(write: Writing[Run]) -> Iterator[Table]:
    """The known grants that the listing lacks, in a temporary table that exists for the block.

    `wanted` says whether we own it, or its mailbox has an entry: a Create would re-authenticate a
    foreign grant under our credential if the listing had only missed it.
    """
    entry = _has_entry(grants)
    query = select(
        grants.c.provider,
        grants.c.email,
        grants.c.grant_id,
        entry.label("has_entry"),
        or_(grants.c.owned, entry).label("wanted"),
    ).where(staging.unlisted(write.right))
    with temporary_table(write.connection, "bulkgrants_unlisted", query) as unlisted:
        yield unlisted


def _has_entry(mailbox: FromClause) -> ColumnElement[bool]:
    return exists().where(
        entries.c.application == mailbox.c.application,
        entries.c.provider == mailbox.c.provider,
        entries.c.email == mailbox.c.email,
    )


def follow_aliases(write: Writing[Run], unlisted: Table) -> int:
    """Stage wanted grants that are listed under other addresses under their mailboxes too.

    Nylas may answer an alias with the grant of its primary address, and lists it there. Its id
    tells that it is the same grant. It is not staged for a mailbox without an entry while another
    row of the roster needs it; and the listed row is dropped if the roster does not have its
    mailbox. What was found is taken out of `unlisted`. Returns by how much the number of staged
    rows has grown.
    """
    connection = write.connection
    # The grants that moved are few. Found first, they spare SQLite a join over all listed grants,
    # for which it has no index.
    moved = select(*observed.c, _has_entry(observed).label("listed_has_entry")).where(
        observed.c.application == write.application,
        observed.c.grant_id.in_(select(unlisted.c.grant_id).where(unlisted.c.wanted)),
    )
    with (
        temporary_table(connection, "bulkgrants_moved", moved) as listed,
        temporary_table(connection, "bulkgrants_aliases", _aliases(unlisted, listed)) as aliases,
    ):
        columns = [column.name for column in observed.c]
        needed = select(*(aliases.c[name] for name in columns)).where(
            or_(aliases.c.has_entry, ~aliases.c.needed_elsewhere)
        )
        staging_them = observed.insert().from_select(columns, needed)
        staged = connection.execute(staging_them.execution_options(preserve_rowcount=True)).rowcount
        dropped = connection.execute(
            delete(observed).where(
                observed.c.application == write.application,
                tuple_(observed.c.provider, observed.c.email, observed.c.grant_id).in_(
                    select(aliases.c.provider, aliases.c.alias_of, aliases.c.grant_id).where(
                        ~aliases.c.listed_has_entry
                    )
                ),
            )
        ).rowcount
        found = select(aliases.c.provider, aliases.c.email)
        connection.execute(
            delete(unlisted).where(tuple_(unlisted.c.provider, unlisted.c.email).in_(found))
        )
    return staged - dropped


def _aliases(unlisted: Table, listed: Table) -> Select[*tuple[Any, ...]]:
    """A row of `observed` for each unlisted mailbox whose grant is listed under another one.

    `needed_elsewhere` says whether another mailbox that has the grant has an entry.
    """
    entry_of_any = func.max(case((unlisted.c.has_entry, 1), else_=0)).over(
        partition_by=unlisted.c.grant_id
    )
    own = {
        "email": unlisted.c.email,
        "address": case((listed.c.address != "", listed.c.address), else_=listed.c.email),
        "alias_of": listed.c.email,
    }
    return select(
        *(own.get(column.name, listed.c[column.name]).label(column.name) for column in observed.c),
        unlisted.c.has_entry,
        listed.c.listed_has_entry,
        or_(listed.c.listed_has_entry, entry_of_any == 1).label("needed_elsewhere"),
    ).join_from(
        unlisted,
        listed,
        and_(
            listed.c.provider == unlisted.c.provider,
            listed.c.grant_id == unlisted.c.grant_id,
            unlisted.c.wanted,
        ),
    )


def count(write: Writing[Run], unlisted: Table) -> int:
    """How many grants of the table are left."""
    return write.connection.execute(select(func.count()).select_from(unlisted)).scalar_one()


def to_ask_for(write: Writing[Run], unlisted: Table, limit: int) -> tuple[int, list[KnownGrant]]:
    """How many grants must be asked for before they are called gone, and the first `limit`."""
    number = write.connection.execute(
        select(func.count()).select_from(unlisted).where(unlisted.c.wanted)
    ).scalar_one()
    rows = write.connection.execute(
        select(unlisted.c.provider, unlisted.c.email, unlisted.c.grant_id)
        .where(unlisted.c.wanted)
        .order_by(unlisted.c.provider, unlisted.c.email)
        .limit(limit)
    )
    return number, [KnownGrant(*row) for row in rows]
