"""The consents that were requested and given, and how slowly they take effect."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

Version = Literal["v1", "v2"]
Stage = Literal["none", "some", "all"]
Answer = Literal["approved", "refused"]


@dataclass(frozen=True, slots=True)
class Propagation:
    """When new scopes appear in tokens: first none, then some, then all."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    delay: int = 300
    """The seconds from the consent until all scopes are in a token."""
    some_after: int | None = None
    """The seconds until the first of them are; None is half of the delay."""
    some: tuple[str, ...] | None = None
    """The scopes that come first; None is the first half of them."""
    stage: Stage | None = None
    """Keeps every consent at one stage, whatever the time."""

    def stage_at(self, age: int) -> Stage:
        """The stage of scopes that were consented to `age` seconds ago."""
        if self.stage is not None:
            return self.stage
        if age >= self.delay:
            return "all"
        first = self.delay // 2 if self.some_after is None else self.some_after
        return "some" if age >= first else "none"

    def shown(self, scopes: Sequence[str], age: int) -> list[str]:
        """The scopes, of those consented to together, that are in a token."""
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
    """The Unix time of the consent to each scope."""

    def visible(self, propagation: Propagation, now: int) -> list[str]:
        """The scopes in a token now; scopes that were consented to together appear together."""
        batches: dict[int, list[str]] = {}
        for scope, since in self.scopes.items():
            batches.setdefault(since, []).append(scope)
        shown: set[str] = set()
        for since, batch in batches.items():
            shown.update(propagation.shown(batch, now - since))
        return [scope for scope in self.scopes if scope in shown]

    def shown(self, propagation: Propagation, now: int) -> dict[str, object]:
        """The consent and its stage, as the control plane shows them."""
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
    """All consents in force, one for each tenant and application."""

    _given: dict[tuple[str, str], Consent] = field(default_factory=dict)

    def all(self) -> list[Consent]:
        """The consents in force, the latest last."""
        return list(self._given.values())

    def get(self, tenant: str, client_id: str) -> Consent | None:
        """A tenant's consent to an application."""
        return self._given.get((tenant, client_id))

    def latest(self, client_id: str) -> Consent | None:
        """The last consent that an application got from any tenant."""
        return next((one for one in reversed(self.all()) if one.client_id == client_id), None)

    def give(self, consent: Consent, scopes: Sequence[str], *, adds: bool) -> Consent:
        """Adds a consent; a scope of an earlier consent keeps its time, so it stays visible.

        `adds` also keeps the earlier scopes that are not among the new ones.
        """
        earlier = self._given.pop((consent.tenant, consent.client_id), None)
        before = {} if earlier is None else earlier.scopes
        kept = before if adds else {one: since for one, since in before.items() if one in scopes}
        consent.scopes = dict.fromkeys(scopes, consent.given_at) | kept
        self._given[consent.tenant, consent.client_id] = consent
        return consent

    def withdraw(self, consent: Consent) -> None:
        """Ends a consent."""
        self._given.pop((consent.tenant, consent.client_id), None)


@dataclass(slots=True)
class ConsentRequest:
    """A consent link that was opened: what the admin is asked, and where the answer goes."""

    id: str
    credential_id: str
    client_id: str
    """The provider application at Microsoft."""
    tenant: str | None
    """The only tenant whose admin may answer; None is `common`, which is every tenant."""
    asked: tuple[str, ...] | None
    """The scopes in the link; None asks for all application permissions of the application."""
    redirect_uri: str
    state: str | None
    login_hint: str | None
    made_at: int
    answer: Answer | None = None
    location: str | None = None
    """The redirect that followed the answer."""

    @property
    def version(self) -> Version:
        """Which of Microsoft's two consent endpoints is used."""
        return "v1" if self.tenant is None else "v2"

    def shown(self) -> dict[str, object]:
        """The request as the control plane shows it."""
        return {
            "id": self.id,
            "credential_id": self.credential_id,
            "client_id": self.client_id,
            "tenant": self.tenant or "common",
            "version": self.version,
            "scopes": None if self.asked is None else [*self.asked],
            "redirect_uri": self.redirect_uri,
            "state": self.state,
            "made_at": self.made_at,
            "answer": self.answer,
            "location": self.location,
        }


@dataclass(slots=True)
class ConsentRequests:
    """All requests since the start, oldest first."""

    _made: dict[str, ConsentRequest] = field(default_factory=dict)

    def add(self, request: ConsentRequest) -> None:
        """Adds a request."""
        self._made[request.id] = request

    def get(self, request_id: str) -> ConsentRequest | None:
        """The request with that id."""
        return self._made.get(request_id)

    def all(self) -> list[ConsentRequest]:
        """All requests, answered or not."""
        return list(self._made.values())

    def pending(
        self, *, request_id: str | None, state: str | None, credential_id: str | None
    ) -> ConsentRequest | None:
        """The latest unanswered request that matches every given value."""
        for one in reversed(self._made.values()):
            if (
                one.answer is None
                and request_id in {None, one.id}
                and state in {None, one.state}
                and credential_id in {None, one.credential_id}
            ):
                return one
        return None
