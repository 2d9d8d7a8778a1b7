"""How far each tenant has come on its way to ready, and which run is taking it there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, Engine, and_, func, or_, select, update
from sqlalchemy.engine import Row

from bulkgrants.errors import Misconfigured, Superseded
from bulkgrants.ledger.engine import reading
from bulkgrants.ledger.tables import tenants
from bulkgrants.model import Awaiting, Provider

CLAIM_TERM = timedelta(hours=6)
"""How long a run that has fallen silent keeps others from its tenant. While it waits it says so far
more often; once it has failed, this is how long the tenant rests before the next try."""


class Stop(StrEnum):
    """Why a tenant is not taken up again until a person asks for it by name."""

    REFUSED = "refused"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Onboarding:
    """A tenant on its way to ready."""

    application: str
    tenant: str
    provider: Provider
    credential: str
    secret_conn_id: str
    microsoft_tenant: str
    canary: str
    scopes: str
    """What is asked for each grant; empty for Microsoft."""
    required: str
    """What the canary's grant must carry."""
    consent_scopes: str
    azure_manifest: str
    awaiting: Awaiting | None
    """None once it is ready."""
    since: datetime | None
    """Since when it has been waited for; None once it is ready."""
    stop: Stop | None
    wanted: bool
    """Whether the tenants table still names it, and has it enabled."""


def take_up(
    connection: Connection,
    application: str,
    run_key: str,
    now: datetime,
    *,
    names: Collection[str] = (),
    limit: int = 1000,
) -> list[Onboarding]:
    """Claim the tenants that are not ready, at most `limit`, for the run with this key.

    Without names: those that no other run holds and that nobody has stopped. A person who names
    tenants gets each of these that is not ready, whoever holds it, and their wait begins anew; the
    run that held one ends by itself, as Superseded.
    """
    mine = [tenants.c.application == application, tenants.c.listed, tenants.c.enabled]
    waiting = tenants.c.awaiting.is_not(None)
    if names:
        fresh = tenants.c.claimed_by.is_distinct_from(run_key)
        wanted = and_(*mine, waiting, tenants.c.tenant.in_(list(names)))
        _begin_anew(connection, and_(wanted, fresh), now)
    else:
        free = or_(tenants.c.claimed_by == run_key, _free(now))
        wanted = and_(*mine, waiting, tenants.c.stopped == "", free)
    chosen = connection.execute(
        select(tenants.c.tenant)
        .where(wanted)
        .order_by(tenants.c.tenant)
        .limit(limit)
        .with_for_update()
    ).scalars()
    mapped = and_(tenants.c.application == application, tenants.c.tenant.in_(list(chosen)))
    connection.execute(
        update(tenants)
        .where(mapped)
        .values(
            claimed_by=run_key,
            claimed_until=now + CLAIM_TERM,
            awaiting_since=func.coalesce(tenants.c.awaiting_since, now),
        )
    )
    rows = connection.execute(select(tenants).where(mapped).order_by(tenants.c.tenant))
    return [_onboarding(row) for row in rows]


def read_onboarding(engine: Engine, application: str, tenant: str) -> Onboarding:
    """The tenant as it stands. Raises Misconfigured where the ledger has none of that name."""
    with reading(engine).connect() as connection:
        row = connection.execute(select(tenants).where(_this(application, tenant))).one_or_none()
    if row is None:
        raise Misconfigured(
            f"The ledger knows no tenant '{tenant}'; its connection points to another ledger than "
            "when the tenant was taken up. Set it back, or start a new run."
        )
    return _onboarding(row)


def keep_claim(
    connection: Connection, application: str, tenant: str, run_key: str, now: datetime
) -> None:
    """Say that the run is still at it. Raises Superseded where another one has taken over.

    What nobody holds is taken: by a task that a person has cleared, or that was away for too long.
    """
    free = or_(tenants.c.claimed_by == run_key, _free(now))
    kept = connection.execute(
        update(tenants)
        .where(_this(application, tenant), free)
        .values(claimed_by=run_key, claimed_until=now + CLAIM_TERM)
    ).rowcount
    if not kept:
        raise Superseded(
            f"The tenant {tenant} is in the hands of another run by now; this run leaves it alone."
        )


def begin_anew(connection: Connection, application: str, tenant: str, now: datetime) -> None:
    """A person asks for the tenant again: what came of the earlier wait counts no more."""
    _begin_anew(connection, _this(application, tenant), now)


def consented(connection: Connection, application: str, tenant: str, now: datetime) -> None:
    """The admin has said yes; without effect on a tenant that does not wait for it."""
    connection.execute(
        update(tenants)
        .where(_this(application, tenant), tenants.c.awaiting == Awaiting.CONSENT)
        .values(awaiting=Awaiting.PROPAGATION, awaiting_since=now, stopped="")
    )


def stop(connection: Connection, application: str, tenant: str, why: Stop) -> None:
    """Take the tenant up no more, until a person asks for it."""
    connection.execute(
        update(tenants)
        .where(_this(application, tenant), tenants.c.awaiting == Awaiting.CONSENT)
        .values(stopped=why, claimed_by=None, claimed_until=None)
    )


def ready(connection: Connection, application: str, tenant: str, now: datetime) -> None:
    """The canary's grant carries all it must: from now on the tenant is reconciled."""
    connection.execute(
        update(tenants)
        .where(_this(application, tenant), tenants.c.awaiting == Awaiting.PROPAGATION)
        .values(
            awaiting=None,
            awaiting_since=None,
            stopped="",
            ready_at=now,
            quarantined_until=None,
            quarantine_reason="",
        )
    )


def let_go(connection: Connection, application: str, tenant: str, run_key: str) -> None:
    """The run has nothing more to do for the tenant; without effect where another one holds it."""
    connection.execute(
        update(tenants)
        .where(_this(application, tenant), tenants.c.claimed_by == run_key)
        .values(claimed_by=None, claimed_until=None)
    )


def lose(connection: Connection, application: str, tenant: str) -> bool:
    """The consent of a ready tenant is gone: it awaits another one. Tells whether it was ready.

    Its grants are left as they are: deleting is final, and a new consent may bring them back.
    """
    lost = connection.execute(
        update(tenants)
        .where(
            _this(application, tenant),
            tenants.c.provider == Provider.MICROSOFT,
            tenants.c.awaiting.is_(None),
        )
        .values(awaiting=Awaiting.CONSENT, awaiting_since=None, stopped="", ready_at=None)
    )
    return bool(lost.rowcount)


def _begin_anew(connection: Connection, which: ColumnElement[bool], now: datetime) -> None:
    connection.execute(update(tenants).where(which).values(awaiting_since=now, stopped=""))


def _free(now: datetime) -> ColumnElement[bool]:
    return or_(tenants.c.claimed_by.is_(None), tenants.c.claimed_until <= now)


def _this(application: str, tenant: str) -> ColumnElement[bool]:
    return and_(tenants.c.application == application, tenants.c.tenant == tenant)


def _onboarding(row: Row[tuple[object, ...]]) -> Onboarding:
    return Onboarding(
        application=row.application,
        tenant=row.tenant,
        provider=Provider(row.provider),
        credential=row.credential,
        secret_conn_id=row.secret_conn_id,
        microsoft_tenant=row.microsoft_tenant,
        canary=row.canary,
        scopes=row.scopes,
        required=row.required_scopes,
        consent_scopes=row.consent_scopes,
        azure_manifest=row.azure_manifest,
        awaiting=Awaiting(row.awaiting) if row.awaiting else None,
        since=row.awaiting_since,
        stop=Stop(row.stopped) if row.stopped else None,
        wanted=row.listed and row.enabled,
    )
