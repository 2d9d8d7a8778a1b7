"""Decides where a roster row belongs: provider, tenant, scopes and credential, or what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bulkgrants.model import Provider, Tenant
from bulkgrants.rosters.cells import Cell, NotText, UnreadableScopes, read_scopes
from bulkgrants.rosters.rejects import Problem, RejectReason, quoted
from bulkgrants.text import trimmed


@dataclass(frozen=True, slots=True)
class Placement:
    """Everything of an entry but its mailbox."""

    provider: str
    tenant: str
    scopes: str
    """Canonical; empty for Microsoft."""
    credential_id: str | None
    """None while the credential is not registered at Nylas."""


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A row that belongs nowhere as it stands."""

    problem: Problem
    provider: str | None
    """The tenant's, where the tenant is known: its mailbox's grant is then left alone."""


@dataclass(frozen=True, slots=True)
class RowCells:
    """The cells of a row besides its address."""

    tenant: Cell
    provider: Cell
    credential: Cell
    scopes: Cell


@dataclass(frozen=True, slots=True)
class Directory:
    """The tenants table, arranged to be asked once for each distinct row. Make it with `of`."""

    tenants: Mapping[str, Tenant]
    credential_ids: Mapping[tuple[str, str], str]
    """(provider, credential name) to the id at Nylas."""
    lower: Mapping[str, str]
    """Tenants' names in lower case to their names."""
    credentials: frozenset[tuple[str, str]]
    """(provider, credential name) as the tenants name them."""

    @classmethod
    def of(
        cls, tenants: Mapping[str, Tenant], credential_ids: Mapping[tuple[str, str], str]
    ) -> Directory:
        """Arrange tenants by name and credential ids."""
        return cls(
            tenants,
            credential_ids,
            {name.lower(): name for name in tenants},
            frozenset((t.provider.value, t.credential) for t in tenants.values()),
        )


def place(cells: RowCells, directory: Directory) -> Placement | Misplaced:
    """The placement that the cells ask for; the first thing that is wrong with them otherwise."""
    tenant = _tenant(cells.tenant, directory)
    if isinstance(tenant, Problem):
        return Misplaced(tenant, None)
    provider = tenant.provider.value
    mismatch = _provider(cells.provider, tenant)
    if mismatch is not None:
        return Misplaced(mismatch, provider)
    credential = _credential(cells.credential, tenant, directory)
    if isinstance(credential, Problem):
        return Misplaced(credential, provider)
    scopes = _scopes(cells.scopes, tenant)
    if isinstance(scopes, Problem):
        return Misplaced(scopes, provider)
    credential_id = directory.credential_ids.get((provider, credential))
    return Placement(provider, tenant.tenant, scopes, credential_id)


def not_text(column: str, cell: NotText) -> Problem:
    """The problem of a cell that holds a number, bytes, a date or the like."""
    return Problem(
        RejectReason.NOT_TEXT,
        f"The {column} cell holds {quoted(cell.shown)} ({cell.kind}), which is no text; make the "
        "column a text in the warehouse or cast it in the roster's query.",
    )


def _tenant(cell: Cell, directory: Directory) -> Tenant | Problem:
    if isinstance(cell, NotText):
        return not_text("tenant", cell)
    name = trimmed(cell or "")
    if not name:
        return Problem(
            RejectReason.EMPTY_TENANT,
            "The tenant cell is empty; write the name of a tenant from the tenants table.",
        )
    found = directory.tenants.get(name)
    if found is not None:
        return found
    alike = directory.lower.get(name.lower())
    advice = (
        f"write {quoted(alike)}, as it is spelled there"
        if alike
        else "correct the cell, or have the tenant added there"
    )
    return Problem(
        RejectReason.UNKNOWN_TENANT,
        f"The tenant {quoted(name)} is not in the tenants table; {advice}.",
    )


def _provider(cell: Cell, tenant: Tenant) -> Problem | None:
    if isinstance(cell, NotText):
        return not_text("provider", cell)
    name = trimmed(cell or "").lower()
    if not name or name == tenant.provider.value:
        return None
    return Problem(
        RejectReason.PROVIDER_MISMATCH,
        f"The provider cell says {quoted(name)}, but the tenant {quoted(tenant.tenant)} is at "
        f"{tenant.provider.value}; correct the tenant or the provider, or leave the latter empty.",
    )


def _credential(cell: Cell, tenant: Tenant, directory: Directory) -> str | Problem:
    if isinstance(cell, NotText):
        return not_text("credential", cell)
    name = trimmed(cell or "") or tenant.credential
    if (tenant.provider.value, name) in directory.credentials:
        return name
    return Problem(
        RejectReason.UNKNOWN_CREDENTIAL,
        f"No {tenant.provider.value} tenant in the tenants table has the credential "
        f"{quoted(name)}; correct it, or leave the cell empty for {quoted(tenant.credential)}.",
    )


def _scopes(cell: Cell, tenant: Tenant) -> str | Problem:
    if isinstance(cell, NotText):
        return Problem(
            RejectReason.UNREADABLE_SCOPES,
            f"The scopes cell holds {quoted(cell.shown)} ({cell.kind}); write the scopes as text, "
            "separated by blanks, as a list, or leave the cell empty for the tenant's scopes.",
        )
    try:
        scopes = read_scopes(cell or "")
    except UnreadableScopes as error:
        return Problem(
            RejectReason.UNREADABLE_SCOPES,
            f"The scopes cell {quoted(cell or '')} cannot be read: {error}; separate the scopes by "
            "blanks, or leave the cell empty for the tenant's scopes.",
        )
    if scopes and tenant.provider is Provider.MICROSOFT:
        return Problem(
            RejectReason.SCOPES_NOT_ALLOWED,
            f"The scopes cell names {quoted(scopes)}, but a Microsoft tenant's scopes come "
            "from its admin's consent; leave the cell empty.",
        )
    return scopes or tenant.scopes
