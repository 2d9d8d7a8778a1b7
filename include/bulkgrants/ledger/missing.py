"""The known grants that a listing lacks: which are listed elsewhere, and which to ask for by id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Select,
    Table,
    and_,
    case,
    delete,
    exists,
    false,
    func,
    or_,
    select,
    true,
    tuple_,
    union,
)

from bulkgrants.ledger import staging
from bulkgrants.ledger.database import temporary_table
from bulkgrants.ledger.rights import Writing
from bulkgrants.ledger.tables import grants, observed, unreadable_grants
from bulkgrants.model import Run


@dataclass(frozen=True, slots=True)
class KnownGrant:
    """A mailbox and the grant that the ledger knows for it."""

    provider: str | None
    """None if an earlier listing showed one that could not be read."""
    email: str
    """Normalised."""
    grant_id: str


@contextmanager
def unlisted_grants(write: Writing[Run]) -> Iterator[Table]:
    """The known grants that the listing lacks, in a temporary table that exists for the block.

    `wanted` says whether we own it, or its mailbox has an entry: a Create would re-authenticate a
    foreign grant under our credential if the listing had only missed it. Grants that the listing
    before showed and that could not be read are not `recorded`; all of them are wanted, as nothing
    else tells that they exist.
    """
    entry = staging.has_entry(grants)
    known = select(
        grants.c.provider,
        grants.c.email,
        grants.c.grant_id,
        entry.label("has_entry"),
        or_(grants.c.owned, entry).label("wanted"),
        true().label("recorded"),
    ).where(staging.unlisted(write.right))
    query = union(known, _unreadable_before(write.right)).subquery("lacking")
    with temporary_table(write.connection, "bulkgrants_unlisted", select(query)) as unlisted:
        yield unlisted


def _unreadable_before(run: Run) -> Select[*tuple[Any, ...]]:
    """Unreadable items of earlier listings about whose mailboxes this listing says nothing."""
    odd, now = unreadable_grants, unreadable_grants.alias("now")
    same_mailbox = and_(
        observed.c.application == run.application,
        observed.c.email == odd.c.email,
        or_(odd.c.provider.is_(None), observed.c.provider == odd.c.provider),
    )
    same_item = and_(
        now.c.run_id == run.run_id,
        or_(now.c.grant_id == odd.c.grant_id, now.c.email == odd.c.email),
    )
    return select(odd.c.provider, odd.c.email, odd.c.grant_id, false(), true(), false()).where(
        staging.read_by_an_earlier_run(run),
        odd.c.grant_id.is_not(None),
        odd.c.email.is_not(None),
        ~exists().where(same_mailbox),
        ~exists().where(same_item),
    )


def follow_aliases(write: Writing[Run], unlisted: Table) -> int:
    """Stage wanted grants that are listed under other addresses under their mailboxes too.

    Nylas may answer an alias with the grant of its primary address, and lists it there. Its id
    tells that it is the same grant. It is staged for each of its mailboxes that has an entry; if
    none has, for the one it is listed under if we own it there, or else for the others. What was
    found is taken out of `unlisted`. Returns by how much the number of staged rows has grown.
    """
    connection = write.connection
    # The grants that moved are few. Found first, they spare SQLite a join over all listed grants,
    # for which it has no index.
    owned = staging.is_recorded().where(grants.c.owned, grants.c.gone_at.is_(None))
    moved = select(
        *observed.c,
        staging.has_entry(observed).label("listed_has_entry"),
        owned.label("listed_owned"),
    ).where(
        observed.c.application == write.application,
        observed.c.grant_id.in_(select(unlisted.c.grant_id).where(unlisted.c.wanted)),
    )
    with (
        temporary_table(connection, "bulkgrants_moved", moved) as listed,
        temporary_table(connection, "bulkgrants_aliases", _aliases(unlisted, listed)) as aliases,
    ):
        columns = [column.name for column in observed.c]
        needed = select(*(aliases.c[name] for name in columns)).where(aliases.c.staged)
        staging_them = observed.insert().from_select(columns, needed)
        staged = connection.execute(staging_them.execution_options(preserve_rowcount=True)).rowcount
        dropped = connection.execute(
            delete(observed).where(
                observed.c.application == write.application,
                tuple_(observed.c.provider, observed.c.email, observed.c.grant_id).in_(
                    select(aliases.c.provider, aliases.c.alias_of, aliases.c.grant_id).where(
                        ~aliases.c.listed_stays
                    )
                ),
            )
        ).rowcount
        found = tuple_(unlisted.c.provider, unlisted.c.email).in_(
            select(aliases.c.provider, aliases.c.email)
        )
        readable_now = and_(
            ~unlisted.c.recorded, unlisted.c.grant_id.in_(select(listed.c.grant_id))
        )
        connection.execute(delete(unlisted).where(or_(found, readable_now)))
    return staged - dropped


def _aliases(unlisted: Table, listed: Table) -> Select[*tuple[Any, ...]]:
    """A row of `observed` for each unlisted mailbox whose grant is listed under another one.

    `staged` says whether it is needed, and `listed_stays` whether the listed row is.
    """
    entries_of_all = func.sum(case((unlisted.c.has_entry, 1), else_=0)).over(
        partition_by=unlisted.c.grant_id
    )
    only_listed = and_(entries_of_all == 0, listed.c.listed_owned)
    listed_stays = or_(listed.c.listed_has_entry, only_listed)
    own = {
        "email": unlisted.c.email,
        "address": case((listed.c.address != "", listed.c.address), else_=listed.c.email),
        "alias_of": listed.c.email,
    }
    return select(
        *(own.get(column.name, listed.c[column.name]).label(column.name) for column in observed.c),
        or_(unlisted.c.has_entry, and_(entries_of_all == 0, ~listed_stays)).label("staged"),
        listed_stays.label("listed_stays"),
    ).join_from(
        unlisted,
        listed,
        and_(
            listed.c.provider == unlisted.c.provider,
            listed.c.grant_id == unlisted.c.grant_id,
            unlisted.c.wanted,
            unlisted.c.recorded,
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
