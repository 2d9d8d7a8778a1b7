"""Any random world comes to rest as the roster asks, with nothing done that must not be."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import example, given, settings
from sqlalchemy import func, select

from bulkgrants.ledger.tables import attempts, changes
from support.elsewhere import (
    ALIAS,
    CALENDAR,
    CANARIES,
    MAILBOXES,
    ODD,
    PRIMARY,
    THEIRS,
    mailbox_of,
    tenant_of,
)
from support.ledgers import MAIL, rows
from support.lives import World, is_ours
from support.worlds import (
    FEW_WORLDS,
    WORLDS,
    Drawn,
    drawn,
    fresh,
    in_trouble,
)

# the cursor of a process that has died in the middle of a plan
pytestmark = pytest.mark.filterwarnings("ignore:.*ServerCursor.* was deleted:ResourceWarning")
WAITING = {"skip:in_escrow", "skip:tenant_quarantined"}
"""A night with such mailboxes is not at rest: the next one asks for them."""
ENOUGH = 45
"""Nights without news after which a world must be at rest."""


def lived(engine, world: Drawn) -> None:
    """Live all nights of the world, then calm ones until nothing changes; judge what is left.

    If tenants are in trouble, their troubles end then, and the world has to come to rest again.
    """
    lives, roster = lived_until_calm(engine, world), world.nights[-1][0]
    rest(lives, roster)
    if any(map(lives.nylas.is_in_trouble, MAILBOXES)):
        lives.relieve()
        rest(lives, roster)


def lived_until_calm(engine, world: Drawn) -> World:
    lives = World(engine, world)
    for roster, events in world.nights:
        for event in events:
            lives.happen(*event)
        asyncio.run(lives.night(roster))
    lives.calm()
    return lives


def rest(lives: World, roster) -> None:
    for _ in range(ENOUGH):
        news = unrest(lives, roster)
        if not news:
            break
    else:
        raise AssertionError(f"the nights do not end: {news}")
    news = unrest(lives, roster)
    assert not news, f"a second night without news is not at rest: {news}"
    assert not lives.nylas.violations, lives.nylas.violations
    judge(lives, roster)


def unrest(lives: World, roster) -> str:
    """Make a night; says what it changed or left open, and who is not as the roster asks."""
    made = len(lives.nylas.authenticated)
    report = asyncio.run(lives.night(roster))
    if report is None:
        return "the night failed"
    asked = {one for one in lives.nylas.authenticated[made:] if not is_refused(lives, one)}
    odd = unsettled(lives, roster)
    if not asked and report.complete and not odd and not WAITING & report.counts.keys():
        return ""
    return f"{sorted(asked)} were asked for, {odd} are not as wanted: {report.counts}"


def unsettled(lives: World, roster) -> list[str]:
    return [email for email in roster if not is_as_wanted(lives, email, roster)]


def is_refused(lives: World, email: str) -> bool:
    return email in lives.nylas.refusing or lives.nylas.is_in_trouble(tenant_of(email))


def is_as_wanted(lives: World, email: str, roster) -> bool:
    grant = lives.nylas.grant_of(email)
    if is_refused(lives, email):
        return True
    if grant is None:
        return False
    if must_be_left_alone(grant):
        return True
    sharing = {ALIAS, PRIMARY} if email in {ALIAS, PRIMARY} else {email}
    wanted = [roster[one].split() for one in sharing & roster.keys()]
    return grant["grant_status"] == "valid" and grant["settings"].get("scopes", []) in wanted


def must_be_left_alone(grant) -> bool:
    odd = grant.get("shown") in ODD.values()
    return bool(grant["blocked"] or grant["credential_id"] == THEIRS or odd)


def judge(lives: World, roster) -> None:
    """Compare the ledger with what exists."""
    there = {grant["id"]: grant for grant in lives.nylas.grants.values()}
    known = rows(lives.engine, "grants")
    alive = {row["grant_id"] for row in known if not row["gone_at"]}  # by one of its addresses
    assert there.keys() & {row["grant_id"] for row in known} <= alive
    owned = {row["email"] for row in known if is_ours(row)}
    for email in roster:
        if not is_refused(lives, email) and not must_be_left_alone(lives.nylas.grant_of(email)):
            assert email in owned
            assert has_the_canarys_permissions(lives, email, owned), email
    mailboxes = Counter(filter(None, map(mailbox_of, there.values())))
    assert set(mailboxes.values()) <= {1}, "a mailbox has two grants"
    assert not calls_without_an_attempt(lives)


def has_the_canarys_permissions(lives: World, email: str, owned: set[str]) -> bool:
    """Whether the grant is newer than the canary's of its tenant, or carries the same."""
    canary = CANARIES.get(tenant_of(email))
    shows = lives.nylas.grant_of(canary) if canary in owned else None
    if shows is None or shows["grant_status"] != "valid":
        return True
    grant = lives.nylas.grant_of(email)
    return grant["updated_at"] >= shows["updated_at"] or grant["scope"] == shows["scope"]


def calls_without_an_attempt(lives: World) -> Counter[str]:
    """The authentications that the ledger does not know of; those of canaries are probes."""
    same = (attempts.c.run_id == changes.c.run_id) & (attempts.c.seq == changes.c.seq)
    query = (
        select(changes.c.email, func.count())
        .join_from(changes, attempts, same)
        .group_by(changes.c.email)
    )
    with lives.engine.connect() as connection:
        known = Counter(dict(connection.execute(query).all()))
    known[PRIMARY] += known.pop(ALIAS, 0)
    called = Counter(PRIMARY if one == ALIAS else one for one in lives.nylas.authenticated)
    for canary in CANARIES.values():
        called.pop(canary, None)
    return called - known


@settings(max_examples=WORLDS, **fresh)
@example(
    Drawn(
        {},
        [({"a@example.com": MAIL}, [])],
        {"a@example.com": "unavailable"},
        steps=[8760] * 4 + [-8760] * 6,
    )
)
@example(
    Drawn(  # a clock that is a year ahead when a tenant goes into quarantine
        {},
        [(dict.fromkeys(MAILBOXES["globex"][:6], MAIL), [])],
        troubles={"globex": "bad secret"},
        batch_size=50,
        steps=[0] * 8 + [8760, -8760],
    )
)
@given(world=drawn)
def test_any_world_comes_to_rest_as_the_roster_asks(make_ledger, world):
    engine = make_ledger()
    lived(engine, world)
    engine.dispose()


@settings(max_examples=WORLDS if WORLDS > FEW_WORLDS else 3, **fresh)
@given(world=drawn)
def test_any_world_comes_to_rest_on_postgresql(new_ledger, tmp_path, world):
    engine = new_ledger("postgresql", tmp_path)
    lived(engine, world)
    engine.dispose()


@settings(max_examples=WORLDS, **fresh)
@given(world=in_trouble)
def test_a_tenant_in_trouble_costs_only_itself(make_ledger, world):
    """One night is enough for the mailboxes of all others."""
    engine = make_ledger()
    lives = World(engine, world)
    [(roster, _)] = world.nights
    asyncio.run(lives.night(roster))
    assert not unsettled(lives, roster)
    assert not lives.nylas.violations, lives.nylas.violations
    engine.dispose()


# Worlds that were found to break something, each as small as it can be.


def test_an_alias_and_its_primary_address_come_to_rest_with_other_scopes(make_ledger):
    engine, roster = make_ledger(), {ALIAS: MAIL, PRIMARY: f"{CALENDAR} {MAIL}"}
    lives = lived_until_calm(engine, Drawn({}, [(roster, [])]))
    unrest(lives, roster)
    assert not unrest(lives, roster)
    engine.dispose()


def test_a_consent_that_a_fast_clock_has_recorded_is_probed(make_ledger):
    engine, roster = make_ledger(), {"a@contoso.example": ""}
    dies_before_its_probe, steps = [("before", "die")] * 3, [0, 8760, 0, 0, -8760]
    world = Drawn({}, [(roster, [])], faults=dies_before_its_probe, steps=steps)
    lives = lived_until_calm(engine, world)
    unrest(lives, roster)
    assert not unsettled(lives, roster)
    engine.dispose()


def test_an_item_that_cannot_be_read_is_not_lost_where_two_pages_are_empty(make_ledger):
    odd = {"shown": "no status", "theirs": True, "spelling": "as in the roster"}
    plain = {"tied": False, "elsewhere": False, "blocked": False, "scopes": [MAIL]}
    engine, nights = make_ledger(), [({"a@example.com": MAIL}, [])] * 2
    world = Drawn({"a@example.com": odd | plain}, nights, cuts=[0] * 10)
    assert not lived_until_calm(engine, world).nylas.violations
    engine.dispose()
