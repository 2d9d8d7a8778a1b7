"""Reads the tenants table; anything wrong in it stops the run with a sentence that says what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy import Engine

from bulkgrants.errors import Misconfigured
from bulkgrants.model import Provider, Tenant
from bulkgrants.rosters.cells import (
    NotText,
    UnreadableScopes,
    lists_as_json,
    objects,
    read_cell,
    read_scopes,
)
from bulkgrants.rosters.rejects import quoted
from bulkgrants.rosters.sources import Source, labelled
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
        _tenant(_Row(source, number, {str(name): cell for name, cell in row.items()}))
        for number, row in enumerate(rows, 1)
    ]
    if not tenants:
        raise Misconfigured(
            f"The {source.shown} has no rows; without tenants every roster row would be rejected, "
            "so add one row for each customer organisation."
        )
    _refuse_contradictions(tenants, source)
    return tenants


@dataclass(frozen=True, slots=True)
class _Row:
    source: Source
    number: int
    cells: Mapping[str, object]

    def wrong(self, column: str, what: str) -> Misconfigured:
        """The error for one cell; `what` says what is wrong and what to write."""
        tenant = self.cells.get("tenant")
        of = f" (tenant {quoted(tenant)})" if isinstance(tenant, str) and tenant.strip() else ""
        return Misconfigured(
            f"Row {self.number}{of} of the {self.source.shown}, column `{column}`: {what}"
        )

    def text(self, column: str) -> str:
        """The trimmed cell; empty for null or without the column. Raises Misconfigured."""
        cell = read_cell(self.cells.get(column))
        if isinstance(cell, NotText):
            raise self.wrong(
                column,
                f"it holds {quoted(cell.shown)} ({cell.kind}); make the column a text or cast it "
                "in a query.",
            )
        text = trimmed(cell or "")
        if text != bounded(text, max(len(text), 1)):
            raise self.wrong(column, f"{quoted(text)} holds unprintable characters; remove them.")
        return text

    def required(self, column: str, meaning: str) -> str:
        """The trimmed cell. Raises Misconfigured where it is empty."""
        text = self.text(column)
        if not text:
            raise self.wrong(column, f"it is empty; write {meaning}.")
        return text


def _tenant(row: _Row) -> Tenant:
    name = row.required("tenant", "the organisation's short name, unique in this table")
    provider = _provider(row)
    return Tenant(
        tenant=name,
        provider=provider,
        credential=row.required("credential", "the name of the tenant's credential at Nylas"),
        secret_conn_id=row.required(
            "secret_conn_id", "the id of the Airflow connection that holds the credential's secret"
        ),
        scopes=_scopes(row, provider),
        grace=_grace(row),
        enabled=_enabled(row),
    )


def _provider(row: _Row) -> Provider:
    known = " or ".join(provider.value for provider in Provider)
    written = row.required("provider", known)
    try:
        return Provider(written.lower())
    except ValueError:
        raise row.wrong(
            "provider", f"{quoted(written)} is no provider known here; write {known}."
        ) from None


def _scopes(row: _Row, provider: Provider) -> str:
    column = "scopes"
    listed = lists_as_json(objects([row.cells.get(column)]))[0]
    cells = _Row(row.source, row.number, {**row.cells, column: listed})
    try:
        scopes = read_scopes(cells.text(column))
    except UnreadableScopes as error:
        raise row.wrong(column, f"{error}; separate the scopes by blanks.") from None
    if provider is Provider.GOOGLE and not scopes:
        raise row.wrong(
            column,
            "it is empty; write the Google scopes that the service account was delegated, "
            "separated by blanks.",
        )
    if provider is Provider.MICROSOFT and scopes:
        raise row.wrong(
            column,
            f"it names {quoted(scopes)}; leave it empty, as a Microsoft tenant's scopes come from "
            "its admin's consent.",
        )
    return scopes


def _grace(row: _Row) -> timedelta:
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


def _enabled(row: _Row) -> bool:
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
    secrets: dict[tuple[Provider, str], Tenant] = {}
    for number, tenant in enumerate(tenants, 1):
        if tenant.tenant in first:
            raise Misconfigured(
                f"The {source.shown} names the tenant {quoted(tenant.tenant)} in rows "
                f"{first[tenant.tenant]} and {number}; keep one of them."
            )
        first[tenant.tenant] = number
        other = secrets.setdefault((tenant.provider, tenant.credential), tenant)
        if other.secret_conn_id != tenant.secret_conn_id:
            raise Misconfigured(
                f"The tenants {quoted(other.tenant)} and {quoted(tenant.tenant)} in the "
                f"{source.shown} share the credential {quoted(tenant.credential)} but not its "
                f"secret ({quoted(other.secret_conn_id)}, {quoted(tenant.secret_conn_id)}); write "
                "the same `secret_conn_id`, or give each its own credential."
            )
