"""Looks whether a consent that is waited for was answered; asked every few seconds, and cheap."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, and_, exists, not_, or_, select

from bulkgrants.errors import Superseded
from bulkgrants.ledger.consents import ConsentStatus
from bulkgrants.ledger.engine import reading
from bulkgrants.ledger.onboarding import CLAIM_TERM, keep_claim
from bulkgrants.ledger.tables import consents, tenants
from bulkgrants.model import Awaiting

_ANSWERS = (ConsentStatus.GIVEN, ConsentStatus.REFUSED)


def is_answered(
    engine: Engine, application: str, tenant: str, *, run_key: str, now: datetime
) -> bool:
    """Whether whoever waits should look: an answer, another run, or a tenant that is no more.

    Renews the run's claim when half of it is over, and writes nothing else.
    """
    answered = exists().where(
        consents.c.application == tenants.c.application,
        consents.c.tenant == tenants.c.tenant,
        consents.c.requested_at >= tenants.c.awaiting_since,
        consents.c.status.in_(_ANSWERS),
    )
    moved_on = or_(
        tenants.c.awaiting.is_distinct_from(Awaiting.CONSENT),
        not_(and_(tenants.c.listed, tenants.c.enabled)),
        tenants.c.claimed_by.is_distinct_from(run_key),
        answered,
    )
    with reading(engine).connect() as connection:
        row = connection.execute(
            select(moved_on.label("moved_on"), tenants.c.claimed_until).where(
                tenants.c.application == application, tenants.c.tenant == tenant
            )
        ).one_or_none()
    if row is None or row.moved_on:
        return True
    if row.claimed_until - now < CLAIM_TERM / 2:
        try:
            with engine.begin() as connection:
                keep_claim(connection, application, tenant, run_key, now)
        except Superseded:
            return True
    return False
