"""Says where a roster or the tenants come from: a table or a query, with its columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from bulkgrants.errors import Misconfigured
from bulkgrants.text import bounded

_QUERY = re.compile(r"(select|with)\b", re.IGNORECASE)


class Kind(StrEnum):
    """What a source holds; the value is the word used in settings and messages."""

    ROSTER = "roster"
    TENANTS = "tenants"


REQUIRED = {
    Kind.ROSTER: ("tenant", "email"),
    Kind.TENANTS: ("tenant", "provider", "credential", "secret_conn_id"),
}
OPTIONAL = {
    Kind.ROSTER: ("scopes", "credential", "provider", "roster_date"),
    Kind.TENANTS: (
        "scopes",
        "grace_days",
        "enabled",
        "microsoft_tenant",
        "canary",
        "consent_scopes",
        "azure_manifest",
    ),
}


@dataclass(frozen=True, slots=True)
class Source:
    """A table or query of the warehouse. Make it with `roster_source` or `tenants_source`."""

    kind: Kind
    schema: str | None
    table: str
    """The table's name; empty for a query."""
    query: str
    """A statement that starts with SELECT or WITH; empty for a table."""
    columns: Mapping[str, str]
    """Our column names to theirs, where they differ."""

    @property
    def shown(self) -> str:
        """The source in the words of a message: its name, or that it is a query."""
        if self.query:
            return f"{self.kind} query"
        name = f"{self.schema}.{self.table}" if self.schema else self.table
        return f'{self.kind} table "{bounded(name, 100)}"'

    @property
    def mapping_setting(self) -> str:
        """The name of the setting that maps columns."""
        return f"{self.kind}_columns"

    def origin(self, columns: Iterable[str] = ()) -> sa.FromClause:
        """What to select from, with its columns by the warehouse's names."""
        named: list[sa.ColumnClause[object]] = [sa.column(name) for name in columns]
        if self.query:
            # text() would take a colon for a parameter; the line end closes a trailing comment
            escaped = self.query.replace(":", r"\:") + "\n"
            return sa.text(escaped).columns(*named).subquery("source")
        return sa.table(self.table, *named, schema=self.schema)


def labelled(origin: sa.FromClause, resolved: Mapping[str, str]) -> list[sa.Label[object]]:
    """Columns of an origin under our names; `resolved` maps ours to the warehouse's."""
    return [origin.c[theirs].label(ours) for ours, theirs in resolved.items()]


def roster_source(origin: str, columns: Mapping[str, str] | None = None) -> Source:
    """The roster: a table name, `schema.table` or a query, and our column names mapped to theirs.

    Raises Misconfigured for an empty origin, a name of three parts, or an unknown column of ours.
    """
    return _source(Kind.ROSTER, origin, columns or {})


def tenants_source(origin: str, columns: Mapping[str, str] | None = None) -> Source:
    """The tenants: as `roster_source`."""
    return _source(Kind.TENANTS, origin, columns or {})


def _source(kind: Kind, origin: str, columns: Mapping[str, str]) -> Source:
    written = origin.strip().rstrip(";").rstrip()
    if not written:
        raise Misconfigured(
            f"No {kind} source is set; name a table, schema.table or a query that starts with "
            f"SELECT or WITH in the setting `{kind}`."
        )
    known = (*REQUIRED[kind], *OPTIONAL[kind])
    for ours, theirs in columns.items():
        if ours not in known or not theirs.strip():
            raise Misconfigured(
                f"The setting `{kind}_columns` maps {bounded(repr(ours), 80)} to "
                f"{bounded(repr(theirs), 80)}; map only {', '.join(known)}, each to the name of a "
                "column."
            )
    mapping = {ours: theirs.strip() for ours, theirs in columns.items()}
    if _QUERY.match(written):
        return Source(kind, None, "", written, mapping)
    parts = [part.strip() for part in written.split(".")]
    if len(parts) > 2 or not all(parts):  # noqa: PLR2004 - schema and table
        raise Misconfigured(
            f"The setting `{kind}` is {bounded(repr(written), 100)}, which is neither a table nor "
            "schema.table; for anything else write a query that starts with SELECT or WITH."
        )
    return Source(kind, parts[0] if len(parts) > 1 else None, parts[-1], "", mapping)
