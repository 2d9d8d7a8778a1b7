"""Both sides of the comparison in the ledger: the staged roster, and the grants.

Each run stages the whole roster. The grants are kept: a complete listing is staged and then merged
in one transaction, which writes only what has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import (
    ColumnElement,
    Exists,
    FromClause,
    Table,
    and_,
    case,
    delete,
    exists,
    false,
    func,
    literal,
    null,
    or_,
    select,
    tuple_,
    update,
)

from bulkgrants.errors import Unavailable
from bulkgrants.ledger.database import (
    Cell,
    Ledger,
    Reading,
    insert_frame,
    insert_rows,
    reading,
    temporary_table,
    upsert,
)
from bulkgrants.ledger.rights import Writing
from bulkgrants.ledger.tables import (
    entries,
    former_credentials,
    grants,
    observed,
    rejects,
    unreadable_grants,
)
from bulkgrants.model import (
    BatchClaim,
    Candidate,
    Grant,
    GrantStatus,
    Hold,
    RejectReason,
    Run,
    UnreadableGrant,
)
from bulkgrants.text import address_key

if TYPE_CHECKING:
    import pandas as pd

_KEY = ("application", "provider", "email")
_SEEN = (
    *("grant_id", "status", "scopes", "credential_id", "blocked", "created_at", "updated_at"),
    *("address", "alias_of"),
)
_COMPARED = tuple(name for name in _SEEN if name != "created_at")
_REJECT = (
    *("run_id", "row_number", "tenant", "email", "provider", "mailbox", "reason", "sentence"),
)
_DUPLICATES = (RejectReason.DUPLICATE, RejectReason.CONFLICTING_DUPLICATE)
_AT_ONCE = 5_000
_LONGEST_ADDRESS = 500


@dataclass(frozen=True, slots=True)
class Repeated:
    """A staged row whose mailbox is also in other rows, and a summary of all these rows."""

    row_number: int
    tenant: str
    email: str
    provider: str
    contradict: bool
    """Whether the rows of the mailbox differ in tenant, scopes or credential."""
    rows: int
    first: int
    last: int
    """The row numbers of the mailbox's first and last row."""
    a_tenant: str
    z_tenant: str
    """The first and last of their tenants, by name."""
    scopes_differ: bool
    credentials_differ: bool


@dataclass(frozen=True, slots=True)
class Reject:
    """A row of the table `rejects`, without its run."""

    row_number: int
    tenant: str
    email: str
    provider: str | None
    mailbox: str | None
    reason: RejectReason
    sentence: str


def clear_roster(write: Writing[Run]) -> None:
    """Drop what is staged for the application, and the run's rejects from an earlier try."""
    connection = write.connection
    connection.execute(delete(entries).where(entries.c.application == write.application))
    connection.execute(delete(rejects).where(rejects.c.run_id == write.right.run_id))


def stage_entries(write: Writing[Run], frame: pd.DataFrame) -> None:
    """Stage entries; the frame has the columns of the table except the application."""
    if len(frame):
        insert_frame(write.connection, entries, frame.assign(application=write.application))


def stage_rejects(write: Writing[Run], frame: pd.DataFrame) -> None:
    """Record rejected rows; the frame has the columns of the table except the run."""
    if len(frame):
        insert_frame(write.connection, rejects, frame.assign(run_id=write.right.run_id))


def analyze_roster(write: Writing[Run]) -> None:
    """Tell PostgreSQL how many rows are staged.

    Otherwise the search for duplicates and the plan's join expect a table of yesterday's size and
    take ten times as long.
    """
    if write.connection.dialect.name == "postgresql":
        write.connection.execute(sa.text("ANALYZE entries, rejects"))


def count_staged(write: Writing[Run]) -> tuple[int, int]:
    """How many entries are staged for the application, and how many rows the run rejected."""

    def count(condition: ColumnElement[bool]) -> int:
        return write.connection.execute(select(func.count()).where(condition)).scalar_one()

    return (
        count(entries.c.application == write.application),
        count(rejects.c.run_id == write.right.run_id),
    )


def repeated_rows(write: Writing[Run]) -> Iterator[list[Repeated]]:
    """The staged rows to reject because their mailbox is in several rows; in blocks.

    If the rows of a mailbox say the same, all but the first are rejected; if they contradict each
    other, all of them. Rows with the same address and two providers are also about one mailbox,
    because Nylas keeps one grant per address.
    """
    statement = _repeated(write.application).execution_options(yield_per=_AT_ONCE)
    with write.connection.execute(statement) as repeated:
        for part in repeated.partitions():
            yield [Repeated(**row._mapping) for row in part]  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping


def record_rejects(write: Writing[Run], rows: Sequence[Reject]) -> int:
    """Record rejected rows; returns their number."""
    run_id = write.right.run_id
    return insert_rows(
        write.connection,
        rejects,
        _REJECT,
        (
            (run_id, row.row_number, row.tenant, row.email, row.provider, row.mailbox,
             row.reason.value, row.sentence)
            for row in rows
        ),
    )  # fmt: skip


def drop_rejected_duplicates(write: Writing[Run]) -> None:
    """Remove the rows that the run rejected as duplicates from the staged roster."""
    rejected = select(rejects.c.row_number).where(
        rejects.c.run_id == write.right.run_id, rejects.c.reason.in_(_DUPLICATES)
    )
    write.connection.execute(
        delete(entries).where(
            entries.c.application == write.application, entries.c.row_number.in_(rejected)
        )
    )


def _repeated(application: str) -> sa.Select[*tuple[object, ...]]:
    """The rows to reject, each with the summary of its mailbox's rows."""
    own = entries.c.application == application
    credential = func.coalesce(entries.c.credential_id, "")

    def differs(column: ColumnElement[str]) -> ColumnElement[bool]:
        return func.min(column) != func.max(column)

    groups = (
        select(
            entries.c.email,
            func.count().label("rows"),
            func.min(entries.c.row_number).label("first"),
            func.max(entries.c.row_number).label("last"),
            func.min(entries.c.tenant).label("a_tenant"),
            func.max(entries.c.tenant).label("z_tenant"),
            differs(entries.c.scopes).label("scopes_differ"),
            differs(credential).label("credentials_differ"),
        )
        .where(own)
        .group_by(entries.c.email)
        .having(func.count() > 1)
        .subquery()
    )
    contradict = or_(
        groups.c.a_tenant != groups.c.z_tenant, groups.c.scopes_differ, groups.c.credentials_differ
    )
    return (
        select(
            entries.c.row_number,
            entries.c.tenant,
            entries.c.email,
            entries.c.provider,
            contradict.label("contradict"),
            *[column for column in groups.c if column.name != "email"],
        )
        .join(groups, groups.c.email == entries.c.email)
        .where(own, or_(contradict, entries.c.row_number > groups.c.first))
    )


@dataclass(frozen=True, slots=True)
class Owned:
    """A mailbox and the grant that Nylas has just returned for it."""

    provider: str
    email: str
    """Normalised."""
    tenant: str | None
    grant: Grant
    owned: bool = True
    """False for a grant that was there before, and that is not ours."""


def own(write: Writing[BatchClaim] | Writing[Hold], granted: Iterable[Owned]) -> None:
    """Record grants that Nylas has just returned; from now on they are owned."""
    rows = [
        {
            "application": write.application,
            "provider": one.provider,
            "email": one.email,
            "grant_id": one.grant.grant_id,
            "status": one.grant.status,
            "scopes": one.grant.scopes,
            "credential_id": one.grant.credential_id,
            "blocked": one.grant.blocked,
            "created_at": one.grant.created_at,
            "updated_at": one.grant.updated_at,
            "address": _spelling(one.grant, one.email),
            "alias_of": alias_of(one.grant, one.email),
            "owned": one.owned,
            "tenant": one.tenant,
            "orphan_since": None,
            "gone_at": None,
        }
        for one in granted
    ]
    if not rows:
        return
    statement = upsert(write.connection, grants)
    new = {name: statement.excluded[name] for name in rows[0] if name not in _KEY}
    write.connection.execute(
        statement.on_conflict_do_update(index_elements=list(_KEY), set_=new), rows
    )


def address_to_authenticate(
    connection: Reading, run: Run, provider: str, email: str, credential_id: str
) -> str | None:
    """How to spell the mailbox so that authenticating it changes no grant but ours; None if it may.

    It may be authenticated if the run's listing has no grant for it, or one that we own under this
    credential, or a broken one of ours under an id that the credential had before.
    """
    odd, former = unreadable_grants.c, former_credentials.c
    of_the_mailbox = (odd.email == email, or_(odd.provider.is_(None), odd.provider == provider))
    if connection.execute(
        select(exists().where(odd.run_id == run.run_id, *of_the_mailbox))
    ).scalar():
        return None
    made_anew = exists().where(
        former.application == run.application,
        former.provider == provider,
        former.credential_id == grants.c.credential_id,
    )
    row = connection.execute(
        select(
            grants.c.address,
            grants.c.owned,
            or_(
                grants.c.credential_id == credential_id,
                and_(made_anew, grants.c.status == GrantStatus.INVALID),
            ).label("ours"),
        ).where(
            grants.c.application == run.application,
            grants.c.provider == provider,
            grants.c.email == email,
            grants.c.gone_at.is_(None),
        )
    ).one_or_none()
    if row is None:
        return email
    return (row.address or email) if row.owned and row.ours else None


def known_grants(ledger: Ledger, application: str, limit: int) -> list[str]:
    """The ids of owned grants that were there when last looked; the oldest grants first."""
    with reading(ledger) as connection:
        rows = connection.execute(
            select(grants.c.grant_id)
            .where(grants.c.application == application, grants.c.owned, grants.c.gone_at.is_(None))
            .order_by(grants.c.created_at, grants.c.grant_id)
            .limit(limit)
        )
        return list(rows.scalars())


def wanted_credentials(write: Writing[Run]) -> frozenset[str]:
    """The ids of the credentials that the staged roster asks for."""
    mine = entries.c.application == write.application
    rows = write.connection.execute(
        select(entries.c.credential_id).where(mine, entries.c.credential_id.is_not(None)).distinct()
    )
    return frozenset(rows.scalars())


def clear_listing(write: Writing[Run]) -> None:
    """Drop what an earlier, interrupted listing staged.

    The unreadable items of earlier runs stay until this listing is merged: they may be asked for.
    """
    odd = unreadable_grants.c
    connection, application = write.connection, write.application
    connection.execute(delete(observed).where(observed.c.application == application))
    connection.execute(delete(unreadable_grants).where(odd.run_id == write.right.run_id))


def stage_listing(write: Writing[Run], rows: list[tuple[Cell, ...]]) -> int:
    """Stage listed grants; returns their number. `listing_row` makes the rows."""
    columns = ("application", "grant_id", "provider", "email", *_SEEN[1:])
    insert_rows(write.connection, observed, columns, rows)
    return len(rows)


def stage_unreadable(write: Writing[Run], items: Iterable[tuple[UnreadableGrant, str]]) -> int:
    """Stage items that could not be read, each with its normalised address; returns their number.

    The address is empty if it could not be read either.
    """
    return insert_rows(
        write.connection,
        unreadable_grants,
        ("application", "run_id", "grant_id", "provider", "email", "fault"),
        (
            (write.application, write.right.run_id, one.grant_id, one.provider, email or None,
             one.fault)
            for one, email in items
        ),
    )  # fmt: skip


def unreadable_grant(run_id: int, mailbox: FromClause) -> ColumnElement[bool]:
    """The condition that the run's listing has an item about the mailbox that cannot be read.

    An item without a readable provider may be about any mailbox with its address.
    """
    odd = unreadable_grants.c
    return exists().where(
        odd.run_id == run_id,
        odd.email == mailbox.c.email,
        or_(odd.provider.is_(None), odd.provider == mailbox.c.provider),
    )


def read_by_an_earlier_run(run: Run) -> ColumnElement[bool]:
    """The condition that an unreadable item is of an earlier listing, as far as this one goes."""
    odd, mailbox = unreadable_grants.c, run.selection.mailbox
    return and_(
        odd.application == run.application,
        odd.run_id != run.run_id,
        *([odd.email == mailbox] if mailbox else []),
    )


def count_unreadable(write: Writing[Run]) -> int:
    """How many items of the run's listing could not be read."""
    return write.connection.execute(
        select(func.count())
        .select_from(unreadable_grants)
        .where(unreadable_grants.c.run_id == write.right.run_id)
    ).scalar_one()


def listing_row(
    application: str, grant: Grant, email: str, alias_of: str | None = None
) -> tuple[Cell, ...]:
    """A listed grant as a row of `observed`; the addresses are normalised."""
    return (
        application, grant.grant_id, grant.provider, email, grant.status, grant.scopes,
        grant.credential_id, grant.blocked, grant.created_at, grant.updated_at,
        _spelling(grant, email), alias_of,
    )  # fmt: skip


def alias_of(grant: Grant, email: str) -> str | None:
    """The mailbox that the grant is listed under, normalised; None if that is `email` itself."""
    listed_under = address_key(grant.email)
    return None if listed_under in {"", email} else listed_under


def _spelling(grant: Grant, email: str) -> str:
    """The grant's address as Nylas writes it; empty if it is the mailbox's or cannot be stored."""
    shown = grant.email
    storable = shown.isprintable() and len(shown) <= _LONGEST_ADDRESS
    return shown if storable and shown != email else ""


def require_listing(write: Writing[Run], listed: int) -> None:
    """Make sure that all listed grants are still staged. Raises Unavailable.

    Staging is unlogged on PostgreSQL; after a crash of the server all grants would look gone.
    """
    staged = _count_observed(write)
    if staged != listed:
        raise Unavailable(
            f"Of {listed} listed grants, {staged} are still staged in the ledger; list them again."
        )


def merge_listing(write: Writing[Run]) -> int:
    """Bring `grants` in line with the staged listing; returns the number of mailboxes in it.

    Grants in the run's selection that are not in the listing are marked as gone, unless an item
    that could not be read may be about them. A grant with another id than before was made by
    another party, so it is no longer owned. Unreadable items of earlier runs are forgotten.
    """
    connection, run = write.connection, write.right
    known = and_(*(grants.c[name] == observed.c[name] for name in _KEY))
    news = (
        select(
            *(observed.c[name] for name in (*_KEY, *_SEEN)),
            false().label("owned"),
        )
        .select_from(observed.outerjoin(grants, known))
        .where(
            observed.c.application == run.application,
            or_(
                grants.c.email.is_(None),
                grants.c.gone_at.is_not(None),
                *(grants.c[name].is_distinct_from(observed.c[name]) for name in _COMPARED),
            ),
        )
    )
    statement = upsert(connection, grants).from_select([*_KEY, *_SEEN, "owned"], news)
    same_grant = grants.c.grant_id == statement.excluded.grant_id
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(_KEY),
            set_={
                **{name: statement.excluded[name] for name in _SEEN},
                "owned": and_(grants.c.owned, same_grant),
                "orphan_since": case((same_grant, grants.c.orphan_since), else_=null()),
                "gone_at": null(),
            },
        )
    )
    _mark_gone(write)
    connection.execute(delete(unreadable_grants).where(read_by_an_earlier_run(run)))
    return _count_observed(write)


def adopt(write: Writing[Run], compared: Table) -> int:
    """Own the grants that are already as the roster asks; returns their number.

    It also records the tenant of each grant's entry, which is needed once the grant is an orphan.
    `compared` is the comparison's table, with the columns provider, email, tenant and adoptable.
    """
    named = and_(
        compared.c.adoptable,
        compared.c.provider == grants.c.provider,
        compared.c.email == grants.c.email,
    )
    unclear = unreadable_grant(write.right.run_id, grants)
    return write.connection.execute(
        update(grants)
        .where(grants.c.application == write.application, named, ~unclear)
        .values(owned=True, tenant=compared.c.tenant)
    ).rowcount


def is_recorded() -> Exists:
    """The condition that the ledger knows a staged grant, and for the same mailbox."""
    return exists().where(*(grants.c[name] == observed.c[name] for name in (*_KEY, "grant_id")))


def drop_doubles(write: Writing[Run]) -> list[str]:
    """Keep one row for each mailbox: the known grant first, then a valid one, then the newest.

    If a page was read twice, its grants are staged twice. The API promises that a mailbox has one
    grant (docs/nylas-api.md, Grants), but two must not make the merge fail. Returns the addresses
    of mailboxes with two grants or more.
    """
    connection, mine = write.connection, observed.c.application == write.application
    mailbox = (observed.c.provider, observed.c.email)
    doubled = select(*mailbox).where(mine).group_by(*mailbox).having(func.count() > 1)
    place = func.row_number().over(
        partition_by=mailbox,
        order_by=(
            is_recorded().desc(),
            (observed.c.status == GrantStatus.VALID).desc(),
            observed.c.updated_at.desc(),
            observed.c.grant_id,
        ),
    )
    ranked = (
        select(*observed.c, place.label("place"))
        .where(mine, tuple_(*mailbox).in_(doubled))
        .subquery("ranked")
    )
    # kept apart for the moment: the same grant may be staged twice, in rows that do not differ
    with temporary_table(connection, "bulkgrants_doubles", select(ranked)) as doubles:
        several = (
            select(doubles.c.email)
            .group_by(doubles.c.provider, doubles.c.email)
            .having(func.count(doubles.c.grant_id.distinct()) > 1)
            .order_by(doubles.c.email)
        )
        found = list(connection.execute(several).scalars())
        connection.execute(
            delete(observed).where(
                mine, tuple_(*mailbox).in_(select(doubles.c.provider, doubles.c.email))
            )
        )
        columns = [column.name for column in observed.c]
        best = select(*(doubles.c[name] for name in columns)).where(doubles.c.place == 1)
        connection.execute(observed.insert().from_select(columns, best))
    return found


def _count_observed(write: Writing[Run]) -> int:
    return write.connection.execute(
        select(func.count())
        .select_from(observed)
        .where(observed.c.application == write.application)
    ).scalar_one()


def _mark_gone(write: Writing[Run]) -> None:
    write.connection.execute(
        update(grants)
        .where(unlisted(write.right))
        .values(gone_at=literal(write.now, grants.c.gone_at.type))
    )


def _alive(run: Run) -> ColumnElement[bool]:
    """The grants that the ledger knows to exist, as far as the run's listing is about them."""
    mailbox = run.selection.mailbox
    return and_(
        grants.c.application == run.application,
        grants.c.gone_at.is_(None),
        *([grants.c.email == mailbox] if mailbox else []),
    )


def unlisted(run: Run) -> ColumnElement[bool]:
    """Those of them that no item of the listing can be about."""
    odd = unreadable_grants.c
    listed = exists().where(*(observed.c[name] == grants.c[name] for name in _KEY))
    return and_(
        _alive(run),
        ~listed.correlate(grants),
        ~unreadable_grant(run.run_id, grants),
        ~exists().where(odd.run_id == run.run_id, odd.grant_id == grants.c.grant_id),
    )


def count_unlisted(write: Writing[Run]) -> tuple[int, int]:
    """How many known grants the listing may lack, and how many are known at all."""

    def count(table: Table, condition: ColumnElement[bool]) -> int:
        return write.connection.execute(
            select(func.count()).select_from(table).where(condition)
        ).scalar_one()

    run = write.right
    odd = count(unreadable_grants, read_by_an_earlier_run(run))
    return count(grants, unlisted(run)) + odd, count(grants, _alive(run)) + odd


def has_entry(mailbox: FromClause) -> Exists:
    """The condition that the staged roster has the mailbox."""
    return exists().where(*(entries.c[name] == mailbox.c[name] for name in _KEY))


def forget_orphans(write: Writing[Run]) -> None:
    """Clear `orphan_since` of all grants that have an entry again, whatever the run selects."""
    write.connection.execute(
        update(grants)
        .where(
            grants.c.application == write.application,
            grants.c.orphan_since.is_not(None),
            has_entry(grants),
        )
        .values(orphan_since=None)
    )


def mark_orphans(write: Writing[Run], orphans: Iterable[Candidate]) -> None:
    """Record that these grants have no entry from now on."""
    rows = [{"its_provider": one.provider, "its_email": one.email} for one in orphans]
    if rows:
        write.connection.execute(
            update(grants)
            .where(
                grants.c.application == write.application,
                grants.c.provider == sa.bindparam("its_provider"),
                grants.c.email == sa.bindparam("its_email"),
            )
            .values(orphan_since=write.now),
            rows,
        )
