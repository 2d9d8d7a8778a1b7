"""One row of the tenants table, whose cells are read strictly and named when they are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bulkgrants.errors import Misconfigured
from bulkgrants.rosters.cells import (
    NotText,
    UnreadableScopes,
    lists_as_json,
    objects,
    read_cell,
    read_scopes,
)
from bulkgrants.rosters.rejects import quoted
from bulkgrants.rosters.sources import Source
from bulkgrants.text import bounded, trimmed


@dataclass(frozen=True, slots=True)
class TenantRow:
    """The cells of one row, under our names for the columns."""

    source: Source
    number: int
    """Counted from 1, in the order in which the warehouse gave the rows."""
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

    def scopes(self, column: str) -> str:
        """The cell's canonical scopes: a text, a JSON array or an array. Raises Misconfigured."""
        listed = lists_as_json(objects([self.cells.get(column)]))[0]
        row = replace(self, cells={**self.cells, column: listed})
        try:
            return read_scopes(row.text(column))
        except UnreadableScopes as error:
            raise self.wrong(column, f"{error}; separate the scopes by blanks.") from None
