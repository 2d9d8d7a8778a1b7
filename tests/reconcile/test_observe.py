"""A listing does not miss a grant, whatever happens to the list while it is read."""

import asyncio

import pytest

from bulkgrants.errors import Superseded, Unavailable
from bulkgrants.ledger.rights import LEASE_TERM
from bulkgrants.model import Selection
from bulkgrants.reconcile.observe import observe
from support.fakes import FakeNylas
from support.ledgers import NOW, granted, lease_run, opened, put, rows
from support.ledgers import grant as known


def addresses(count: int) -> list[str]:
    return [f"user{number:04d}@example.com" for number in range(count)]


def nylas_with(count: int, limit_max: int = 200) -> FakeNylas:
    nylas = FakeNylas(limit_max=limit_max)
    for email in addresses(count):
        nylas.has(email)
    return nylas


async def observed(engine, nylas, run=None, now=NOW) -> int:
    run = run or opened(engine, now=now)
    return await observe(engine, nylas, run, clock=lambda: now)


@pytest.mark.parametrize("limit_max", [200, 50, 2])
@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 99, 100, 101, 250])
async def test_every_grant_is_found_once_however_the_pages_fall(make_ledger, count, limit_max):
    ledger = make_ledger()
    assert await observed(ledger, nylas_with(count, limit_max)) == count
    assert sorted(granted(ledger)) == addresses(count)
    assert len(rows(ledger, "observed")) == count


async def test_pages_are_not_asked_for_far_beyond_the_end(make_ledger):
    nylas = nylas_with(201)
    await observed(make_ledger(), nylas)
    assert nylas.calls["GET /v3/grants"] <= 5


@pytest.mark.parametrize("shown", [0, 1, 2, 9, 19])
@pytest.mark.parametrize("place", [0, 1, 2, 4, 7])
async def test_a_page_that_is_short_by_mistake_is_not_the_end(make_ledger, place, shown):
    """The page is asked for once more at most: a mistake that lasts is an error, not an end."""
    ledger, nylas = make_ledger(), nylas_with(150, 20)
    mistakes = {19 * place: shown}
    nylas.cut = lambda offset: mistakes.pop(offset, None)
    assert await observed(ledger, nylas) == 150
    assert not mistakes


@pytest.mark.parametrize("shown", [0, 1, 12])
async def test_a_page_that_stays_short_does_not_hide_what_is_behind_it(make_ledger, shown):
    ledger, nylas = make_ledger(), nylas_with(150, 20)
    nylas.cut = lambda offset: shown if offset == 57 else None
    assert await observed(ledger, nylas) == 150


async def test_grants_of_the_same_second_may_change_their_places(make_world, make_ledger):
    world = make_world(make_ledger())
    world.control.set_switches(listing_ties="shuffled", limit_max=60)
    for second in range(20):
        domain = f"d{second}.example.com"
        world.control.seed(25, domain=domain, created_at=1_000 + second, created_step=0)
    missed = []
    for _ in range(2):
        await world.reconcile([])
        gone = [row["email"] for row in world.rows("grants") if row["gone_at"]]
        missed.append(500 - len(world.rows("grants")) + len(gone))
    assert missed == [0, 0]


@pytest.mark.parametrize("limit_max", [20, 7])
@pytest.mark.parametrize("victims", [1, 2, 3, 9])
@pytest.mark.parametrize("where", ["front", "behind", "seam", "spread"])
async def test_grants_deleted_between_pages_do_not_hide_others(
    make_ledger, limit_max, victims, where
):
    """If it misses one, it says so; it never succeeds with a grant missing."""
    ledger = make_ledger()
    nylas = nylas_with(150, limit_max)
    everyone = addresses(150)
    first = {"front": 0, "behind": 3 * limit_max, "seam": limit_max - 1, "spread": 0}[where]
    step = 11 if where == "spread" else 1
    doomed = everyone[first : first + victims * step : step]
    requests = 0

    def strike(call) -> None:
        nonlocal requests
        requests += 1
        if requests == 5:
            for email in doomed:
                del nylas.grants[email]

    nylas.before = strike
    try:
        await observed(ledger, nylas)
    except Unavailable as error:
        assert "gap" in str(error)  # noqa: PT017 - either is right, and both are checked
        assert victims > limit_max // 2 - 2
    else:
        assert set(everyone) - set(doomed) <= set(granted(ledger))
    await observed(ledger, nylas)
    alive = [row["email"] for row in granted(ledger).values() if row["gone_at"] is None]
    assert sorted(alive) == sorted(nylas.grants)


async def test_grants_deleted_all_the_time_end_in_a_whole_listing_or_a_clear_error(make_ledger):
    for every in (2, 3, 5, 8):
        ledger = make_ledger()
        nylas = nylas_with(200, 10)
        requests = 0

        def strike(call, nylas=nylas, every=every) -> None:
            nonlocal requests
            requests += 1
            if requests % every == 0:
                del nylas.grants[next(iter(nylas.grants))]

        nylas.before = strike
        try:
            await observed(ledger, nylas)
        except Unavailable:
            continue
        assert set(nylas.grants) <= set(granted(ledger))


async def test_a_grant_made_between_pages_is_found_and_does_not_hide_others(make_ledger):
    ledger = make_ledger()
    nylas = nylas_with(100, 10)

    def create(call) -> None:
        if len(nylas.grants) < 130:
            nylas.has(f"new{len(nylas.grants)}@example.com")

    nylas.before = create
    await observed(ledger, nylas)
    assert set(addresses(100)) <= set(granted(ledger))


async def test_the_first_grant_after_a_seam_may_be_deleted_before_the_seam_is_read(ledger):
    nylas = nylas_with(40, 10)
    emails = list(nylas.grants)
    deleted_before = {"9": emails[0], "5": emails[10]}

    def delete(call) -> None:
        nylas.grants.pop(deleted_before.pop(call.query["offset"], ""), None)

    nylas.before = delete
    await observed(ledger, nylas)
    assert not deleted_before
    assert set(emails[1:10]) | set(emails[11:]) <= set(granted(ledger))


async def test_over_http_too_grants_deleted_between_pages_do_not_hide_others(world):
    # A seam of 20 joins the pages beside it whenever the four are deleted; one of 10 might not.
    world.control.set_switches(limit_max=20)
    world.control.seed(195, domain="acme.example.com")
    seeded = world.control.grants()
    doomed = [seeded[number] for number in (0, 19, 20, 117)]
    run = world.open()
    async with world.sender() as sender:
        deleting = Deleting(sender, world, [grant["id"] for grant in doomed])
        await observe(world.engine, deleting, run, clock=world.clock)
    kept = {grant["email"] for grant in seeded} - {grant["email"] for grant in doomed}
    assert kept <= {row["email"] for row in world.rows("grants")}
    assert set(world.grants()) == kept


class Deleting:
    """Deletes one grant before each page except the first."""

    def __init__(self, sender, world, ids) -> None:
        self.sender, self.world, self.ids, self.sent = sender, world, ids, 0

    async def send(self, call):
        self.sent += 1
        if self.sent > 1 and self.ids:
            await asyncio.to_thread(self.world.delete, self.ids.pop())
        return await self.sender.send(call)


async def test_a_page_that_repeats_is_an_error_and_not_an_endless_loop(make_ledger):
    nylas = nylas_with(30, 10)

    class Deaf:
        async def send(self, call):
            return await nylas.send(type(call)(**parts(call) | {"query": at_start(call)}))

    def parts(call) -> dict:
        return {name: getattr(call, name) for name in ("method", "path", "parse")}

    def at_start(call) -> dict:
        return {**call.query, "offset": "0"}

    with pytest.raises(Unavailable, match="same page of grants at offset 9"):
        await observed(make_ledger(), Deaf())


async def test_what_an_interrupted_listing_left_is_not_mixed_with_the_next(ledger):
    nylas = nylas_with(250, 10)
    requests = 0

    def fail(call) -> None:
        nonlocal requests
        requests += 1
        if requests > 25:
            raise Superseded("the worker died")

    nylas.before = fail
    run = opened(ledger)
    with pytest.raises(Superseded):
        await observed(ledger, nylas, run)
    assert rows(ledger, "grants") == []
    nylas.before = lambda call: nylas.grants.pop("user0003@example.com", None)
    assert await observed(ledger, nylas, run) == 249
    assert "user0003@example.com" not in granted(ledger)


async def test_a_run_that_lost_its_lease_while_listing_stages_nothing_into_the_next_runs(ledger):
    nylas = nylas_with(250, 10)
    late = opened(ledger, "late")
    requests = 0

    def overtaken(call) -> None:
        nonlocal requests
        requests += 1
        if requests == 3:
            lease_run(ledger, "heir", NOW + LEASE_TERM)
            put(ledger, "observed", staged("heirs@example.com"))

    nylas.before = overtaken
    with pytest.raises(Superseded):
        await observed(ledger, nylas, late)
    assert [row["email"] for row in rows(ledger, "observed")] == ["heirs@example.com"]
    assert rows(ledger, "grants") == []


def staged(email: str) -> dict:
    left_out = ("owned", "tenant", "orphan_since", "gone_at")
    return {name: value for name, value in known(email).items() if name not in left_out}


async def test_lost_staging_is_read_again_and_never_read_as_deletions(
    ledger,
):
    """A crash of PostgreSQL empties unlogged tables."""
    nylas = nylas_with(30, 10)
    run = opened(ledger)
    await observed(ledger, nylas, run)
    with ledger.begin() as connection:
        connection.exec_driver_sql("DELETE FROM observed")
    crashed = False

    def crash(call) -> None:
        nonlocal crashed
        if not crashed and rows(ledger, "observed"):
            with ledger.begin() as connection:
                connection.exec_driver_sql("DELETE FROM observed")
            crashed = True

    for email in [f"more{number}@example.com" for number in range(1200)]:
        nylas.has(email)
    nylas.before = crash
    with pytest.raises(Unavailable, match="staged"):
        await observed(ledger, nylas, run)
    assert {row["gone_at"] for row in granted(ledger).values()} == {None}


async def test_grants_without_an_address_do_not_belong_to_a_mailbox(ledger):
    nylas = nylas_with(3, 2)
    nylas.has("", key="calendar", provider="virtual-calendar")
    del nylas.grants["calendar"]["email"]
    assert await observed(ledger, nylas) == 3


async def test_of_two_grants_for_one_mailbox_the_known_one_counts_then_a_valid_one(ledger):
    nylas = FakeNylas()
    nylas.has("Twice@example.com", key="old", grant_status="invalid")
    nylas.has("twice@EXAMPLE.com", key="new")
    nylas.has("also@example.com", key="a", grant_status="invalid")
    valid = nylas.has("ALSO@example.com", key="b")
    put(ledger, "grants", known("twice@example.com", grant_id=nylas.grants["old"]["id"]))
    assert await observed(ledger, nylas) == 2
    found = granted(ledger)
    assert found["twice@example.com"]["grant_id"] == nylas.grants["old"]["id"]
    assert found["also@example.com"]["grant_id"] == valid["id"]


async def test_a_listing_of_one_mailbox_does_not_mark_others_as_gone(ledger):
    nylas = nylas_with(3)
    await observed(ledger, nylas)
    gone, kept = "user0001@example.com", "user0002@example.com"
    del nylas.grants[gone], nylas.grants[kept]
    for number, mailbox in enumerate((gone, "user0000@example.com")):
        run = opened(
            ledger,
            f"run {number}",
            now=NOW + 2 * (number + 1) * LEASE_TERM,
            selection=Selection(mailbox=mailbox),
        )
        await observe(ledger, nylas, run, clock=lambda: NOW)
    found = granted(ledger)
    assert found[gone]["gone_at"] == NOW
    assert found[kept]["gone_at"] is None
