"""Grants now: a complete listing is merged in one transaction, writing only what has changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Connection,
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
    update,
)

from bulkgrants.ledger import leases
from bulkgrants.ledger.runs import Run
from bulkgrants.ledger.tables import grants, observed
from bulkgrants.ledger.upserts import upsert
from bulkgrants.model import Grant, GrantStatus

_KEY = ("application", "provider", "email")
_SEEN = ("grant_id", "status", "scopes", "credential_id", "blocked", "created_at", "updated_at")
_TELLING = ("grant_id", "status", "scopes", "credential_id", "blocked", "updated_at")


@dataclass(frozen=True, slots=True)
class Owned:
    """A mailbox and the grant that we have just been given for it."""

    provider: str
    email: str
    """Normalised."""
    tenant: str | None
    grant: Grant


def own(connection: Connection, application: str, granted: Iterable[Owned]) -> None:
    """The grants as Nylas gave them back, ours from now on."""
    rows = [
        {
            "application": application,
            "provider": one.provider,
            "email": one.email,
            "grant_id": one.grant.grant_id,
            "status": one.grant.status,
            "scopes": one.grant.scopes,
            "credential_id": one.grant.credential_id,
            "blocked": one.grant.blocked,
            "created_at": one.grant.created_at,
            "updated_at": one.grant.updated_at,
            "owned": True,
            "tenant": one.tenant,
            "orphan_since": None,
            "gone_at": None,
        }
        for one in granted
    ]
    if not rows:
        return
    statement = upsert(connection, grants)
    new = {name: statement.excluded[name] for name in rows[0] if name not in _KEY}
    connection.execute(statement.on_conflict_do_update(index_elements=list(_KEY), set_=new), rows)


def merge_listing(connection: Connection, run: Run, now: datetime) -> int:
    """Bring `grants` in line with the staged listing; gives the number of mailboxes seen.

    Grants that the listing lacks are marked gone, within the run's scope. A grant under another id
    than before is somebody else's making, so it is no longer owned. Raises Superseded.
    """
    leases.renew(connection, run.lease, now)
    _drop_doubles(connection, run.application)
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
                *(grants.c[name].is_distinct_from(observed.c[name]) for name in _TELLING),
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
    _mark_gone(connection, run, now)
    return connection.execute(
        select(func.count()).select_from(observed).where(observed.c.application == run.application)
    ).scalar_one()


def adopt(connection: Connection, run: Run, compared: Table) -> int:
    """Take into ownership what the roster names and the API grants just so; gives their number.

    Also keeps the tenant of each grant that of its entry, for the day it loses it. `compared` tells
    which they are: it has the columns provider, email, tenant and adoptable.
    """
    named = and_(
        compared.c.adoptable,
        compared.c.provider == grants.c.provider,
        compared.c.email == grants.c.email,
    )
    return connection.execute(
        update(grants)
        .where(grants.c.application == run.application, named)
        .values(owned=True, tenant=compared.c.tenant)
    ).rowcount


def _drop_doubles(connection: Connection, application: str) -> None:
    """One row for each mailbox: the grant that is known, else a valid one, else the newest.

    A page that was read twice brings the same grant twice; two grants for one mailbox are against
    the API's promise (nylas-api.md §6.2), but a promise is not a key.
    """
    mine = observed.c.application == application
    doubles = connection.execute(
        select(observed.c.provider, observed.c.email)
        .where(mine)
        .group_by(observed.c.provider, observed.c.email)
        .having(func.count() > 1)
    ).all()
    for provider, email in doubles:
        known = and_(
            grants.c.application == application,
            grants.c.provider == provider,
            grants.c.email == email,
            grants.c.grant_id == observed.c.grant_id,
        )
        this = and_(mine, observed.c.provider == provider, observed.c.email == email)
        best = connection.execute(
            select(observed)
            .where(this)
            .order_by(
                exists().where(known).desc(),
                (observed.c.status == GrantStatus.VALID).desc(),
                observed.c.updated_at.desc(),
                observed.c.grant_id,
            )
            .limit(1)
        ).one()
        connection.execute(delete(observed).where(this))
        connection.execute(observed.insert().values(**best._mapping))  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping


def _mark_gone(connection: Connection, run: Run, now: datetime) -> None:
    seen = exists().where(*(observed.c[name] == grants.c[name] for name in _KEY))
    connection.execute(
        update(grants)
        .where(
            grants.c.application == run.application,
            grants.c.gone_at.is_(None),
            ~seen,
            *([grants.c.email == run.scope.mailbox] if run.scope.mailbox else []),
        )
        .values(gone_at=literal(now, grants.c.gone_at.type))
    )
