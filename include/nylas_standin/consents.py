"""Who consented to which application, and how slowly Microsoft lets it come into force."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

Version = Literal["v1", "v2"]
Stage = Literal["none", "some", "all"]


@dataclass(frozen=True, slots=True)
class Propagation:
    """How new scopes appear in tokens: first none, then some, then all."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    delay: int = 300
    """Seconds from the consent until all scopes are there."""
    some_after: int | None = None
    """Seconds until the first are; None is half of the delay."""
    some: tuple[str, ...] | None = None
    """Which are the first; None is the first half."""
    stage: Stage | None = None
    """Holds everything at one stage, whatever the clock says."""

    def stage_at(self, age: int) -> Stage:
        """How far scopes have come that were consented to `age` seconds ago."""
        if self.stage is not None:
            return self.stage
        if age >= self.delay:
            return "all"
        first = self.delay // 2 if self.some_after is None else self.some_after
        return "some" if age >= first else "none"

    def shown(self, scopes: Sequence[str], age: int) -> list[str]:
        """Those of the scopes that are in a token."""
        match self.stage_at(age):
            case "all":
                return [*scopes]
            case "some" if self.some is None:
                return [*scopes[: len(scopes) // 2]]
            case "some":
                return [one for one in scopes if one in (self.some or ())]
            case _:
                return []


@dataclass(slots=True)
class Consent:
    """A tenant's yes to an application."""

    tenant: str
    client_id: str
    credential_id: str | None
    version: Version
    given_at: int
    scopes: dict[str, int] = field(default_factory=dict)
    """Each scope with the time since when it is consented to."""

    def visible(self, propagation: Propagation, now: int) -> list[str]:
        """The scopes a token carries by now; what was consented to together appears together."""
        batches: dict[int, list[str]] = {}
        for scope, since in self.scopes.items():
            batches.setdefault(since, []).append(scope)
        shown: set[str] = set()
        for since, batch in batches.items():
            shown.update(propagation.shown(batch, now - since))
        return [scope for scope in self.scopes if scope in shown]

    def shown(self, propagation: Propagation, now: int) -> dict[str, object]:
        """The consent, and how far it has come."""
        return {
            "tenant": self.tenant,
            "client_id": self.client_id,
            "credential_id": self.credential_id,
            "version": self.version,
            "given_at": self.given_at,
            "scopes": [*self.scopes],
            "visible": [*self.visible(propagation, now)],
            "stage": propagation.stage_at(now - self.given_at),
        }


@dataclass(slots=True)
class Consents:
    """All consents in force, by tenant and application."""

    _given: dict[tuple[str, str], Consent] = field(default_factory=dict)

    def all(self) -> list[Consent]:
        """Those in force, the latest last."""
        return list(self._given.values())

    def get(self, tenant: str, client_id: str) -> Consent | None:
        """A tenant's consent to an application."""
        return self._given.get((tenant, client_id))

    def latest(self, client_id: str) -> Consent | None:
        """The last consent that an application got from anyone."""
        return next((one for one in reversed(self.all()) if one.client_id == client_id), None)

    def give(self, consent: Consent, scopes: Sequence[str], *, adds: bool) -> Consent:
        """Takes a consent in; scopes that the tenant consented to before need not appear anew."""
        earlier = self._given.pop((consent.tenant, consent.client_id), None)
        before = {} if earlier is None else earlier.scopes
        kept = before if adds else {one: since for one, since in before.items() if one in scopes}
        consent.scopes = dict.fromkeys(scopes, consent.given_at) | kept
        self._given[consent.tenant, consent.client_id] = consent
        return consent

    def withdraw(self, consent: Consent) -> None:
        """Ends one."""
        self._given.pop((consent.tenant, consent.client_id), None)
