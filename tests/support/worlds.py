"""Random worlds as plain values: who is there, what happens each night, and what goes wrong."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from hypothesis import HealthCheck
from hypothesis import strategies as st

from support.elsewhere import (
    ALIAS,
    ANSWERS,
    CALENDAR,
    CANARIES,
    FEW,
    MAILBOXES,
    MORE,
    PRIMARY,
    SHOWN,
    SPELLINGS,
    TENANTS,
    TOO_FEW,
    TROUBLES,
)
from support.ledgers import MAIL

FEW_WORLDS = 6
WORLDS = int(os.environ.get("BULKGRANTS_WORLDS", FEW_WORLDS))
"""How many random worlds each test gets."""
fresh = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}
"""Settings of tests whose worlds have a ledger each."""
MISHAPS = ("freeze", "lose the batch", "twin", "another run", "die")
"""What may happen to a process around a call: it stands still, a task of the same run takes its
batch or applies it, a run that begins at the same time asks for the lease, or it is killed."""

Roster = dict[str, str]
"""The scopes of each mailbox."""

hours = st.sampled_from([0, 0, 0, 0, 1, -1, 24, -24, 8760, -8760])
scopes = st.sampled_from([MAIL, f"{CALENDAR} {MAIL}"])
several = {name: (*MAILBOXES[name], *filter(None, [CANARIES.get(name)])) for name in TENANTS}
mailbox = st.sampled_from(
    [*MAILBOXES["acme"] * 2, *(one for all_ in several.values() for one in all_)]
)
microsoft = st.sampled_from([*CANARIES])
seeds = st.dictionaries(
    mailbox,
    st.fixed_dictionaries(
        {
            "grant_status": st.sampled_from(["valid", "invalid"]),
            "scopes": scopes.map(str.split),
            "blocked": st.sampled_from([False, False, False, True]),
            "theirs": st.sampled_from([False, False, True]),
            "spelling": st.sampled_from([*SPELLINGS]),
            "shown": st.sampled_from([None, None, None, *SHOWN]),
            "elsewhere": st.sampled_from([False, False, False, True]),
            "tied": st.booleans(),
        }
    ),
    max_size=8,
)


def of_tenant(name: str) -> st.SearchStrategy[Roster]:
    """What the roster asks for one tenant besides `acme`: often all of it, often nothing."""
    wanted = st.just("") if name in CANARIES else scopes
    everyone = st.fixed_dictionaries(dict.fromkeys(MAILBOXES[name], wanted))
    some = st.dictionaries(st.sampled_from(several[name]), wanted, max_size=5)
    return st.just({}) | some | everyone


def together(parts: tuple[Roster, ...]) -> Roster:
    return {email: wanted for part in parts for email, wanted in part.items()}


acme = st.dictionaries(st.sampled_from((*MAILBOXES["acme"], ALIAS, PRIMARY)), scopes, max_size=7)
rosters = st.tuples(acme, *(of_tenant(name) for name in TENANTS if name != "acme")).map(together)
events = st.lists(
    st.tuples(st.sampled_from(["break", "delete", "take", "make"]), mailbox)
    | st.tuples(
        st.sampled_from(["withdraw", "consent", "stay silent", "say yes", "probe"]), microsoft
    )
    | st.tuples(st.sampled_from([FEW, MORE, TOO_FEW]), microsoft),
    max_size=4,
)
faults = st.tuples(st.sampled_from(["before", "after"]), st.sampled_from([*ANSWERS, *MISHAPS]))
troubles = st.dictionaries(st.sampled_from([*TENANTS]), st.sampled_from(TROUBLES), max_size=2)


@dataclass(frozen=True)
class Drawn:
    """All that chance decides about a world."""

    seeds: dict[str, dict]
    nights: list[tuple[Roster, list[tuple[str, str]]]]
    """Of each night the roster, and what other parties do before."""
    refusing: dict[str, str] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    """The tenants that are refused or not served as a whole, each with what is answered."""
    faults: list[tuple[str, str] | None] = field(default_factory=list)
    """What goes wrong with each call."""
    stops: list[tuple[int, str]] = field(default_factory=list)
    """After how many more statements for the ledger a process dies, or stands still."""
    turns: list[int | None] = field(default_factory=list)
    """How many calls the other run makes each time a process stands still; None for all it has."""
    cuts: list[int | None] = field(default_factory=list)
    """How many items each page of a listing shows at most, after the first night."""
    steps: list[int] = field(default_factory=list)
    """The hours by which our clock is set forward or back before each task."""
    batch_size: int = 3
    lag: int = 0
    ties: int | None = None


drawn = st.builds(
    Drawn,
    seeds=seeds,
    nights=st.lists(st.tuples(rosters, events), min_size=1, max_size=3),
    refusing=st.dictionaries(
        mailbox, st.sampled_from(["unavailable", "no such mailbox", "no delegation"]), max_size=2
    ),
    troubles=troubles,
    faults=st.lists(st.none() | st.none() | faults, max_size=60),
    stops=st.lists(st.tuples(st.integers(0, 150), st.sampled_from(["die", "freeze"])), max_size=4),
    turns=st.lists(st.none() | st.integers(1, 12), max_size=4),
    cuts=st.lists(st.none() | st.integers(0, 3), max_size=30),
    steps=st.lists(hours, max_size=12),
    batch_size=st.sampled_from([3, 50]),
    lag=st.integers(0, 6),
    ties=st.none() | st.integers(0, 99),
)
in_trouble = st.builds(
    Drawn,
    seeds=st.just({}),
    nights=st.lists(st.tuples(rosters, st.just([])), min_size=1, max_size=1),
    troubles=troubles,
    batch_size=st.sampled_from([3, 50]),
)
"""Worlds of one night, in which nothing is wrong but that tenants are in trouble."""
