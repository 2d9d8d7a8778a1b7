"""Notices when a tenant as a whole is refused, so that it alone is left in peace."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from bulkgrants.model import Awaiting, SkipReason

QUARANTINE = timedelta(hours=6)
"""How long a tenant is left alone before its mailboxes are tried again."""

REFUSALS_IN_A_ROW = 5
"""Refusals that concern the tenant, with no grant in between, before it is left alone."""

_AWAITS = {
    Awaiting.CONSENT: (SkipReason.AWAITING_CONSENT, "its consent was lost meanwhile"),
    Awaiting.PROPAGATION: (
        SkipReason.AWAITING_PROPAGATION,
        "its consent was lost meanwhile, and the new one is not in force yet",
    ),
}


class Tally:
    """Refusals in a row, tenant by tenant, and the tenants that are left alone."""

    def __init__(self) -> None:
        self.quarantined: dict[str, str] = {}
        """The reason for each tenant in quarantine."""
        self.awaiting: dict[str, Awaiting] = {}
        """What each tenant waits for that was ready when the run was planned."""
        self._in_a_row = Counter[str]()
        self._unconsented_in_a_row = Counter[str]()

    def granted(self, tenant: str) -> None:
        """The tenant works."""
        self._in_a_row.pop(tenant, None)
        self._unconsented_in_a_row.pop(tenant, None)

    def refused(self, tenant: str, reason: str) -> bool:
        """One more refusal of the tenant; tells whether this is the one that quarantines it."""
        self._in_a_row[tenant] += 1
        if self._in_a_row[tenant] < REFUSALS_IN_A_ROW or tenant in self.quarantined:
            return False
        self.quarantined[tenant] = reason
        return True

    def unconsented(self, tenant: str) -> bool:
        """One more refusal for want of consent; tells whether this is the one that loses it."""
        self._unconsented_in_a_row[tenant] += 1
        if self._unconsented_in_a_row[tenant] < REFUSALS_IN_A_ROW or tenant in self.awaiting:
            return False
        self.awaiting[tenant] = Awaiting.CONSENT
        return True

    def hindrance(self, tenant: str) -> tuple[SkipReason, str] | None:
        """Why nothing more is sent for the tenant, with a detail; None where it is served."""
        if tenant in self.awaiting:
            return _AWAITS[self.awaiting[tenant]]
        if tenant in self.quarantined:
            return SkipReason.TENANT_QUARANTINED, self.quarantined[tenant]
        return None
