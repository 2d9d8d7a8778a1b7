"""Links to Microsoft's consent screen that were opened, until an admin answers."""

from dataclasses import dataclass, field
from typing import Literal

from nylas_standin.consents import Version

Answer = Literal["approved", "refused"]


@dataclass(slots=True)
class ConsentRequest:
    """What an admin is asked, and where the answer goes."""

    id: str
    credential_id: str
    client_id: str
    """Of the provider application at Microsoft."""
    tenant: str | None
    """The only tenant whose admin may answer; None is `common`, everyone's."""
    asked: tuple[str, ...] | None
    """The scopes in the link; None asks for all that the application is configured with."""
    redirect_uri: str
    state: str | None
    login_hint: str | None
    made_at: int
    answer: Answer | None = None
    location: str | None = None
    """Where the answer led."""

    @property
    def version(self) -> Version:
        """Which of Microsoft's two consent endpoints it is for."""
        return "v1" if self.tenant is None else "v2"

    def shown(self) -> dict[str, object]:
        """The request, for the control plane."""
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
    """All requests since the beginning, oldest first."""

    _made: dict[str, ConsentRequest] = field(default_factory=dict)

    def add(self, request: ConsentRequest) -> None:
        """Takes in a new one."""
        self._made[request.id] = request

    def get(self, request_id: str) -> ConsentRequest | None:
        """The one with that id."""
        return self._made.get(request_id)

    def all(self) -> list[ConsentRequest]:
        """All of them."""
        return list(self._made.values())

    def pending(
        self, *, request_id: str | None, state: str | None, credential_id: str | None
    ) -> ConsentRequest | None:
        """The latest unanswered one of which all is true that is given."""
        for one in reversed(self._made.values()):
            if (
                one.answer is None
                and request_id in {None, one.id}
                and state in {None, one.state}
                and credential_id in {None, one.credential_id}
            ):
                return one
        return None
