"""What the ledger remembers of tenants: their settings, their readiness, their quarantine."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from bulkgrants.ledger.tables import tenants
from bulkgrants.ledger.upserts import upsert
from bulkgrants.model import Awaiting, Provider, Standing, Tenant

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
DEFAULT_GRACE = timedelta(days=7)


def record_tenants(connection: Connection, application: str, listed: Iterable[Tenant]) -> None:
    """Bring the settings in line with the tenants table; tenants it lacks stay, as not listed.

    A Microsoft tenant that is new here awaits its admin's consent. A Google tenant awaits the
    propagation of its delegation, where it names a canary by which that shows; else it is ready.
    """
    connection.execute(
        update(tenants).where(tenants.c.application == application).values(listed=False)
    )
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
            "awaiting": _first_awaits(tenant),
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


def _first_awaits(tenant: Tenant) -> Awaiting | None:
    if tenant.provider is Provider.MICROSOFT:
        return Awaiting.CONSENT
    return Awaiting.PROPAGATION if tenant.canary else None


def standings(connection: Connection, application: str) -> dict[str, Standing]:
    """How each tenant stands, by name."""
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


def quarantined(connection: Connection, application: str, now: datetime) -> dict[str, str]:
    """The tenants in quarantine at this moment, with the reason."""
    rows = connection.execute(
        select(tenants.c.tenant, tenants.c.quarantine_reason).where(
            tenants.c.application == application, tenants.c.quarantined_until > now
        )
    )
    return {row.tenant: row.quarantine_reason for row in rows}


def awaiting(connection: Connection, application: str) -> dict[str, Awaiting]:
    """The tenants that are not ready, with what they wait for."""
    rows = connection.execute(
        select(tenants.c.tenant, tenants.c.awaiting).where(
            tenants.c.application == application, tenants.c.awaiting.is_not(None)
        )
    )
    return {row.tenant: Awaiting(row.awaiting) for row in rows}


def quarantine(
    connection: Connection, application: str, tenant: str, *, until: datetime, reason: str
) -> None:
    """Leave one tenant alone until a moment; the others go on."""
    connection.execute(
        update(tenants)
        .where(tenants.c.application == application, tenants.c.tenant == tenant)
        .values(quarantined_until=until, quarantine_reason=reason)
    )


def release_quarantine(
    connection: Connection, application: str, provider: str, credential: str
) -> None:
    """A credential has new contents: what its tenants were quarantined for may be mended."""
    connection.execute(
        update(tenants)
        .where(
            tenants.c.application == application,
            tenants.c.provider == provider,
            tenants.c.credential == credential,
        )
        .values(quarantined_until=None, quarantine_reason="")
    )
