"""Nylas and the providers of a random world, with all the oddities that Nylas' contract allows.

`Elsewhere` notes whatever is done to grants that are not ours. Mailboxes belong to tenants by their
domain; the admins of Microsoft tenants decide what their mailboxes may be granted.
"""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random

from bulkgrants.errors import RateLimited, Refused, Throttle, Unavailable
from bulkgrants.model import Provider, Tenant
from bulkgrants.refusals import UNKNOWN_REFUSAL, Concerns, Refusal
from bulkgrants.text import address_key
from support.fakes import MAILBOX_UNKNOWN, FakeNylas, Grant
from support.ledgers import MAIL, NOW

OURS, OURS_AT_MICROSOFT, THEIRS = "cred-1", "cred-2", "cred-9"
CREDENTIALS = {Provider.GOOGLE: OURS, Provider.MICROSOFT: OURS_AT_MICROSOFT}
CALENDAR = "https://www.googleapis.com/auth/calendar"
FEW, MORE, TOO_FEW = "Mail.Read User.Read.All", "Mail.Read Mail.Send User.Read.All", "User.Read.All"
"""Permissions that a Microsoft tenant's admin may allow."""
REQUIRED = "Mail.Read"
ALIAS, PRIMARY = "sales@example.com", "ann@example.com"
MAILBOXES = {
    "acme": (
        *(f"{letter}@example.com" for letter in "abcdef"),
        "r\u00e9my@example.com",
        "g@xn--bcher-kva.example",
    ),
    "globex": tuple(f"{letter}@globex.example" for letter in "abcdefghijkl"),
    "contoso": tuple(f"{letter}@contoso.example" for letter in "abcdef"),
    "fabrikam": tuple(f"{letter}@fabrikam.example" for letter in "ab"),
}
"""The mailboxes of each tenant. `acme` also has an alias and its primary address. In `globex` and
`contoso` there are enough of them to speak for their tenant, in one batch."""
CANARIES = {name: f"canary@{name}.example" for name in ("contoso", "fabrikam")}
"""The canary of each Microsoft tenant."""


def tenant_of(mailbox: str) -> str:
    """The tenant whose mailbox it is."""
    domain = mailbox.partition("@")[2].partition(".")[0]
    return domain if domain in MAILBOXES else "acme"


def provider_of(mailbox: str) -> Provider:
    """The provider of the mailbox's tenant."""
    return Provider.MICROSOFT if tenant_of(mailbox) in CANARIES else Provider.GOOGLE


def mailbox_of(grant: Grant) -> str:
    """The mailbox that a grant belongs to; empty for one of a provider that we do not know."""
    mailbox = address_key(grant["email"])
    return mailbox if grant["provider"] == provider_of(mailbox) else ""


def _tenant(name: str) -> Tenant:
    week, canary = timedelta(days=7), CANARIES.get(name)
    if canary is None:
        return Tenant(name, Provider.GOOGLE, "sa", "sa", MAIL, week, enabled=True)
    made = Tenant(name, Provider.MICROSOFT, "ms", "ms", "", week, enabled=True)
    return replace(made, microsoft_tenant="common", canary=canary, required=REQUIRED)


TENANTS = {name: _tenant(name) for name in MAILBOXES}


def _refused(refusal: Refusal) -> Refused:
    known = replace(UNKNOWN_REFUSAL, refusal=refusal, concerns=Concerns.TENANT)
    return Refused("no", known=known, status=400)


ANSWERS = {
    "unavailable": Unavailable("down", after=0.0, status=503),
    "slow down": RateLimited("slow", throttle=Throttle.PROVIDER, after=0.0),
    "too many": RateLimited("slow", throttle=Throttle.NYLAS, after=0.0),
    "no such mailbox": Refused("no", known=MAILBOX_UNKNOWN, status=400),
    "no delegation": _refused(Refusal.DELEGATION_MISSING),
    "no consent": _refused(Refusal.CONSENT_MISSING),
    "bad secret": _refused(Refusal.SECRET_INVALID),
}
"""What may be answered instead of a grant."""
REFUSALS = frozenset(name for name, error in ANSWERS.items() if isinstance(error, Refused))
TROUBLES = ("unavailable", "slow down", "no delegation", "no consent", "bad secret")
"""What may be answered to every mailbox of a tenant in trouble."""
SPELLINGS: dict[str, Callable[[str], str]] = {
    "as in the roster": str,
    "upper case": lambda email: email.upper(),
    "title case": lambda email: email.title(),
    "full width": lambda email: (
        chr(ord(email[0]) + 0xFEE0) + email[1:] if email[0].isascii() else email
    ),
    "combining letters": lambda email: unicodedata.normalize("NFD", email),
    "Unicode domain": lambda email: email.replace("xn--bcher-kva", "b\u00fccher"),
}
ODD = {
    "no status": {"grant_status": None},
    "unknown status": {"grant_status": "pending"},
    "no provider": {"provider": None},
}
"""What makes an item of a listing unreadable."""
SHOWN = ODD | {"no time": {"created_at": None, "updated_at": None}}


@dataclass
class Admin:
    """The admin of a Microsoft tenant."""

    answers: bool = True
    """Whether a link is answered with yes."""
    honoured: bool = True
    """Whether there is a consent that Microsoft honours."""
    permissions: str = FEW

    @property
    def allows(self) -> bool:
        """Whether mailboxes can be granted all that is required."""
        return self.honoured and REQUIRED in self.permissions.split()


class Elsewhere(FakeNylas):
    """Nylas that takes each spelling for another mailbox, and whose listings are poor."""

    def __init__(self) -> None:
        super().__init__(limit_max=6, clock=iter(self._next_second, None))
        self.now = int(NOW.timestamp())
        """Nylas' own clock, which no step of ours sets."""
        self.lag = 0
        """By how many calls listings are behind."""
        self.ties: Random | None = None
        """Orders grants of the same second anew in each answer; None for by id."""
        self.refusing: dict[str, Exception] = {}
        """Mailboxes that can never be authenticated, each with what is answered."""
        self.troubles: dict[str, Exception] = {}
        """Tenants of which no mailbox can be authenticated, each with what is answered."""
        self.admins = {name: Admin() for name in CANARIES}
        self.allowed: set[str] = {*CANARIES.values()}
        """The mailboxes that a roster has had, and the canaries."""
        self.authenticated: list[str] = []
        self.violations: list[str] = []
        self._shown: dict[object, object] = {}
        """The credential with which each grant was last shown to us."""
        self._past: deque[list[tuple[str, Grant]]] = deque()

    def settle(self) -> None:
        """Let listings show all that has changed until now."""
        self._past.clear()

    def grant_of(self, mailbox: str) -> Grant | None:
        """The grant of a mailbox or of the primary address that it is an alias of."""
        wanted = PRIMARY if mailbox == ALIAS else mailbox
        return next((one for one in self.grants.values() if mailbox_of(one) == wanted), None)

    def has(self, email: str, **changed) -> Grant:
        """Add a grant, whether or not the address has one."""
        made = {"provider": str(provider_of(address_key(email)))} | changed
        return super().has(email, key=f"{next(self.clock)} {email}", **made)

    def seed(self, email: str, *, spelling, shown, tied, elsewhere, blocked, **grant) -> None:
        """Add a grant of before the first night."""
        last = next(reversed(self.grants.values()), None)
        if last is not None and tied and not last["tied"]:
            grant["created_at"] = last["created_at"]
        made = self._make(email, **grant)
        made["tied"] = tied
        if email in CANARIES.values():  # a person makes sure that a canary can be probed
            return
        made["email"], made["blocked"] = SPELLINGS[spelling](email), blocked
        if shown:
            made["shown"] = SHOWN[shown]
        # without a provider, nobody can tell that a grant is not the mailbox's
        if elsewhere and shown != "no provider":
            made["provider"] = "fastmail"

    def _make(self, email: str, *, theirs: bool, **grant) -> Grant:
        made = self.has(email, **grant)
        made["credential_id"] = THEIRS if theirs else CREDENTIALS[provider_of(email)]
        made["settings"]["credential_id"] = made["credential_id"]
        if provider_of(email) is Provider.MICROSOFT:
            made["settings"].pop("scopes")
            made["scope"] = FEW.split()
        return made

    def happen(self, what: str, email: str) -> None:
        """Let another party change a grant; listings show it at once."""
        there = self.grant_of(email)
        if there is None and what == "make":
            self._make(email, theirs=True)
        if there is not None and what == "break":
            there["grant_status"] = "invalid"
        if there is not None and what == "take":
            there["credential_id"] = there["settings"]["credential_id"] = THEIRS
        if what == "delete":
            self.grants = {key: one for key, one in self.grants.items() if one is not there}
        self.settle()

    def decide(self, what: str, tenant: str) -> None:
        """Let the tenant's admin do something; what is not a word for it is permissions."""
        admin = self.admins[tenant]
        match what:
            case "withdraw":
                self._withdraw(tenant)
            case "consent":
                admin.honoured = True
            case "stay silent" | "say yes":
                admin.answers = what == "say yes"
            case permissions:
                admin.permissions = permissions

    def relieve(self) -> None:
        """End all troubles of tenants."""
        self.troubles = {}
        self.admins = {name: Admin() for name in CANARIES}

    def is_in_trouble(self, tenant: str) -> bool:
        """Whether the tenant's mailboxes cannot be granted, whatever we do.

        A canary that is never granted speaks for its tenant, and a grant that another party uses
        must not be probed.
        """
        if tenant in self.troubles:
            return True
        if tenant not in CANARIES:
            return False
        admin, canarys = self.admins[tenant], self.grant_of(CANARIES[tenant])
        theirs = canarys is not None and canarys["credential_id"] == THEIRS
        refused = CANARIES[tenant] in self.refusing
        return theirs or refused or not (admin.allows and admin.answers)

    def _withdraw(self, tenant: str) -> None:
        """Let Microsoft no longer honour the tenant's consent, so that our grants break."""
        self.admins[tenant].honoured = False
        for one in self.grants.values():
            if one["credential_id"] == OURS_AT_MICROSOFT and tenant_of(mailbox_of(one)) == tenant:
                one["grant_status"] = "invalid"

    def _next_second(self) -> int:
        self.now += 1
        return self.now

    def _answer(self, call):
        self._past.append([(key, dict(one)) for key, one in self.grants.items()])
        while len(self._past) > self.lag + 1:
            self._past.popleft()
        if call.method != "GET" and (call.method, call.path) != ("POST", "/v3/connect/custom"):
            self.violations.append(f"{call.label} was called")
        answer = super()._answer(call)
        if call.path.startswith("/v3/grants/"):
            answer = {"data": self._show(answer["data"])}
        return answer

    def _show(self, one: Grant) -> Grant:
        self._shown[one["id"]] = one["credential_id"]
        return {name: value for name, value in one.items() if name != "shown"} | one.get(
            "shown", {}
        )

    def _authenticate(self, call):
        settings = call.body["settings"]
        asked = settings["email_address"]
        mailbox = address_key(asked)
        tenant = tenant_of(mailbox)
        self.authenticated.append(mailbox)
        for refusing, who in ((self.refusing, mailbox), (self.troubles, tenant)):
            if who in refusing:
                raise refusing[who]
        if tenant in self.admins and not self.admins[tenant].honoured:
            raise ANSWERS["no consent"]
        there = self.grant_of(mailbox)
        if mailbox != ALIAS and there is not None and there["email"] != asked:
            self._note(there, f"{mailbox} got a second grant")
            there = None
        if there is None:
            there = self.has(PRIMARY if mailbox == ALIAS else asked)
        if not self.allowed & {mailbox, ALIAS if mailbox == PRIMARY else mailbox}:
            self._note(there, f"{mailbox} was authenticated without an entry")
        if THEIRS in (there["credential_id"], self._shown.get(there["id"])):
            self._note(there, f"the grant of another party for {mailbox} was taken over")
        if there["blocked"] or there.get("shown", {}).keys() & {"grant_status"}:
            self._note(there, f"{mailbox} was authenticated though it should be left alone")
        there |= {
            "grant_status": "valid",
            "updated_at": next(self.clock),
            "settings": dict(settings),
            "credential_id": settings["credential_id"],
        }
        if tenant in self.admins:
            there["scope"] = self.admins[tenant].permissions.split()
        return {"data": self._show(there)}

    def _note(self, there: Grant, what: str) -> None:
        """Note a violation, unless the grant was never shown to us."""
        if there["id"] in self._shown or "without an entry" in what:
            self.violations.append(what)

    def _list(self, call):
        query = call.query
        order = {one: self.ties.random() if self.ties else one for one, _ in self._past[0]}
        found = sorted(self._past[0], key=lambda one: (one[1][query["sort_by"]], order[one[0]]))
        found = [one for one in found if query.get("email") in {None, one[1]["email"]}]
        if query["order_by"] == "desc":
            found.reverse()
        limit, offset = min(int(query["limit"]), self.limit_max), int(query["offset"])
        page = found[offset : offset + limit][: self.cut(offset)]
        return {"data": [self._show(one) for _, one in page], "limit": limit, "offset": offset}


@dataclass(frozen=True)
class Blocking:
    """A sender without an event loop."""

    nylas: FakeNylas

    def send(self, call):
        return self.nylas.answer(call)
