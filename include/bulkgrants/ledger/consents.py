"""The consents that were asked for, what came back, and every attempt to answer one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.engine import Row

from bulkgrants.ledger.tables import consent_attempts, consents

ATTEMPTS_FOR_ONE = 20
"""How many attempts are kept for one consent; those beyond leave no trace but a line in the log."""
STRAY_ATTEMPTS = 60
"""How many attempts that belong to no consent are kept for one hour."""
ATTEMPTS_KEPT = timedelta(days=90)
"""How long attempts that belong to no consent are kept."""


class ConsentStatus(StrEnum):
    """What has become of a consent that was asked for."""

    PENDING = "pending"
    GIVEN = "given"
    REFUSED = "refused"
    EXPIRED = "expired"
    """Its link was replaced by another one before it was answered."""
    LOST = "lost"
    """It was given, and is honoured no more."""


@dataclass(frozen=True, slots=True)
class OAuthError:
    """The four fields of an OAuth error, and Nylas' number; bounded, as the redirect had them."""

    error: str = ""
    error_code: str = ""
    error_description: str = ""
    error_uri: str = ""


@dataclass(frozen=True, slots=True)
class Consent:
    """One consent that was asked for: one link."""

    consent_id: int
    application: str
    tenant: str
    credential_id: str
    microsoft_tenant: str
    redirect_uri: str
    state_hash: str
    status: ConsentStatus
    requested_at: datetime
    expires_at: datetime
    answered_at: datetime | None
    error: OAuthError


def request(
    connection: Connection,
    *,
    application: str,
    tenant: str,
    credential_id: str,
    microsoft_tenant: str,
    redirect_uri: str,
    state_hash: str,
    requested_at: datetime,
    expires_at: datetime,
) -> int:
    """Record that a consent is asked for; gives its id."""
    made = connection.execute(
        insert(consents)
        .values(
            application=application,
            tenant=tenant,
            credential_id=credential_id,
            microsoft_tenant=microsoft_tenant,
            redirect_uri=redirect_uri,
            state_hash=state_hash,
            status=ConsentStatus.PENDING,
            requested_at=requested_at,
            expires_at=expires_at,
        )
        .returning(consents.c.id)
    )
    return int(made.scalar_one())


def find(connection: Connection, state_hash: str) -> Consent | None:
    """The consent whose state has this hash, or None."""
    row = connection.execute(
        select(consents).where(consents.c.state_hash == state_hash)
    ).one_or_none()
    return None if row is None else _consent(row)


def asked(connection: Connection, application: str, tenant: str, since: datetime) -> list[Consent]:
    """The tenant's consents that were asked for since a moment, oldest first."""
    rows = connection.execute(
        select(consents)
        .where(
            consents.c.application == application,
            consents.c.tenant == tenant,
            consents.c.requested_at >= since,
        )
        .order_by(consents.c.id)
    )
    return [_consent(row) for row in rows]


def answer(
    connection: Connection,
    consent_id: int,
    status: ConsentStatus,
    now: datetime,
    *,
    admin_tenant: str = "",
    error: OAuthError | None = None,
) -> bool:
    """Record the admin's answer; tells whether it is the first one, which alone counts."""
    error = error or OAuthError()
    return bool(
        connection.execute(
            update(consents)
            .where(consents.c.id == consent_id, consents.c.status == ConsentStatus.PENDING)
            .values(
                status=status,
                answered_at=now,
                admin_tenant=admin_tenant,
                error=error.error,
                error_code=error.error_code,
                error_description=error.error_description,
                error_uri=error.error_uri,
            )
        ).rowcount
    )


def expire(connection: Connection, application: str, tenant: str, now: datetime) -> None:
    """Mark the tenant's links that nobody answered in time."""
    connection.execute(
        update(consents)
        .where(
            consents.c.application == application,
            consents.c.tenant == tenant,
            consents.c.status == ConsentStatus.PENDING,
            consents.c.expires_at <= now,
        )
        .values(status=ConsentStatus.EXPIRED)
    )


def lose(connection: Connection, application: str, tenant: str) -> None:
    """What the tenant's admin gave is honoured no more."""
    connection.execute(
        update(consents)
        .where(
            consents.c.application == application,
            consents.c.tenant == tenant,
            consents.c.status == ConsentStatus.GIVEN,
        )
        .values(status=ConsentStatus.LOST)
    )


def note_attempt(
    connection: Connection, consent_id: int | None, verdict: str, detail: str, now: datetime
) -> bool:
    """Keep an attempt, within bounds that no stranger can fill; tells whether it was kept."""
    mine = consent_attempts.c.consent_id.is_not_distinct_from(consent_id)
    count = select(func.count()).select_from(consent_attempts).where(mine)
    if consent_id is None:
        old = consent_attempts.c.at < now - ATTEMPTS_KEPT
        connection.execute(delete(consent_attempts).where(mine, old))
        count = count.where(consent_attempts.c.at > now - timedelta(hours=1))
    if connection.execute(count).scalar_one() >= (
        STRAY_ATTEMPTS if consent_id is None else ATTEMPTS_FOR_ONE
    ):
        return False
    connection.execute(
        insert(consent_attempts).values(
            consent_id=consent_id, at=now, verdict=verdict, detail=detail
        )
    )
    return True


def _consent(row: Row[tuple[object, ...]]) -> Consent:
    return Consent(
        consent_id=row.id,
        application=row.application,
        tenant=row.tenant,
        credential_id=row.credential_id,
        microsoft_tenant=row.microsoft_tenant,
        redirect_uri=row.redirect_uri,
        state_hash=row.state_hash,
        status=ConsentStatus(row.status),
        requested_at=row.requested_at,
        expires_at=row.expires_at,
        answered_at=row.answered_at,
        error=OAuthError(row.error, row.error_code, row.error_description, row.error_uri),
    )
