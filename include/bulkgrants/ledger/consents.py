"""The ledger's records of consents: each link for an admin, its answer, and attempts to answer."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.engine import Row

from bulkgrants.ledger.database import Ledger, reading
from bulkgrants.ledger.rights import Writing
from bulkgrants.ledger.tables import consent_attempts, consents, credentials, tenants
from bulkgrants.model import Consent, ConsentStatus, Hold, OAuthError, Provider

ATTEMPTS_FOR_ONE = 20
"""How many attempts to answer are kept for one consent; later ones are dropped."""
STRAY_ATTEMPTS = 60
"""How many attempts that do not belong to a consent are kept for each hour."""
ATTEMPTS_KEPT = timedelta(days=90)
"""How long attempts that do not belong to a consent are kept."""


def current_credential_id(write: Writing[Hold], credential: str) -> str | None:
    """The id at Nylas of a Microsoft credential, or None if it is not registered."""
    return write.connection.execute(
        select(credentials.c.credential_id).where(
            credentials.c.application == write.application,
            credentials.c.provider == Provider.MICROSOFT,
            credentials.c.name == credential,
        )
    ).scalar()


def request_consent(
    write: Writing[Hold],
    *,
    credential_id: str,
    microsoft_tenant: str,
    redirect_uri: str,
    state_hash: str,
    expires_at: datetime,
    key_id: str = "",
) -> int:
    """Record that a consent is asked for; returns its id. First marks old links as expired.

    A link belongs to the wait in which it is made, even if this process's clock is behind that of
    the process in which the wait began.
    """
    hold, now = write.right, write.now
    since = write.connection.execute(
        select(tenants.c.awaiting_since).where(
            tenants.c.application == hold.application, tenants.c.tenant == hold.tenant
        )
    ).scalar()
    write.connection.execute(
        update(consents)
        .where(
            consents.c.application == hold.application,
            consents.c.tenant == hold.tenant,
            consents.c.status == ConsentStatus.PENDING,
            consents.c.expires_at <= now,
        )
        .values(status=ConsentStatus.EXPIRED)
    )
    made = write.connection.execute(
        insert(consents)
        .values(
            application=hold.application,
            tenant=hold.tenant,
            credential_id=credential_id,
            microsoft_tenant=microsoft_tenant,
            redirect_uri=redirect_uri,
            state_hash=state_hash,
            status=ConsentStatus.PENDING,
            requested_at=max(now, since or now),
            expires_at=expires_at,
            key_id=key_id,
            asked_by=hold.run_key,
        )
        .returning(consents.c.id)
    )
    return int(made.scalar_one())


def asked_consents(ledger: Ledger, application: str, tenant: str, since: datetime) -> list[Consent]:
    """The tenant's consents that were asked for since then, oldest first."""
    statement = (
        select(consents)
        .where(
            consents.c.application == application,
            consents.c.tenant == tenant,
            consents.c.requested_at >= since,
        )
        .order_by(consents.c.id)
    )
    with reading(ledger) as connection:
        return [_consent(row) for row in connection.execute(statement)]


def find_consent(connection: Connection, state_hash: str) -> Consent | None:
    """The consent whose state has this hash, or None."""
    row = connection.execute(
        select(consents).where(consents.c.state_hash == state_hash)
    ).one_or_none()
    return None if row is None else _consent(row)


def given_consent(connection: Connection, consent: Consent) -> Consent | None:
    """The yes of the same tenant that is in force, or None."""
    row = connection.execute(
        select(consents)
        .where(
            consents.c.application == consent.application,
            consents.c.tenant == consent.tenant,
            consents.c.status == ConsentStatus.GIVEN,
        )
        .order_by(consents.c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _consent(row)


def credential_id_of_tenant(connection: Connection, consent: Consent) -> str | None:
    """The id of the credential that the consent's tenant has now."""
    statement = (
        select(credentials.c.credential_id)
        .join(
            tenants,
            (tenants.c.application == credentials.c.application)
            & (tenants.c.provider == credentials.c.provider)
            & (tenants.c.credential == credentials.c.name),
        )
        .where(
            tenants.c.application == consent.application,
            tenants.c.tenant == consent.tenant,
            tenants.c.listed,
        )
    )
    return connection.execute(statement).scalar()


def answer_consent(
    connection: Connection,
    consent_id: int,
    status: ConsentStatus,
    now: datetime,
    *,
    admin_tenant: str = "",
    error: OAuthError | None = None,
) -> bool:
    """Record the admin's answer; returns whether it is the first one, since only that counts."""
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


def note_attempt(
    connection: Connection, consent_id: int | None, verdict: str, detail: str, now: datetime
) -> bool:
    """Keep an attempt, unless there are too many of them; returns whether it was kept.

    The page is public, so without a limit a stranger could fill the ledger.
    """
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


def lose_consents(connection: Connection, application: str, tenant: str) -> None:
    """Record that the provider does not honour the tenant's consent any more."""
    connection.execute(
        update(consents)
        .where(
            consents.c.application == application,
            consents.c.tenant == tenant,
            consents.c.status == ConsentStatus.GIVEN,
        )
        .values(status=ConsentStatus.LOST)
    )


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
        key_id=row.key_id,
        asked_by=row.asked_by,
    )
