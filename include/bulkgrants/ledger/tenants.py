"""The ledger's records of tenants and of the credentials that they use."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    false,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.engine import Row

from bulkgrants.ledger.database import Ledger, Reading, insert_unless_there, reading, upsert
from bulkgrants.ledger.rights import Writing
from bulkgrants.ledger.tables import consents, credentials, escrow, former_credentials, tenants
from bulkgrants.model import (
    COMMON,
    QUARANTINE,
    Anew,
    Awaiting,
    BatchClaim,
    ConsentStatus,
    CredentialType,
    Place,
    Provider,
    RegisteredCredential,
    Run,
    Standing,
    Stop,
    Tenant,
)
from bulkgrants.text import is_guid, split_scopes

_SETTINGS = (
    "provider",
    "credential",
    "secret_conn_id",
    "scopes",
    "grace_seconds",
    "enabled",
    "listed",
    "microsoft_tenant",
    "canary",
    "required_scopes",
    "consent_scopes",
    "azure_manifest",
)


def lock_tenants(
    connection: Connection, application: str, names: Collection[str] | None = None
) -> None:
    """Lock tenants, all or those of the names, before several of them are written.

    All writers lock them in the order of their names, so that no two wait for each other.
    """
    statement = select(tenants.c.tenant).where(tenants.c.application == application)
    if names is not None:
        statement = statement.where(tenants.c.tenant.in_(names))
    connection.execute(statement.order_by(tenants.c.tenant).with_for_update()).all()


def record_tenants(write: Writing[Run], listed: Iterable[Tenant]) -> None:
    """Bring the recorded tenants in line with the tenants table, for a run that has read it.

    Tenants that are not in the table are kept, as not listed. `place_anew` says what changed
    settings mean for a tenant's onboarding, and `first_awaits` what a new tenant awaits.
    """
    write_settings(write.connection, write.application, listed)


def write_settings(connection: Connection, application: str, listed: Iterable[Tenant]) -> None:
    """`record_tenants` for onboarding, which does not hold a right before it has read the table."""
    lock_tenants(connection, application)
    known = connection.execute(select(tenants).where(tenants.c.application == application)).all()
    before = {row.tenant: (_settings(row), _place(row)) for row in known}
    connection.execute(
        update(tenants).where(tenants.c.application == application).values(listed=False)
    )
    listed = sorted(listed, key=lambda tenant: tenant.tenant)
    rows = [
        {
            "application": application,
            "tenant": tenant.tenant,
            "provider": tenant.provider,
            "credential": tenant.credential,
            "secret_conn_id": tenant.secret_conn_id,
            "scopes": tenant.scopes,
            "grace_seconds": int(tenant.grace.total_seconds()),
            "enabled": tenant.enabled,
            "listed": True,
            "microsoft_tenant": tenant.microsoft_tenant,
            "canary": tenant.canary,
            "required_scopes": tenant.required,
            "consent_scopes": tenant.consent_scopes,
            "azure_manifest": tenant.azure_manifest,
            "awaiting": first_awaits(tenant),
            "quarantine_reason": "",
        }
        for tenant in listed
    ]
    if not rows:
        return
    statement = upsert(connection, tenants)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["application", "tenant"],
            set_={name: statement.excluded[name] for name in _SETTINGS},
        ),
        rows,
    )
    for tenant in listed:
        if tenant.tenant in before:
            anew = place_anew(*before[tenant.tenant], tenant)
            if anew is not None:
                _begin_anew(connection, application, tenant.tenant, anew)


def first_awaits(tenant: Tenant) -> Awaiting | None:
    """What a new tenant awaits.

    At Microsoft it is the consent of its admin. At Google it is the propagation of its delegation
    if the tenant has a canary to probe; without one it is ready at once.
    """
    if tenant.provider is Provider.MICROSOFT:
        return Awaiting.CONSENT
    return Awaiting.PROPAGATION if tenant.canary else None


def place_anew(before: Tenant, place: Place, after: Tenant) -> Anew | None:
    """Where the onboarding goes on when settings `before` become `after`; None if it stays.

    What was shown for the old settings need not hold for the new ones. If it may hold, the canary
    shows it again (propagation). If it cannot, the admin is asked (consent).
    """
    if after.provider is not before.provider:
        return Anew(first_awaits(after), unasked=True)
    awaiting, microsoft = place.awaiting, after.provider is Provider.MICROSOFT
    if microsoft and after.microsoft_tenant != before.microsoft_tenant:
        same = _may_be_same(before.microsoft_tenant, after.microsoft_tenant)
        if awaiting is Awaiting.CONSENT or not same:
            return Anew(Awaiting.CONSENT, unasked=True)
        return Anew(Awaiting.PROPAGATION)
    if awaiting is Awaiting.PROPAGATION and not microsoft and not after.canary:
        return Anew(None)  # there is nothing to probe, as for a new tenant
    probed = microsoft or bool(after.canary)
    if awaiting is not Awaiting.CONSENT and probed and _asks_for_more(before, after):
        return Anew(Awaiting.PROPAGATION)
    if awaiting is not None and not place.active and after.enabled:
        return Anew(awaiting, None if place.stop is Stop.EXPIRED else place.stop)
    return None


def _may_be_same(before: str, after: str) -> bool:
    """Whether two names may be of one organisation at Microsoft.

    `common` and an empty cell stand for any, and an id may belong to a domain.
    """
    if {before, after} & {"", COMMON}:
        return True
    return is_guid(before) != is_guid(after)


def _asks_for_more(before: Tenant, after: Tenant) -> bool:
    """Whether scopes are required that were not before; a row of an old ledger does not know."""
    had = {scope.casefold() for scope in split_scopes(before.required)}
    return bool(had) and not had >= {scope.casefold() for scope in split_scopes(after.required)}


def _begin_anew(connection: Connection, application: str, tenant: str, anew: Anew) -> None:
    """Record the new place. No run holds the tenant then: the next one takes it up afresh."""
    connection.execute(
        update(tenants)
        .where(tenants.c.application == application, tenants.c.tenant == tenant)
        .values(
            awaiting=anew.awaiting,
            awaiting_since=None,
            stopped=anew.stop or "",
            ready_at=None,
            claimed_by=None,
            claimed_until=None,
        )
    )
    for ended, becomes in (
        (ConsentStatus.GIVEN, ConsentStatus.LOST),
        (ConsentStatus.PENDING, ConsentStatus.EXPIRED),
    ):
        if anew.unasked:
            connection.execute(
                update(consents)
                .where(
                    consents.c.application == application,
                    consents.c.tenant == tenant,
                    consents.c.status == ended,
                )
                .values(status=becomes)
            )


def _settings(row: Row[tuple[object, ...]]) -> Tenant:
    return Tenant(
        tenant=row.tenant,
        provider=Provider(row.provider),
        credential=row.credential,
        secret_conn_id=row.secret_conn_id,
        scopes=row.scopes,
        grace=timedelta(seconds=row.grace_seconds),
        enabled=row.enabled,
        microsoft_tenant=row.microsoft_tenant,
        canary=row.canary,
        required=row.required_scopes,
        consent_scopes=row.consent_scopes,
        azure_manifest=row.azure_manifest,
    )


def _place(row: Row[tuple[object, ...]]) -> Place:
    return Place(
        awaiting=Awaiting(row.awaiting) if row.awaiting else None,
        stop=Stop(row.stopped) if row.stopped else None,
        active=row.listed and row.enabled,
    )


def standings(connection: Reading, application: str) -> dict[str, Standing]:
    """The standing of each tenant, by name."""
    rows = connection.execute(select(tenants).where(tenants.c.application == application))
    return {
        row.tenant: Standing(
            enabled=row.enabled,
            awaiting=Awaiting(row.awaiting) if row.awaiting else None,
            quarantined_until=row.quarantined_until,
            quarantine_reason=row.quarantine_reason,
            grace=timedelta(seconds=row.grace_seconds),
        )
        for row in rows
    }


def left_alone(
    ledger: Ledger, application: str, now: datetime
) -> tuple[dict[str, str], dict[str, Awaiting]]:
    """The tenants in quarantine, with the reason, and those not ready, with what they await."""
    with reading(ledger) as connection:
        rows = connection.execute(
            select(
                tenants.c.tenant,
                tenants.c.awaiting,
                tenants.c.quarantine_reason,
                # as `Standing.is_quarantined`
                func.coalesce(
                    and_(
                        tenants.c.quarantined_until > now,
                        tenants.c.quarantined_until <= now + 2 * QUARANTINE,
                    ),
                    false(),
                ).label("quarantined"),
            ).where(tenants.c.application == application)
        ).all()
    quarantined = {row.tenant: row.quarantine_reason for row in rows if row.quarantined}
    return quarantined, {row.tenant: Awaiting(row.awaiting) for row in rows if row.awaiting}


def quarantine(write: Writing[BatchClaim], tenant: str, reason: str) -> None:
    """Leave one tenant alone for the time of a quarantine; other tenants are not affected."""
    write.connection.execute(
        update(tenants)
        .where(tenants.c.application == write.application, tenants.c.tenant == tenant)
        .values(quarantined_until=write.now + QUARANTINE, quarantine_reason=reason)
    )


def lock_escrow(connection: Connection, which: ColumnElement[bool]) -> None:
    """Lock records in escrow before several of them are written or deleted.

    All writers lock them in the order of their mailboxes, so that no two wait for each other.
    """
    ordered = (escrow.c.application, escrow.c.provider, escrow.c.email)
    locked = select(*ordered).where(which).order_by(*ordered).with_for_update().subquery()
    connection.execute(select(func.count()).select_from(locked))  # there may be many


def forget_refusals(connection: Connection, which: ColumnElement[bool]) -> None:
    """Take the mailboxes of these tenants out of escrow, because the reason may be gone."""
    chosen = select(tenants.c.application, tenants.c.tenant).where(which)
    theirs = tuple_(escrow.c.application, escrow.c.tenant).in_(chosen)
    lock_escrow(connection, theirs)
    connection.execute(delete(escrow).where(theirs))


def credential_ids(connection: Reading, application: str) -> dict[tuple[str, str], str]:
    """The id at Nylas of each registered credential, by provider and name."""
    rows = connection.execute(
        select(credentials.c.provider, credentials.c.name, credentials.c.credential_id).where(
            credentials.c.application == application
        )
    )
    return {(provider, name): credential_id for provider, name, credential_id in rows}


def find_credential(
    ledger: Ledger, application: str, provider: Provider, name: str
) -> RegisteredCredential | None:
    """What the ledger knows about a credential, or None."""
    statement = select(
        credentials.c.credential_id,
        credentials.c.fingerprint,
        credentials.c.registered_at,
        credentials.c.rotated_at,
    ).where(
        credentials.c.application == application,
        credentials.c.provider == str(provider),
        credentials.c.name == name,
    )
    with reading(ledger) as connection:
        row = connection.execute(statement).one_or_none()
    return None if row is None else RegisteredCredential(*row)


def record_credential(
    ledger: Ledger,
    registered: RegisteredCredential,
    *,
    application: str,
    provider: Provider,
    name: str,
    credential_type: CredentialType,
) -> None:
    """Record a credential with new contents; free its tenants and their mailboxes.

    The new contents may have removed the reason for a quarantine, or for a mailbox in escrow. No
    right is needed: registering is safe to repeat, and the record always says what the last
    registration sent to Nylas.
    """
    written = {
        "credential_type": str(credential_type),
        "credential_id": registered.credential_id,
        "fingerprint": registered.fingerprint,
        "registered_at": registered.registered_at,
        "rotated_at": registered.rotated_at,
    }
    key = {"application": application, "provider": str(provider), "name": name}
    with ledger.begin() as connection:
        lock_tenants(connection, application)
        with_it = and_(
            tenants.c.application == application,
            tenants.c.provider == provider,
            tenants.c.credential == name,
        )
        connection.execute(
            update(tenants).where(with_it).values(quarantined_until=None, quarantine_reason="")
        )
        forget_refusals(connection, with_it)
        _keep_former(connection, key, registered)
        statement = upsert(connection, credentials).values(**key, **written)
        connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=written))


def _keep_former(
    connection: Connection, key: dict[str, str], registered: RegisteredCredential
) -> None:
    """Keep the id that the credential's name has had until now, if it is another."""
    before = connection.execute(
        select(credentials.c.credential_id).where(
            *(credentials.c[name] == value for name, value in key.items())
        )
    ).scalar()
    if before not in {None, registered.credential_id}:
        connection.execute(
            insert_unless_there(connection, former_credentials).values(
                **key, credential_id=before, replaced_at=registered.registered_at
            )
        )
