"""Loses the tenants whose consent is honoured no more, so that their admins are asked again."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, Engine, and_, case, func, or_, select

from bulkgrants.errors import Refusal
from bulkgrants.ledger import consents, onboarding
from bulkgrants.ledger.tables import changes, tenants
from bulkgrants.model import Outcome
from bulkgrants.reconcile.outcomes import SUCCESS
from bulkgrants.reconcile.queue import Claim, require_claim

_log = logging.getLogger(__name__)

UNCONSENTED = and_(
    changes.c.outcome == Outcome.REFUSED,
    changes.c.reason == Refusal.CONSENT_MISSING,
)
"""Says of a change that it was refused since the tenant's consent is missing."""


def lose(connection: Connection, application: str, lost: Iterable[str]) -> list[str]:
    """Let these tenants await another consent; gives those that were ready until now.

    A Google tenant has no consent to lose, and stays ready. No grant is touched, neither in the
    ledger nor at Nylas.
    """
    found = [one for one in lost if onboarding.lose(connection, application, one)]
    for tenant in found:
        consents.lose(connection, application, tenant)
    return found


def say(lost: Iterable[str]) -> None:
    """Tell whoever reads the log what has happened, and what follows."""
    for tenant in lost:
        _log.warning(
            "Tenant %s has lost its admin's consent: Microsoft refuses its mailboxes for want of "
            "it. Its grants are left as they are, and onboard_tenants will ask the admin again.",
            tenant,
        )


def lose_ungranted(engine: Engine, claim: Claim, now: datetime) -> None:
    """Lose the tenants that this batch refused for want of consent, without a single grant.

    A small tenant never reaches the refusals in a row of `tally`. What happened before the tenant
    was last ready is no evidence: a batch may be taken up again after a new consent. Safe to
    repeat. Raises Superseded.
    """
    with engine.begin() as connection:
        require_claim(connection, claim, now)
        lost = lose(connection, claim.run.application, _ungranted(connection, claim))
    say(lost)


def _ungranted(connection: Connection, claim: Claim) -> list[str]:
    made = changes.c.outcome.in_(list(SUCCESS.values()))
    query = (
        select(changes.c.tenant)
        .join(
            tenants,
            and_(
                tenants.c.application == claim.run.application,
                tenants.c.tenant == changes.c.tenant,
            ),
        )
        .where(
            changes.c.run_id == claim.run.run_id,
            changes.c.seq.between(claim.first_seq, claim.last_seq),
            tenants.c.awaiting.is_(None),
            or_(tenants.c.ready_at.is_(None), changes.c.done_at >= tenants.c.ready_at),
        )
        .group_by(changes.c.tenant)
        .having(func.count(case((UNCONSENTED, 1))) > 0, func.count(case((made, 1))) == 0)
        .order_by(changes.c.tenant)
    )
    return list(connection.execute(query).scalars())
