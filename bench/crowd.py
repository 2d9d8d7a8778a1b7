"""A roster and the grants that nearly equal it, by one formula for SQLite, PostgreSQL and DuckDB.

Mailbox number n has an entry for 0 ≤ n < rows. Of the grants 1 % are missing, 0.5 % are invalid,
0.5 % have other scopes, 0.5 % of our own have no entry, and as many that are not ours.
"""

from __future__ import annotations

from dataclasses import dataclass

APPLICATION = "standin-application"
CREDENTIAL_ID = "credential-1"
TENANTS = 100
MAIL = "https://www.googleapis.com/auth/gmail.readonly"
OTHER = "https://www.googleapis.com/auth/calendar"

AS_WRITTEN = "'Person.' || (10000000 + n) || '@T' || (100 + n % 100) || '.example.com'"
TENANT = "'tenant ' || (100 + n % 100)"


@dataclass(frozen=True, slots=True)
class Crowd:
    """How large the sets are, and where they differ."""

    rows: int

    @property
    def missing(self) -> int:
        """Entries without a grant: the first so many numbers."""
        return self.rows // 100

    @property
    def each(self) -> int:
        """Of every other difference."""
        return self.rows // 200

    @property
    def end(self) -> int:
        """One past the number of the last grant."""
        return self.rows + 2 * self.each

    def status(self) -> str:
        """The status of grant n: invalid for the first that exist."""
        first = self.missing
        return f"CASE WHEN n < {first + self.each} THEN 'invalid' ELSE 'valid' END"

    def scopes(self) -> str:
        """The scopes of grant n: others for those that follow."""
        first = self.missing + self.each
        other = f"n >= {first} AND n < {first + self.each}"
        return f"CASE WHEN {other} THEN '{OTHER}' ELSE '{MAIL}' END"

    def owned(self) -> str:
        """Whether grant n is ours."""
        return f"n < {self.rows + self.each}"


def numbers(dialect: str, first: int, end: int) -> str:
    """A subquery of the whole numbers n with first ≤ n < end."""
    if dialect == "sqlite":
        return (
            f"(WITH RECURSIVE s(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM s "
            f"WHERE n < {end - 1}) SELECT n FROM s)"
        )
    series = f"generate_series({first}::bigint, {end - 1}::bigint)"
    return f"(SELECT generate_series AS n FROM {series})"
