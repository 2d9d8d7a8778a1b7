"""Wherever they start, the grants become equal to the roster, and then stay so."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from datetime import timedelta

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from bulkgrants.errors import RateLimited, Unavailable
from bulkgrants.ledger import runs
from bulkgrants.ledger.tables import entries
from bulkgrants.reconcile.apply import apply_batch
from bulkgrants.reconcile.observe import observe
from bulkgrants.reconcile.plan import plan
from bulkgrants.reconcile.report import Report, close_run
from bulkgrants.reconcile.verify import verify
from support.fakes import FakeNylas
from support.ledgers import MAIL, NOW, entry, noted, opened, rows, with_tenants
from support.worlds import CALENDAR, FAULTS, ODD, THEIRS, Drawn, World, drawn, mailbox_of

FEW = 10
WORLDS = int(os.environ.get("BULKGRANTS_WORLDS", FEW))
"""How many random worlds each test gets."""
SCOPES = st.sampled_from([MAIL, f"{CALENDAR} {MAIL}"])
CHANGES = ("create", "renew", "rescope", "revoke")

address = st.sampled_from([f"{letter}@example.com" for letter in "abcdefgh"])
rosters = st.dictionaries(address, SCOPES, max_size=6)
starts = st.dictionaries(
    address,
    st.fixed_dictionaries(
        {
            "grant_status": st.sampled_from(["valid", "invalid"]),
            "scopes": SCOPES.map(str.split),
            "blocked": st.sampled_from([False, False, True]),
            "spelling": st.sampled_from([str.lower, str.upper, str.title]),
        }
    ),
    max_size=6,
)


def seeded(grants) -> FakeNylas:
    nylas = FakeNylas()
    for email, grant in grants.items():
        changed = {name: value for name, value in grant.items() if name != "spelling"}
        nylas.has(email, **changed)
        nylas.grants[email]["email"] = grant["spelling"](email)
    return nylas


async def night(engine, nylas, roster, number: int) -> Report:
    """Make a whole run; open changes are applied again until none are left."""
    now = NOW + timedelta(days=number)
    run = opened(engine, f"night {number}", now=now)
    with engine.begin() as connection:
        connection.execute(entries.delete())
        if roster:
            connection.execute(
                insert(entries),
                [entry("acme", email, scopes=scopes) for email, scopes in roster.items()],
            )
    run = noted(engine, run, entries=len(roster), rejected=0)
    await again(lambda: observe(engine, nylas, run, clock=lambda: now))
    run = runs.read_run(engine, run.run_id)
    made = plan(engine, run, batch_size=3, now=now)
    for batch in made.batches:
        await again(lambda batch=batch: apply_batch(engine, nylas, run, batch, clock=lambda: now))
    await again(lambda: verify(engine, nylas, run, clock=lambda: now, pause=at_once))
    return close_run(engine, runs.read_run(engine, run.run_id), now)


async def at_once(seconds) -> None:
    """For a pause."""


async def again(step):
    while True:
        try:
            return await step()
        except (Unavailable, RateLimited):
            continue


def changes(report: Report) -> dict[str, int]:
    return {kind: report.counts[kind] for kind in CHANGES if kind in report.counts}


def as_wanted(nylas: FakeNylas, roster, blocked) -> bool:
    return all(
        nylas.grants[email]["grant_status"] == "valid"
        and nylas.grants[email]["settings"]["scopes"] == scopes.split()
        for email, scopes in roster.items()
        if email not in blocked
    )


fresh = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}


@settings(max_examples=WORLDS, **fresh)
@given(grants=starts, roster=rosters)
def test_one_run_without_faults_leaves_the_next_nothing_to_do(make_ledger, grants, roster):
    engine, nylas = make_ledger(), seeded(grants)
    ids = {email: grant["id"] for email, grant in nylas.grants.items()}
    with_tenants(engine, "acme")
    asyncio.run(night(engine, nylas, roster, 0))
    blocked = {email for email, grant in grants.items() if grant["blocked"]}
    assert as_wanted(nylas, roster, blocked)
    assert ids.items() <= {email: grant["id"] for email, grant in nylas.grants.items()}.items()
    assert nylas.grants.keys() == grants.keys() | roster.keys()
    second = asyncio.run(night(engine, nylas, roster, 1))
    assert changes(second) == {}
    assert second.complete
    engine.dispose()


@settings(max_examples=WORLDS, **fresh)
@given(
    grants=starts,
    rosters_=st.lists(rosters, min_size=1, max_size=3),
    faults=st.lists(
        st.none() | st.tuples(st.sampled_from(["before", "after"]), st.sampled_from([*FAULTS])),
        max_size=60,
    ),
)
def test_with_faults_that_end_a_few_runs_are_enough(make_ledger, grants, rosters_, faults):
    engine, nylas = make_ledger(), seeded(grants)
    with_tenants(engine, "acme")
    script, kept = iter(faults), []

    def before(call) -> None:
        when, name = next(script, None) or ("", "")
        if name.startswith("no ") and call.method != "POST":
            return
        if when == "before":
            raise FAULTS[name]
        if when == "after" and not name.startswith("no "):
            kept.append(FAULTS[name])

    def after(call) -> None:
        if kept:
            raise kept.pop()

    nylas.before, nylas.after = before, after
    for number, roster in enumerate(rosters_):
        asyncio.run(night(engine, nylas, roster, number))
    roster = rosters_[-1]
    for number in range(len(rosters_), len(rosters_) + 30):
        last = asyncio.run(night(engine, nylas, roster, number))
        if not changes(last) and not waiting(last):
            break
    else:
        raise AssertionError("thirty more runs were not enough")
    blocked = {email for email, grant in grants.items() if grant["blocked"]}
    assert as_wanted(nylas, roster, blocked)
    assert nylas.grants.keys() <= grants.keys() | set().union(*rosters_)
    engine.dispose()


def waiting(report: Report) -> bool:
    return bool({"skip:in_escrow", "skip:tenant_quarantined"} & report.counts.keys())


@settings(max_examples=WORLDS, **fresh)
@given(
    grants=starts,
    roster=rosters,
    cuts=st.lists(st.none() | st.integers(0, 2), max_size=40),
    lagging=st.lists(address, max_size=4),
)
def test_listings_that_lack_grants_neither_lose_nor_repeat_any(
    make_ledger, grants, roster, cuts, lagging
):
    """Pages are cut short and hide some grants, but the first night's listing is whole."""
    engine, nylas = make_ledger(), seeded(grants)
    nylas.limit_max = 3
    ids = {email: grant["id"] for email, grant in nylas.grants.items()}
    with_tenants(engine, "acme")
    asyncio.run(night(engine, nylas, roster, 0))
    made = Counter({email: nylas.calls[email] for email in roster})
    script = iter(cuts)
    nylas.cut = lambda offset: next(script, None)
    nylas.hidden = {email for email in lagging if email in nylas.grants}
    for number in (1, 2):
        report = asyncio.run(night(engine, nylas, roster, number))
        assert changes(report) == {}
    nylas.hidden = set()
    assert changes(asyncio.run(night(engine, nylas, roster, 3))) == {}
    assert Counter({email: nylas.calls[email] for email in roster}) == made
    blocked = {email for email, grant in grants.items() if grant["blocked"]}
    assert as_wanted(nylas, roster, blocked)
    assert ids.items() <= {email: grant["id"] for email, grant in nylas.grants.items()}.items()
    engine.dispose()


ENOUGH = 45
"""Nights without news after which a world must be at rest."""


def lived(engine, world: Drawn) -> None:
    """Live all nights of the world, then calm ones until nothing changes; judge what is left."""
    lives = World(engine, world)
    for roster, events in world.nights:
        for event in events:
            lives.happen(*event)
        asyncio.run(lives.night(roster))
    lives.calm()
    roster = world.nights[-1][0]
    for _ in range(ENOUGH):
        if quiet(lives, roster):
            break
    else:
        raise AssertionError("the nights do not end")
    assert quiet(lives, roster), "a second night without news changes something"
    assert not lives.nylas.violations, lives.nylas.violations
    judge(lives, roster)


def quiet(lives: World, roster) -> bool:
    """Make a night; whether it changed nothing, was complete, and has no mailbox waiting."""
    made = len(lives.nylas.authenticated)
    report = asyncio.run(lives.night(roster))
    asked = set(lives.nylas.authenticated[made:])
    return asked <= lives.nylas.refusing.keys() and report.complete and settled(lives, roster)


def settled(lives: World, roster) -> bool:
    return all(is_as_wanted(lives, email, scopes) for email, scopes in roster.items())


def is_as_wanted(lives: World, email: str, scopes: str) -> bool:
    grant = lives.nylas.grant_of(email)
    if grant is None:
        return email in lives.nylas.refusing
    if must_be_left_alone(grant) or email in lives.nylas.refusing:
        return True
    return grant["grant_status"] == "valid" and grant["settings"]["scopes"] == scopes.split()


def must_be_left_alone(grant) -> bool:
    odd = grant.get("shown") in ODD.values()
    return bool(grant["blocked"] or grant["credential_id"] == THEIRS or odd)


def judge(lives: World, roster) -> None:
    """Compare the ledger with what exists."""
    there = {grant["id"]: grant for grant in lives.nylas.grants.values()}
    known = rows(lives.engine, "grants")
    assert [row for row in known if row["gone_at"] and row["grant_id"] in there] == []
    owned = {row["email"] for row in known if row["owned"] and not row["gone_at"]}
    for email in roster:
        grant = lives.nylas.grant_of(email)
        if email not in lives.nylas.refusing and not must_be_left_alone(grant):
            assert email in owned
    mailboxes = Counter(filter(None, map(mailbox_of, there.values())))
    assert set(mailboxes.values()) <= {1}, "a mailbox has two grants"


@settings(max_examples=WORLDS, **fresh)
@example(
    Drawn(
        {},
        [({"a@example.com": MAIL}, [])],
        {"a@example.com": "unavailable"},
        steps=[8760] * 4 + [-8760] * 6,
    )
)
@given(world=drawn)
def test_any_world_comes_to_rest_as_the_roster_asks(make_ledger, world):
    engine = make_ledger()
    lived(engine, world)
    engine.dispose()


@settings(max_examples=WORLDS if WORLDS > FEW else 4, **fresh)
@given(world=drawn)
def test_any_world_comes_to_rest_on_postgresql(new_ledger, tmp_path, world):
    engine = new_ledger("postgresql", tmp_path)
    lived(engine, world)
    engine.dispose()
