"""Reads the tenants table; anything wrong in it stops the run with a sentence that says what."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy import Engine

from bulkgrants.errors import Misconfigured
from bulkgrants.model import Provider, Tenant
from bulkgrants.rosters.addresses import BadAddress, normalise_address
from bulkgrants.rosters.cells import read_cell
from bulkgrants.rosters.microsoft import MICROSOFT_COLUMNS, MicrosoftCells, microsoft_cells
from bulkgrants.rosters.rejects import quoted
from bulkgrants.rosters.sources import Source, labelled
from bulkgrants.rosters.tenant_row import TenantRow
from bulkgrants.rosters.warehouse import reading, resolve_columns
from bulkgrants.text import bounded, trimmed

DEFAULT_GRACE_DAYS = 7
_LONGEST_GRACE_DAYS = 3650
_YES = frozenset({"true", "t", "yes", "y", "1", "on"})
_NO = frozenset({"false", "f", "no", "n", "0", "off"})


def read_tenants(engine: Engine, source: Source) -> list[Tenant]:
    """Every tenant of the table, in its order; columns that we do not know are ignored.

    Raises Misconfigured, naming the tenant or row, the column and what to write instead.
    """
    with reading(engine, source) as connection:
        resolved = resolve_columns(connection, source)
        origin = source.origin(dict.fromkeys(resolved.values()))
        rows = connection.execute(sa.select(*labelled(origin, resolved))).mappings().all()
    tenants = [
        _tenant(TenantRow(source, number, {str(name): cell for name, cell in row.items()}))
        for number, row in enumerate(rows, 1)
    ]
    if not tenants:
        raise Misconfigured(
            f"The {source.shown} has no rows; without tenants every roster row would be rejected, "
            "so add one row for each customer organisation."
        )
    _refuse_contradictions(tenants, source)
    return tenants


def require_known(names: Collection[str], listed: Iterable[Tenant], source: Source) -> None:
    """Make sure that the tenants table names these tenants. Raises Misconfigured."""
    unknown = sorted(set(names) - {tenant.tenant for tenant in listed})
    if unknown:
        raise Misconfigured(
            f"The run is for the tenant {bounded(repr(unknown[0]), 80)}, which the "
            f"{source.shown} does not name; start a run with tenants as they are written there."
        )


def _tenant(row: TenantRow) -> Tenant:
    name = row.required("tenant", "the organisation's short name, unique in this table")
    provider = _provider(row)
    scopes, microsoft = _of_provider(row, provider)
    return Tenant(
        tenant=name,
        provider=provider,
        credential=row.required("credential", "the name of the tenant's credential at Nylas"),
        secret_conn_id=_secret_conn_id(row, provider),
        scopes=scopes,
        grace=_grace(row),
        enabled=_enabled(row),
        microsoft_tenant=microsoft.tenant,
        canary=_canary(row),
        required=microsoft.required or scopes,
        consent_scopes=microsoft.consent_scopes,
        azure_manifest=microsoft.azure_manifest,
    )


def _provider(row: TenantRow) -> Provider:
    known = " or ".join(provider.value for provider in Provider)
    written = row.required("provider", known)
    try:
        return Provider(written.lower())
    except ValueError:
        raise row.wrong(
            "provider", f"{quoted(written)} is no provider known here; write {known}."
        ) from None


def _of_provider(row: TenantRow, provider: Provider) -> tuple[str, MicrosoftCells]:
    """The tenant's scopes, and the cells that only Microsoft tenants fill."""
    if provider is Provider.MICROSOFT:
        return "", microsoft_cells(row)
    for column in MICROSOFT_COLUMNS:
        if row.text(column):
            raise row.wrong(column, "it is for Microsoft tenants only; leave it empty.")
    scopes = row.scopes("scopes")
    if not scopes:
        raise row.wrong(
            "scopes",
            "it is empty; write the Google scopes that the service account was delegated, "
            "separated by blanks.",
        )
    return scopes, MicrosoftCells()


def _secret_conn_id(row: TenantRow, provider: Provider) -> str:
    if provider is Provider.MICROSOFT:
        return row.text("secret_conn_id")
    return row.required(
        "secret_conn_id", "the id of the Airflow connection that holds the credential's secret"
    )


def _canary(row: TenantRow) -> str:
    written = row.text("canary")
    try:
        return normalise_address(written) if written else ""
    except BadAddress as error:
        raise row.wrong(
            "canary",
            f"{quoted(written)} is no mailbox address ({str(error).rstrip('.')}); write the "
            "address of one mailbox of the tenant, or leave it empty.",
        ) from None


def _grace(row: TenantRow) -> timedelta:
    cell = row.cells.get("grace_days")
    days = _whole_number(cell)
    if days is None:
        return timedelta(days=DEFAULT_GRACE_DAYS)
    if isinstance(cell, bool) or not 0 <= days <= _LONGEST_GRACE_DAYS:
        raise row.wrong(
            "grace_days",
            f"{quoted(str(cell))} is no number of days; write a whole number from 0 to "
            f"{_LONGEST_GRACE_DAYS}, or leave it empty for {DEFAULT_GRACE_DAYS}.",
        )
    return timedelta(days=days)


def _whole_number(cell: object) -> int | None:
    """The number in a cell, -1 where it is none; None for an empty cell."""
    text = "" if read_cell(cell) is None else trimmed(str(cell))
    if not text:
        return None
    digits = text.removesuffix(".0")  # 7.0: a driver's float
    return int(digits) if digits.isdecimal() and len(digits) < 10 else -1  # noqa: PLR2004 - no number of days is longer


def _enabled(row: TenantRow) -> bool:
    cell = row.cells.get("enabled")
    if read_cell(cell) is None:
        return True
    written = trimmed(str(cell)).lower().removesuffix(".0")  # 1.0: a driver's float
    if written in _YES or not written:
        return True
    if written in _NO:
        return False
    raise row.wrong("enabled", f"{quoted(str(cell))} is neither yes nor no; write true or false.")


def _refuse_contradictions(tenants: Sequence[Tenant], source: Source) -> None:
    first: dict[str, int] = {}
    sharing: dict[tuple[Provider, str], Tenant] = {}
    for number, tenant in enumerate(tenants, 1):
        if tenant.tenant in first:
            raise Misconfigured(
                f"The {source.shown} names the tenant {quoted(tenant.tenant)} in rows "
                f"{first[tenant.tenant]} and {number}; keep one of them."
            )
        first[tenant.tenant] = number
        other = sharing.setdefault((tenant.provider, tenant.credential), tenant)
        for what, column, theirs, ours in (
            ("secret", "secret_conn_id", other.secret_conn_id, tenant.secret_conn_id),
            (
                "Microsoft tenant",
                "microsoft_tenant",
                other.microsoft_tenant,
                tenant.microsoft_tenant,
            ),
        ):
            if theirs != ours:
                raise Misconfigured(
                    f"The tenants {quoted(other.tenant)} and {quoted(tenant.tenant)} in the "
                    f"{source.shown} share the credential {quoted(tenant.credential)} but not its "
                    f"{what} ({quoted(theirs)}, {quoted(ours)}); write the same `{column}`, or "
                    "give each its own credential."
                )
