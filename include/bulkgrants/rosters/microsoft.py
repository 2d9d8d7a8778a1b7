"""Reads the cells of the tenants table that mean something of their own for Microsoft tenants."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bulkgrants.rosters.rejects import quoted
from bulkgrants.rosters.tenant_row import TenantRow
from bulkgrants.scopes import canonical, split

COMMON = "common"
"""The tenant of a credential that any Microsoft organisation can consent to."""
MICROSOFT_COLUMNS = ("microsoft_tenant", "consent_scopes", "azure_manifest")
"""What must be empty for any other provider."""
DEFAULT_REQUIRED = "User.Read.All"
"""Without it Nylas cannot look up a mailbox, so every application has it."""

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DOMAIN = re.compile(
    r"(?=.{4,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,63}|xn--[a-z0-9-]{1,59})"
)
_MANY = ("organizations", "consumers")
_GRAPH = re.compile(r"\Ahttps://graph\.microsoft\.com/", re.IGNORECASE)
_PERMISSION = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_FILE = re.compile(r"[^./\\][^/\\]*\.json")
_LONGEST_FILE = 100


@dataclass(frozen=True, slots=True)
class MicrosoftCells:
    """What a row says of its Microsoft tenant; empty throughout for other providers."""

    tenant: str = ""
    required: str = ""
    consent_scopes: str = ""
    azure_manifest: str = ""


def microsoft_cells(row: TenantRow) -> MicrosoftCells:
    """The cells of a Microsoft tenant. Raises Misconfigured for the first that is wrong."""
    tenant = _tenant(row)
    return MicrosoftCells(tenant, _required(row), _consent_scopes(row, tenant), _manifest(row))


def _tenant(row: TenantRow) -> str:
    column = "microsoft_tenant"
    tenant = row.text(column).lower()
    if tenant in _MANY:
        raise row.wrong(
            column,
            f"{quoted(tenant)} stands for many tenants at once, which Nylas takes only as "
            f"`{COMMON}`; write that, or the tenant's id.",
        )
    if (
        tenant
        and tenant != COMMON
        and not _GUID.fullmatch(tenant)
        and not _DOMAIN.fullmatch(tenant)
    ):
        raise row.wrong(
            column,
            f"{quoted(tenant)} is no Microsoft tenant; write its id (a GUID), one of its domains "
            f"(such as contoso.onmicrosoft.com) or `{COMMON}`, or leave it empty.",
        )
    return tenant


def _required(row: TenantRow) -> str:
    column = "scopes"
    names = [_GRAPH.sub("", scope) for scope in split(row.scopes(column))]
    for name in names:
        if not _PERMISSION.fullmatch(name):
            raise row.wrong(
                column,
                f"{quoted(name)} is no application permission of Microsoft Graph; write short "
                "names such as User.Read.All, or leave it empty.",
            )
    return canonical(names) or DEFAULT_REQUIRED


def _consent_scopes(row: TenantRow, tenant: str) -> str:
    column = "consent_scopes"
    scopes = row.scopes(column)
    if scopes and tenant in {"", COMMON}:
        raise row.wrong(
            column,
            "a consent link can ask for scopes of its own only where `microsoft_tenant` names one "
            f"tenant, and it is {quoted(tenant) if tenant else 'empty'}; empty this cell, or write "
            "the tenant's id there.",
        )
    return scopes


def _manifest(row: TenantRow) -> str:
    column = "azure_manifest"
    name = row.text(column)
    if name and (len(name) > _LONGEST_FILE or not _FILE.fullmatch(name)):
        raise row.wrong(
            column,
            f"{quoted(name)} is no plain file name; write one of at most {_LONGEST_FILE} "
            "characters that ends in .json, without a folder and without a dot at its start.",
        )
    return name
