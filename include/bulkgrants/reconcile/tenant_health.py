"""Judges from the answers to a batch whether a tenant as a whole is refused, or not served.

Values in, values out. One refused mailbox says nothing about its tenant; several in a row do, if
none of them was refused before. A tenant that is judged costs only itself.
"""

from __future__ import annotations

from collections import Counter

from bulkgrants.model import Awaiting, SkipReason

REFUSALS_IN_A_ROW = 5
"""After this many refusals that concern the tenant without a grant in between, it is left alone."""
UNSERVED_IN_A_ROW = 10
"""After this many changes in a row that ran out of retries, a tenant's other changes stay open."""
OUTAGE_TENANTS = 3
"""If changes of this many tenants ran out of retries in a row, it is an outage, and the batch ends.
"""

_AWAITS = {
    Awaiting.CONSENT: (SkipReason.AWAITING_CONSENT, "its consent was lost meanwhile"),
    Awaiting.PROPAGATION: (
        SkipReason.AWAITING_PROPAGATION,
        "its consent was lost meanwhile, and the new one is not in force yet",
    ),
}


class TenantRefusals:
    """Counts refusals in a row for each tenant, and knows which tenants are left alone."""

    def __init__(self) -> None:
        self.quarantined: dict[str, str] = {}
        """The tenants in quarantine, each with its reason."""
        self.awaiting: dict[str, Awaiting] = {}
        """The tenants that were ready when the run was planned, each with what it now awaits."""
        self._in_a_row = Counter[str]()
        self._unconsented_in_a_row = Counter[str]()
        self._asked = set[str]()

    def granted(self, tenant: str) -> None:
        """Start counting again, because the tenant has got a grant."""
        self._in_a_row.pop(tenant, None)
        self._unconsented_in_a_row.pop(tenant, None)

    def refused(self, tenant: str, reason: str) -> bool:
        """Count a refusal of the tenant; returns whether this one puts it into quarantine."""
        self._in_a_row[tenant] += 1
        if self._in_a_row[tenant] < REFUSALS_IN_A_ROW or tenant in self.quarantined:
            return False
        self.quarantined[tenant] = reason
        return True

    def unconsented(self, tenant: str) -> bool:
        """Count a refusal for missing consent; returns whether its canary should now be asked.

        It is asked once in a batch.
        """
        self._unconsented_in_a_row[tenant] += 1
        enough = self._unconsented_in_a_row[tenant] >= REFUSALS_IN_A_ROW
        if not enough or tenant in self._asked or tenant in self.awaiting:
            return False
        self._asked.add(tenant)
        return True

    def lost(self, tenant: str) -> None:
        """Leave the tenant alone, because its consent is lost."""
        self.awaiting[tenant] = Awaiting.CONSENT

    def obstacle(self, tenant: str) -> tuple[SkipReason, str] | None:
        """Why nothing more is sent for the tenant, with a detail; None if nothing prevents it."""
        if tenant in self.awaiting:
            return _AWAITS[self.awaiting[tenant]]
        if tenant in self.quarantined:
            return SkipReason.TENANT_QUARANTINED, self.quarantined[tenant]
        return None


class TenantService:
    """Counts changes in a row that were not served, for each tenant and for all together."""

    def __init__(self) -> None:
        self.stalled: set[str] = set()
        """The tenants that are not served; their changes stay open, and other tenants go on."""
        self._in_a_row = Counter[str]()
        self._since_any_answer = Counter[str]()

    def served(self, tenant: str) -> None:
        """Start counting again, because a change of the tenant was answered, with yes or no."""
        self._in_a_row.pop(tenant, None)
        self._since_any_answer.clear()

    def unserved(self, tenant: str) -> None:
        """Count a change that ran out of retries."""
        self._in_a_row[tenant] += 1
        self._since_any_answer[tenant] += 1
        if self._in_a_row[tenant] >= UNSERVED_IN_A_ROW:
            self.stalled.add(tenant)

    @property
    def is_outage(self) -> bool:
        """Whether nobody is served, so that the batch should end."""
        unserved = self._since_any_answer
        return unserved.total() >= UNSERVED_IN_A_ROW and len(unserved) >= OUTAGE_TENANTS
