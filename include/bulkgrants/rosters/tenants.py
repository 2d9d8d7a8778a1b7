"""Reads the tenants table; a mistake in it stops the run with a message that names it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from bulkgrants.errors import Misconfigured
from bulkgrants.model import COMMON, DEFAULT_GRACE, Provider, Tenant
from bulkgrants.rosters.cells import (
    NotText,
    UnreadableScopes,
    lists_as_json,
    objects,
    read_cell,
    read_scopes,
)
from bulkgrants.rosters.warehouse import Source, Warehouse, read_rows
from bulkgrants.text import (
    BadAddress,
    bounded,
    canonical_scopes,
    is_guid,
    normalise_address,
    quoted,
    split_scopes,
    trimmed,
)

DEFAULT_GRACE_DAYS = DEFAULT_GRACE.days
_LONGEST_NAME = 200
_LONGEST_GRACE_DAYS = 3650
_YES = frozenset({"true", "t", "yes", "y", "1", "on"})
_NO = frozenset({"false", "f", "no", "n", "0", "off"})
MICROSOFT_COLUMNS = ("microsoft_tenant", "consent_scopes", "azure_manifest")
"""Columns that must be empty for other providers."""
DEFAULT_REQUIRED = "User.Read.All"
"""Nylas cannot look up a mailbox without it, so every Azure app has to have it."""

_DOMAIN = re.compile(
    r"(?=.{4,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,63}|xn--[a-z0-9-]{1,59})"
)
_MANY = ("organizations", "consumers")
_GRAPH = re.compile(r"\Ahttps://graph\.microsoft\.com/", re.IGNORECASE)
_PERMISSION = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_FILE = re.compile(r"[^./\\][^/\\]*\.json")
_LONGEST_FILE = 100


@dataclass(frozen=True, slots=True)
class TenantRow:
    """The cells of one row, by our names for the columns."""

    source: Source
    number: int
    """Counted from 1, in the order in which the warehouse returned the rows."""
    cells: Mapping[str, object]

    def wrong(self, column: str, what: str) -> Misconfigured:
        """The error for one cell; `what` says what is wrong and what to write."""
        tenant = self.cells.get("tenant")
        of = f" (tenant {quoted(tenant)})" if isinstance(tenant, str) and tenant.strip() else ""
        return Misconfigured(
            f"Row {self.number}{of} of the {self.source.shown}, column `{column}`: {what}"
        )

    def text(self, column: str) -> str:
        """The trimmed cell; empty for null or if there is no such column. Raises Misconfigured."""
        cell = read_cell(self.cells.get(column))
        if isinstance(cell, NotText):
            raise self.wrong(
                column,
                f"it holds {quoted(cell.shown)} ({cell.kind}); change the column's type to text, "
                "or cast it in a query.",
            )
        text = trimmed(cell or "")
        if text != bounded(text, max(len(text), 1)):
            raise self.wrong(column, f"{quoted(text)} has unprintable characters; remove them.")
        return text

    def required(self, column: str, meaning: str) -> str:
        """The trimmed cell. Raises Misconfigured if it is empty."""
        text = self.text(column)
        if not text:
            raise self.wrong(column, f"it is empty; write {meaning}.")
        return text

    def name(self, column: str, meaning: str) -> str:
        """The required cell, which is not too long to be shown and indexed. Raises Misconfigured.

        Airflow keeps 250 characters of the name of a mapped task.
        """
        text = self.required(column, meaning)
        if len(text) > _LONGEST_NAME:
            raise self.wrong(
                column,
                f"{quoted(text)} has {len(text)} characters; shorten it to at most "
                f"{_LONGEST_NAME}.",
            )
        return text

    def scopes(self, column: str) -> str:
        """The cell's canonical scopes: a text, a JSON array or a list. Raises Misconfigured."""
        listed = lists_as_json(objects([self.cells.get(column)]))[0]
        row = replace(self, cells={**self.cells, column: listed})
        try:
            return read_scopes(row.text(column))
        except UnreadableScopes as error:
            raise self.wrong(column, f"{error}; separate the scopes with blanks.") from None


def read_tenants(warehouse: Warehouse, source: Source) -> list[Tenant]:
    """Every tenant in the table, in the table's order; unknown columns are ignored.

    Raises Misconfigured, which names the tenant or row, the column, and what to write instead.
    """
    rows = enumerate(read_rows(warehouse, source), 1)
    tenants = [_tenant(TenantRow(source, number, row)) for number, row in rows]
    if not tenants:
        raise Misconfigured(
            f"The {source.shown} has no rows. Without tenants every roster row would be rejected; "
            "add a row for each customer organisation."
        )
    _refuse_contradictions(tenants, source)
    return tenants


def require_known(names: Collection[str], listed: Iterable[Tenant], source: Source) -> None:
    """Make sure that the tenants table names these tenants. Raises Misconfigured."""
    unknown = sorted(set(names) - {tenant.tenant for tenant in listed})
    if unknown:
        raise Misconfigured(
            f"The run is for the tenant {bounded(repr(unknown[0]), 80)}, which is not in the "
            f"{source.shown}; start a run with the tenants' names as they are written there."
        )


def _tenant(row: TenantRow) -> Tenant:
    name = row.name("tenant", "the organisation's short name, unique in this table")
    provider = _provider(row)
    scopes, microsoft = _of_provider(row, provider)
    return Tenant(
        tenant=name,
        provider=provider,
        credential=row.name("credential", "the name of the tenant's credential at Nylas"),
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
            "provider", f"{quoted(written)} is not a known provider; write {known}."
        ) from None


def _of_provider(row: TenantRow, provider: Provider) -> tuple[str, MicrosoftCells]:
    """The tenant's scopes, and the cells that only Microsoft tenants have."""
    if provider is Provider.MICROSOFT:
        return "", microsoft_cells(row)
    for column in MICROSOFT_COLUMNS:
        if row.text(column):
            raise row.wrong(column, "it is for Microsoft tenants only; leave it empty.")
    scopes = row.scopes("scopes")
    if not scopes:
        raise row.wrong(
            "scopes",
            "it is empty; write the Google scopes that were delegated to the service account, "
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
            f"{quoted(written)} is not a mailbox address ({str(error).rstrip('.')}); write the "
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
            f"{quoted(str(cell))} is not a number of days; write a whole number from 0 to "
            f"{_LONGEST_GRACE_DAYS}, or leave it empty for {DEFAULT_GRACE_DAYS}.",
        )
    return timedelta(days=days)


def _whole_number(cell: object) -> int | None:
    """The number in a cell; -1 if it is not a whole number, None if the cell is empty."""
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
                    f"{what} ({quoted(theirs)}, {quoted(ours)}); write the same `{column}` for "
                    "both, or give each its own credential."
                )


@dataclass(frozen=True, slots=True)
class MicrosoftCells:
    """The cells that only Microsoft tenants have; all empty for other providers."""

    tenant: str = ""
    required: str = ""
    consent_scopes: str = ""
    azure_manifest: str = ""


def microsoft_cells(row: TenantRow) -> MicrosoftCells:
    """The cells of a Microsoft tenant. Raises Misconfigured for the first one that is wrong."""
    tenant = _microsoft_tenant(row)
    return MicrosoftCells(tenant, _required(row), _consent_scopes(row, tenant), _manifest(row))


def _microsoft_tenant(row: TenantRow) -> str:
    column = "microsoft_tenant"
    tenant = row.text(column).lower()
    if tenant in _MANY:
        raise row.wrong(
            column,
            f"{quoted(tenant)} means many tenants at once, for which Nylas accepts only "
            f"`{COMMON}`; write that, or the tenant's id.",
        )
    if tenant and tenant != COMMON and not is_guid(tenant) and not _DOMAIN.fullmatch(tenant):
        raise row.wrong(
            column,
            f"{quoted(tenant)} is not a Microsoft tenant; write its id (a GUID), one of its "
            f"domains (such as contoso.onmicrosoft.com) or `{COMMON}`, or leave it empty.",
        )
    return tenant


def _required(row: TenantRow) -> str:
    column = "scopes"
    names = [_GRAPH.sub("", scope) for scope in split_scopes(row.scopes(column))]
    for name in names:
        if not _PERMISSION.fullmatch(name):
            raise row.wrong(
                column,
                f"{quoted(name)} is not an application permission of Microsoft Graph; write short "
                "names such as User.Read.All, or leave it empty.",
            )
    return canonical_scopes(names) or DEFAULT_REQUIRED


def _consent_scopes(row: TenantRow, tenant: str) -> str:
    column = "consent_scopes"
    scopes = row.scopes(column)
    if scopes and tenant in {"", COMMON}:
        raise row.wrong(
            column,
            "a consent link can ask for its own scopes only if `microsoft_tenant` names one "
            f"tenant, but it is {quoted(tenant) if tenant else 'empty'}; leave this cell empty, or "
            "write the tenant's id into that one.",
        )
    return scopes


def _manifest(row: TenantRow) -> str:
    column = "azure_manifest"
    name = row.text(column)
    if name and (len(name) > _LONGEST_FILE or not _FILE.fullmatch(name)):
        raise row.wrong(
            column,
            f"{quoted(name)} is not a plain file name; write one of at most {_LONGEST_FILE} "
            "characters that ends in .json, without a folder and without a leading dot.",
        )
    return name
