"""Wherever they start, the grants become equal to the roster, and then stay so."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

from hypothesis import given, settings
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
from support.elsewhere import ANSWERS, CALENDAR, REFUSALS
from support.fakes import FakeNylas
from support.ledgers import MAIL, NOW, entry, noted, opened, with_tenants
from support.worlds import WORLDS, fresh

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
        st.none() | st.tuples(st.sampled_from(["before", "after"]), st.sampled_from([*ANSWERS])),
        max_size=60,
    ),
)
def test_with_faults_that_end_a_few_runs_are_enough(make_ledger, grants, rosters_, faults):
    engine, nylas = make_ledger(), seeded(grants)
    with_tenants(engine, "acme")
    script, kept = iter(faults), []

    def before(call) -> None:
        when, name = next(script, None) or ("", "")
        if name in REFUSALS and call.method != "POST":
            return
        if when == "before":
            raise ANSWERS[name]
        if when == "after" and name not in REFUSALS:
            kept.append(ANSWERS[name])

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
