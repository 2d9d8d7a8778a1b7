"""Random worlds for whole nights: what exists at Nylas, what happens there, and what goes wrong.

A world is drawn as plain values and then lived, night after night. `Elsewhere` is Nylas with all
the oddities that its contract allows; it notes whatever is done to grants that are not ours.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from threading import Thread

from hypothesis import strategies as st
from sqlalchemy import Engine, insert

from bulkgrants.errors import RateLimited, Refused, Superseded, Throttle, Unavailable
from bulkgrants.ledger import runs
from bulkgrants.ledger.rights import claim_batch
from bulkgrants.ledger.tables import entries
from bulkgrants.model import Run
from bulkgrants.reconcile.apply import apply_batch
from bulkgrants.reconcile.observe import observe
from bulkgrants.reconcile.plan import plan
from bulkgrants.reconcile.report import Report, close_run
from bulkgrants.reconcile.verify import verify
from bulkgrants.refusals import UNKNOWN_REFUSAL, Concerns, Refusal
from bulkgrants.text import address_key
from support.fakes import MAILBOX_UNKNOWN, FakeNylas, Grant
from support.ledgers import MAIL, NOW, entry, let_lapse, noted, opened, with_tenants

OURS, THEIRS = "cred-1", "cred-9"
CALENDAR = "https://www.googleapis.com/auth/calendar"
UNDELEGATED = replace(UNKNOWN_REFUSAL, refusal=Refusal.DELEGATION_MISSING, concerns=Concerns.TENANT)
ALIAS, PRIMARY = "sales@example.com", "ann@example.com"
MAILBOXES = (
    *(f"{letter}@example.com" for letter in "abcdef"),
    "r\u00e9my@example.com",
    "g@xn--bcher-kva.example",
)
TRIES = 3
"""How often a task is tried, as Airflow retries it."""

FAULTS = {
    "unavailable": Unavailable("down", after=0.0, status=503),
    "slow down": RateLimited("slow", throttle=Throttle.PROVIDER, after=0.0),
    "too many": RateLimited("slow", throttle=Throttle.NYLAS, after=0.0),
    "no such mailbox": Refused("no", known=MAILBOX_UNKNOWN, status=400),
    "no delegation": Refused("no", known=UNDELEGATED, status=400),
}
REFUSALS = frozenset(name for name, error in FAULTS.items() if isinstance(error, Refused))
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


def mailbox_of(grant: Grant) -> str:
    """The mailbox that a grant belongs to; empty for one of a provider that we do not know."""
    return address_key(grant["email"]) if grant["provider"] == "google" else ""


class Elsewhere(FakeNylas):
    """Nylas that takes each spelling for another mailbox, and whose listings are poor."""

    def __init__(self) -> None:
        super().__init__(limit_max=6)
        self.lag = 0
        """By how many calls listings are behind."""
        self.ties: Random | None = None
        """Orders grants of the same second anew in each answer; None for by id."""
        self.refusing: dict[str, Exception] = {}
        """Mailboxes that can never be authenticated, each with what is answered."""
        self.allowed: set[str] = set()
        """The mailboxes that a roster has had."""
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
        return super().has(email, key=f"{next(self.clock)} {email}", **changed)

    def _answer(self, call):
        self._past.append([(key, dict(one)) for key, one in self.grants.items()])
        while len(self._past) > self.lag + 1:
            self._past.popleft()
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
        self.authenticated.append(mailbox)
        if mailbox in self.refusing:
            raise self.refusing[mailbox]
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
        return {"data": self._show(there)}

    def _note(self, there: Grant, what: str) -> None:
        """Note a violation, unless the grant was never shown to us."""
        if there["id"] in self._shown or "without an entry" in what:
            self.violations.append(what)

    def _list(self, call):
        query = call.query
        order = {one: self.ties.random() if self.ties else one for one, _ in self._past[0]}
        found = sorted(self._past[0], key=lambda one: (one[1][query["sort_by"]], order[one[0]]))
        if query["order_by"] == "desc":
            found.reverse()
        limit, offset = min(int(query["limit"]), self.limit_max), int(query["offset"])
        page = found[offset : offset + limit][: self.cut(offset)]
        return {"data": [self._show(one) for _, one in page], "limit": limit, "offset": offset}


hours = st.sampled_from([0, 0, 0, 0, 1, -1, 24, -24, 8760, -8760])
scopes = st.sampled_from([MAIL, f"{CALENDAR} {MAIL}"])
mailbox = st.sampled_from(MAILBOXES)
seeds = st.dictionaries(
    mailbox,
    st.fixed_dictionaries(
        {
            "grant_status": st.sampled_from(["valid", "invalid"]),
            "scopes": scopes.map(str.split),
            "blocked": st.sampled_from([False, False, False, True]),
            "credential_id": st.sampled_from([OURS, OURS, THEIRS]),
            "spelling": st.sampled_from([*SPELLINGS]),
            "shown": st.sampled_from([None, None, None, *SHOWN]),
            "provider": st.sampled_from(["google", "google", "google", "fastmail"]),
            "tied": st.booleans(),
        }
    ),
    max_size=8,
)


def agreeing(roster: dict[str, str]) -> dict[str, str]:
    """The roster, with the same scopes for an alias and its primary: they have one grant."""
    both = {PRIMARY: roster[ALIAS]} if roster.keys() >= {ALIAS, PRIMARY} else {}
    return roster | both


wanted = st.dictionaries(st.sampled_from((*MAILBOXES, ALIAS, PRIMARY)), scopes, max_size=7).map(
    agreeing
)
events = st.lists(
    st.tuples(st.sampled_from(["break", "delete", "take", "make"]), mailbox), max_size=3
)
faults = st.tuples(
    st.sampled_from(["before", "after"]), st.sampled_from([*FAULTS, "freeze", "lose the batch"])
)


@dataclass(frozen=True)
class Drawn:
    """All that chance decides about a world."""

    seeds: dict[str, dict]
    nights: list[tuple[dict[str, str], list[tuple[str, str]]]]
    """Of each night the roster, and what other parties do before."""
    refusing: dict[str, str] = field(default_factory=dict)
    faults: list[tuple[str, str] | None] = field(default_factory=list)
    """What goes wrong with each call."""
    cuts: list[int | None] = field(default_factory=list)
    """How many items each page of a listing shows at most, after the first night."""
    steps: list[int] = field(default_factory=list)
    """The hours by which our clock is set forward or back before each task."""
    lag: int = 0
    ties: int | None = None


drawn = st.builds(
    Drawn,
    seeds=seeds,
    nights=st.lists(st.tuples(wanted, events), min_size=1, max_size=3),
    refusing=st.dictionaries(
        mailbox, st.sampled_from(["unavailable", "no such mailbox", "no delegation"]), max_size=2
    ),
    faults=st.lists(st.none() | st.none() | faults, max_size=60),
    cuts=st.lists(st.none() | st.integers(0, 3), max_size=30),
    steps=st.lists(hours, max_size=12),
    lag=st.integers(0, 6),
    ties=st.none() | st.integers(0, 99),
)


class World:
    """A drawn world, and the nights in it."""

    def __init__(self, engine: Engine, world: Drawn) -> None:
        self.engine, self.nylas = engine, Elsewhere()
        self.now, self.number = NOW, 0
        self._calm = False
        self._faults, self._cuts, self._steps = map(iter, (world.faults, world.cuts, world.steps))
        self._late: Exception | None = None
        self._was_cut = False
        self._roster: dict[str, str] = {}
        self._at: tuple[Run, int] | None = None
        self.nylas.before, self.nylas.after = self._before, self._after
        self.nylas.cut = self._cut
        self.nylas.lag = world.lag
        self.nylas.ties = None if world.ties is None else Random(world.ties)
        self.nylas.refusing = {email: FAULTS[name] for email, name in world.refusing.items()}
        for email, seed in world.seeds.items():
            self._seed(email, **seed)
        with_tenants(engine, "acme")

    def _seed(self, email: str, *, spelling: str, shown: str | None, tied: bool, **seed) -> None:
        last = next(reversed(self.nylas.grants.values()), None)
        if last is not None and tied and not last["tied"]:
            seed["created_at"] = last["created_at"]
        made = self._make(email, seed)
        made["email"] = SPELLINGS[spelling](email)
        made["tied"] = tied
        if shown:
            made["shown"] = SHOWN[shown]
        if shown == "no provider":
            made["provider"] = (
                "google"  # of any other, nobody can tell that it is not the mailbox's
            )

    def _make(self, email: str, grant: Grant) -> Grant:
        made = self.nylas.has(email, **grant)
        made["settings"]["credential_id"] = made["credential_id"]
        return made

    def happen(self, what: str, email: str) -> None:
        """Let another party change a grant; listings show it at once."""
        there = self.nylas.grant_of(email)
        if there is None and what == "make":
            self._make(email, {"credential_id": THEIRS})
        if there is not None and what == "break":
            there["grant_status"] = "invalid"
        if there is not None and what == "take":
            there["credential_id"] = there["settings"]["credential_id"] = THEIRS
        if what == "delete":
            kept = self.nylas.grants.items()
            self.nylas.grants = {key: one for key, one in kept if one is not there}
        self.nylas.settle()

    def calm(self) -> None:
        """Let nothing more go wrong, except for mailboxes that are never served or refused."""
        self._calm = True
        self.nylas.lag, self.nylas.ties, self.nylas.cut = 0, None, lambda offset: None

    async def night(self, roster: dict[str, str]) -> Report | None:
        """Make a run; None if it failed before its plan, or if another run took over."""
        self.number += 1
        self.now += timedelta(days=1)
        self._roster = roster
        self.nylas.allowed |= roster.keys()
        let_lapse(self.engine)
        run = opened(self.engine, f"night {self.number}", now=self._tick())
        try:
            return await self._tasks(run, roster)
        except Superseded:
            return None

    async def _tasks(self, run: Run, roster: dict[str, str]) -> Report | None:
        with self.engine.begin() as connection:
            connection.execute(entries.delete())
            if roster:
                rows = [entry("acme", email, scopes=scopes) for email, scopes in roster.items()]
                connection.execute(insert(entries), rows)
        run = noted(self.engine, run, entries=len(roster), rejected=0)
        engine, nylas = self.engine, self.nylas
        if not await self._task(lambda: observe(engine, nylas, run, clock=self._clock)):
            close_run(engine, runs.read_run(engine, run.run_id), self._tick())
            return None
        planned = runs.read_run(engine, run.run_id)
        for batch in plan(engine, planned, batch_size=3, now=self._tick()).batches:
            self._at = planned, batch
            await self._task(
                lambda batch=batch: apply_batch(engine, nylas, planned, batch, clock=self._clock)
            )
        self._at = None
        await self._task(lambda: verify(engine, nylas, planned, clock=self._clock, pause=_at_once))
        return close_run(engine, runs.read_run(engine, run.run_id), self._tick())

    async def _task(self, step) -> bool:
        """Try a task as often as Airflow does. Raises Superseded if the last try does."""
        for left in reversed(range(TRIES)):
            self._tick()
            try:
                await step()
            except (Unavailable, RateLimited):
                continue
            except Superseded:
                if not left:
                    raise
                continue
            return True
        return False

    def _clock(self) -> datetime:
        return self.now

    def _tick(self) -> datetime:
        if not self._calm:
            self.now += timedelta(hours=next(self._steps, 0))
        return self.now

    def _before(self, call) -> None:
        when, name = (not self._calm and next(self._faults, None)) or ("", "")
        if not when or (name in REFUSALS and (when == "after" or call.method != "POST")):
            return
        if name == "freeze":
            self._freeze(self._take_over)
        elif name == "lose the batch":
            self._freeze(self._claim)
        elif when == "before":
            raise FAULTS[name]
        else:
            self._late = FAULTS[name]

    def _after(self, call) -> None:
        late, self._late = self._late, None
        if late is not None:
            raise late

    def _cut(self, offset: int) -> int | None:
        """Not on the first night, and never two pages in a row: two say that the list ends."""
        length = None if self.number == 1 or self._was_cut else next(self._cuts, None)
        self._was_cut = length is not None
        return length

    def _freeze(self, meanwhile: Callable[[], None]) -> None:
        """Stop this task's event loop until another process has done its part."""
        self._calm, calm = True, self._calm
        other = Thread(target=meanwhile)
        other.start()
        other.join()
        self._calm = calm

    def _take_over(self) -> None:
        """Make the whole next night."""
        asyncio.run(self.night(self._roster))

    def _claim(self) -> None:
        if self._at is not None:
            claim_batch(self.engine, *self._at, self.now)


async def _at_once(seconds: float) -> None:
    """For a pause."""
