"""Notices when a tenant as a whole is refused, so that it alone is left in peace."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

QUARANTINE = timedelta(hours=6)
"""How long a tenant is left alone before its mailboxes are tried again."""

REFUSALS_IN_A_ROW = 5
"""Refusals that concern the tenant, with no grant in between, before it is quarantined."""


class Tally:
    """Refusals in a row, tenant by tenant, and the tenants that are left alone."""

    def __init__(self) -> None:
        self.quarantined: dict[str, str] = {}
        """The reason for each tenant in quarantine."""
        self._in_a_row = Counter[str]()

    def granted(self, tenant: str) -> None:
        """The tenant works."""
        self._in_a_row.pop(tenant, None)

    def refused(self, tenant: str, reason: str) -> bool:
        """One more refusal of the tenant; tells whether this is the one that quarantines it."""
        self._in_a_row[tenant] += 1
        if self._in_a_row[tenant] < REFUSALS_IN_A_ROW or tenant in self.quarantined:
            return False
        self.quarantined[tenant] = reason
        return True
