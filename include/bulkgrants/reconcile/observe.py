"""Reads every grant of the application, page by page, into the ledger's staging."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TypeAlias

from bulkgrants.errors import RequestRefused, Unavailable
from bulkgrants.ledger import missing, staging
from bulkgrants.ledger.database import Cell, Ledger
from bulkgrants.ledger.missing import KnownGrant
from bulkgrants.ledger.rights import writing
from bulkgrants.ledger.runs import note, require_unplanned
from bulkgrants.model import Grant, Provider, Run, UnreadableGrant
from bulkgrants.nylas.calls import PAGE_SIZE, ListedGrant, Page, get_grant, list_grants
from bulkgrants.nylas.sending import AsyncSender, send_patiently
from bulkgrants.ports import Clock
from bulkgrants.text import address_key, bounded

_log = logging.getLogger(__name__)

FEWEST_VANISHED = 10
"""This many grants may be gone since the last listing, however few are known."""
VANISHED_SHARE = 10
"""One in so many known grants may be gone since the last listing."""
ASK_AT_MOST = 1_000
"""Grants that are asked for by id before they are called gone; at 40/s, 25 seconds."""
_AT_FIRST = 3
"""Pages requested at once at the beginning; for a short list, at most this many are wasted."""
_IN_FLIGHT = 32
_NAMED = 5
"""Mailboxes with two grants that are named in a sentence."""
_PAGES_PER_WRITE = 20
_WITH_ADDRESS = frozenset(map(str, Provider))
"""Providers whose grants always belong to a mailbox."""

_Page: TypeAlias = Page[ListedGrant]


@dataclass(frozen=True, slots=True)
class Listed:
    """What a listing returned."""

    pages: int
    staged: int
    """Grants with an address; those on a seam that was read twice count twice."""
    unreadable: int
    """Items that are not readable grants; they are set aside. They may count twice too."""
    contradicting: int = 0
    """Grants that name one credential at the top level and another in their settings."""
    wanted: frozenset[str] = frozenset()
    """The ids of the credentials that the roster asks for."""

    @property
    def note(self) -> str:
        """What was odd about the listing, in a sentence; empty if nothing was."""
        if not self.contradicting:
            return ""
        return (
            f"{self.contradicting} grants name one credential at the top level and another in "
            "their settings. For each, the one that the roster asks for counts. Ask Nylas' "
            "support which of the two is used."
        )


async def observe(
    ledger: Ledger, sender: AsyncSender, run: Run, *, clock: Clock, may_vanish: int = 0
) -> int:
    """List the grants that the run is about and merge them; returns how many mailboxes have one.

    An item that cannot be read as a grant is set aside: its mailbox is left alone, and what the
    ledger knew about its grant is kept, because the item shows that there is one.
    A known grant that we own or want is asked for by its id before it is called gone. `may_vanish`
    is how many grants a person expects to be gone, if there are more than usual.

    Raises what `stage_grants` raises, and Unavailable if the ledger has lost staged grants, or if
    more grants are missing than can be gone since the last listing.
    """
    listed = await stage_grants(ledger, sender, run, clock=clock)
    _log.info("Listed %d grants on %d pages", listed.staged, listed.pages)
    if listed.unreadable:
        _log.warning(
            "%d items of the listing cannot be read as grants; their mailboxes are left alone. The "
            "table unreadable_grants says what is wrong with each.",
            listed.unreadable,
        )
    listed, to_ask = await asyncio.to_thread(_missing, ledger, run, listed, may_vanish, clock)
    waiting = _Staging(listed)
    for first in range(0, len(to_ask), ASK_AT_MOST):
        block = to_ask[first : first + ASK_AT_MOST]
        found = await look_up(sender, [one.grant_id for one in block])
        there = [one for one in block if found[one.grant_id] is not None]
        _log.info("Asked for %d grants that were not listed; %d exist", len(block), len(there))
        for one in there:
            waiting.keep(run.application, one, found[one.grant_id])
        # block by block, which also keeps the lease
        await asyncio.to_thread(_stage, ledger, run, waiting, clock)
    listed = waiting.listed(listed.pages)
    return await asyncio.to_thread(_merge, ledger, run, listed, clock)


def _missing(
    ledger: Ledger, run: Run, listed: Listed, may_vanish: int, clock: Clock
) -> tuple[Listed, list[KnownGrant]]:
    """The known grants that are not listed and must be asked for. Raises Unavailable.

    Those that are listed under another address are staged under their mailboxes before.
    """
    with writing(ledger, run, clock()) as write:
        require_unplanned(write)
        staging.require_listing(write, listed.staged)
        unlisted, known = staging.count_unlisted(write)
        if not unlisted:
            return listed, []
        with missing.unlisted_grants(write) as lacking:
            grown = missing.follow_aliases(write, lacking)
            unlisted = missing.count(write, lacking)
            at_most = max(FEWEST_VANISHED, known // VANISHED_SHARE, may_vanish)
            if unlisted > at_most and run.selection.mailbox is None:
                raise _too_many(unlisted, f"the {known} grants that the ledger knows", at_most)
            at_most = max(ASK_AT_MOST, may_vanish)
            count, to_ask = missing.to_ask_for(write, lacking, at_most)
            if count > at_most:
                raise _too_many(count, "the grants that we own or want", at_most)
    return replace(listed, staged=listed.staged + grown), to_ask


def _too_many(unlisted: int, of: str, at_most: int) -> Unavailable:
    return Unavailable(
        f"The listing lacks {unlisted} of {of}, and at most {at_most} are taken to be deleted "
        "since the last one. Nothing was changed. If the listing was cut short, the next try of "
        "this task reads it whole. If they really were deleted, trigger reconcile_grants with the "
        f"parameter `vanished_grants` at {unlisted} or more.",
        after=60.0,
    )


def _merge(ledger: Ledger, run: Run, listed: Listed, clock: Clock) -> int:
    with writing(ledger, run, clock()) as write:
        require_unplanned(write)
        staging.require_listing(write, listed.staged)
        doubled = staging.drop_doubles(write)
        seen = staging.merge_listing(write)
        odd = " ".join(filter(None, (listed.note, _about_doubles(doubled))))
        note(write, observed=seen, listing_note=odd)
    if odd:
        _log.warning("%s", odd)
    return seen


def _about_doubles(mailboxes: list[str]) -> str:
    if not mailboxes:
        return ""
    named = ", ".join(bounded(one, 80) for one in mailboxes[:_NAMED])
    more = ", …" if len(mailboxes) > _NAMED else ""
    return (
        f"{len(mailboxes)} mailboxes have two grants or more; the one that the ledger knows counts,"
        f" and a person should delete the others at Nylas: {named}{more}"
    )


async def stage_grants(ledger: Ledger, sender: AsyncSender, run: Run, *, clock: Clock) -> Listed:
    """List the grants that the run is about, and stage them in `observed`.

    What an earlier, interrupted listing staged is dropped first. Memory holds a few pages, never
    the whole list. Raises what the sender raises once its retries are used up, Unavailable if the
    list has a gap, and Superseded if the run is already planned or has lost its lease.
    """
    wanted = await asyncio.to_thread(_clear, ledger, run, clock)
    pages, waiting = 0, _Staging(Listed(0, 0, 0, wanted=wanted))
    async for fresh in _pages(sender, run.selection.mailbox):
        pages += 1
        # page by page: a thread that is busy for long makes the event loop miss its slots
        waiting.take(run.application, fresh)
        if pages % _PAGES_PER_WRITE == 0:
            await asyncio.to_thread(_stage, ledger, run, waiting, clock)
    await asyncio.to_thread(_stage, ledger, run, waiting, clock)
    return waiting.listed(pages)


class _Staging:
    """Listed items that wait to be staged, and the numbers of those that were."""

    def __init__(self, before: Listed) -> None:
        self.staged, self.unreadable = before.staged, before.unreadable
        self._contradicting, self._wanted = before.contradicting, before.wanted
        self.rows: list[tuple[Cell, ...]] = []
        self.odd: list[tuple[UnreadableGrant, str]] = []

    def take(self, application: str, items: Iterable[ListedGrant]) -> None:
        """Take up items. Grants without an address, such as virtual calendars, are left out."""
        for item in items:
            email = address_key(item.email)
            if isinstance(item, UnreadableGrant):
                self.odd.append((item, email))
            elif email:
                self.rows.append(staging.listing_row(application, self._settled(item), email))
            elif item.provider in _WITH_ADDRESS:
                self.odd.append((_without_address(item), ""))

    def _settled(self, grant: Grant) -> Grant:
        """The grant with the credential that the roster asks for, if it names two of them."""
        other = grant.other_credential_id
        if other is None:
            return grant
        self._contradicting += 1
        if grant.credential_id in self._wanted or other not in self._wanted:
            return grant
        return replace(grant, credential_id=other)

    def keep(self, application: str, known: KnownGrant, found: ListedGrant | None) -> None:
        """Take up a known grant that was not listed, but exists: its id says that it is the one."""
        if isinstance(found, Grant):
            row = self._settled(replace(found, provider=known.provider or found.provider))
            listed_under = staging.alias_of(found, known.email)
            self.rows.append(staging.listing_row(application, row, known.email, listed_under))
        elif found is not None:
            odd = replace(found, grant_id=known.grant_id, provider=known.provider)
            self.odd.append((odd, known.email))

    def listed(self, pages: int) -> Listed:
        """What was staged so far."""
        return Listed(pages, self.staged, self.unreadable, self._contradicting, self._wanted)


def _without_address(grant: Grant) -> UnreadableGrant:
    return UnreadableGrant(
        grant.grant_id, grant.grant_id, grant.provider, "", "`email`: there is no address"
    )


async def _pages(sender: AsyncSender, mailbox: str | None) -> AsyncIterator[list[ListedGrant]]:
    """The items of each page, without those of the page before.

    Pages are requested so that each begins with the last item of the page before. If it does not,
    a grant was deleted meanwhile and the others moved up, or grants of the same second come in
    another order in each answer. Then the seam between the two pages is read too, so that no grant
    is missed.

    A page that is short or empty is not the end yet: a page in the middle may be short by mistake.
    The list ends where the next page has nothing new.
    """
    at, before = 0, await _page(sender, 0, mailbox)
    unsteady = False
    tied: list[int] = []
    yield list(before.items)
    while True:
        async for offset, page in _ahead(sender, at, before, mailbox):
            unsteady = unsteady or _is_unsteady(before, page)
            if not unsteady and _are_tied(before, page):
                tied.append(offset)
            while unsteady and tied:
                yield list((await _seam(sender, tied.pop(), page.limit, mailbox)).items)
            yield await _new_items(sender, before, page, offset, mailbox, unsteady=unsteady)
            if page.items:
                at, before = offset, page
        offset = at + len(before.items)
        page = await _page(sender, offset, mailbox)
        known = {item.key for item in before.items}
        if known.issuperset(item.key for item in page.items):
            return
        yield await _new_items(sender, before, page, offset, mailbox, unsteady=unsteady)
        at, before = offset, page


async def _new_items(
    sender: AsyncSender,
    before: _Page,
    page: _Page,
    offset: int,
    mailbox: str | None,
    *,
    unsteady: bool,
) -> list[ListedGrant]:
    """The items of the page at `offset` that are not known, and those of the seam if it is read.

    Raises Unavailable if the page is the one before again, or if the list has a gap.
    """
    if page.items and _keys(page) == _keys(before):
        raise Unavailable(
            f"Nylas returned the same page of grants at offset {offset} as at the one before; "
            "the listing cannot continue."
        )
    if not before.items:
        return list(page.items)
    last, first = before.items[-1:], page.items[:1]
    joined = bool(first) and first[0].key == last[0].key
    if joined and not (unsteady and _are_tied(before, page)):
        return list(page.items[1:])
    seam = await _seam(sender, offset, page.limit, mailbox)
    _require_bridge(before, seam, page, offset)
    return [*seam.items, *page.items]


async def _seam(sender: AsyncSender, offset: int, limit: int, mailbox: str | None) -> _Page:
    """The page whose middle is where two pages meet."""
    return await _page(sender, max(0, offset - (limit - 1) // 2), mailbox)


def _are_tied(before: _Page, page: _Page) -> bool:
    """Whether the second in which the one page ends goes on in the other."""
    return _made_at(before.items[-1:]) == _made_at(page.items[1:2])


def _is_unsteady(before: _Page, page: _Page) -> bool:
    """Whether the two pages show that grants of the same second change their places.

    If they do, pages that seem to join may still miss a grant of the second in which they meet. So
    the seams of such pages are read as well, also of those before.
    """
    last, first = before.items[-1:], page.items[:1]
    return _made_at(last) == _made_at(first) != 0 and last[0].key != first[0].key


def _made_at(items: Sequence[ListedGrant]) -> int:
    """When the first of the items was made; 0 if that is not known."""
    return items[0].created_at if items and isinstance(items[0], Grant) else 0


def _keys(page: _Page) -> list[str]:
    return [item.key for item in page.items]


def _require_bridge(left: _Page, seam: _Page, right: _Page, offset: int) -> None:
    keys = {item.key for item in seam.items}
    # One grant that both have is enough: what lies between is in the one or in the other.
    joins_left = any(item.key in keys for item in left.items)
    joins_right = not right.items or any(item.key in keys for item in right.items)
    if not (joins_left and joins_right):
        raise Unavailable(
            f"So many grants were deleted while they were listed that the list has a gap near "
            f"offset {offset}; read it again."
        )


async def _ahead(
    sender: AsyncSender, at: int, before: _Page, mailbox: str | None
) -> AsyncIterator[tuple[int, _Page]]:
    """The pages after the page `before` at offset `at`, in order; several are requested at a time.

    The total is unknown, so pages are requested until one comes back short; pages after it are
    dropped. The number of pages requested at once grows, so that a short list costs few calls.
    """
    if before.is_short:
        return
    stride = before.limit - 1
    under_way: deque[tuple[int, asyncio.Task[_Page]]] = deque()
    offset = at + stride
    wide = _AT_FIRST
    try:
        while True:
            while len(under_way) < wide:
                under_way.append((offset, asyncio.create_task(_page(sender, offset, mailbox))))
                offset += stride
            here, task = under_way.popleft()
            page = await task
            yield here, page
            if page.is_short:
                return
            wide = min(2 * wide, _IN_FLIGHT)
    finally:
        for _, task in under_way:
            task.cancel()
        await asyncio.gather(*(task for _, task in under_way), return_exceptions=True)


async def _page(sender: AsyncSender, offset: int, mailbox: str | None) -> _Page:
    call = list_grants(limit=PAGE_SIZE, offset=offset, email=mailbox)
    return await send_patiently(sender, call)


async def look_up(sender: AsyncSender, grant_ids: Sequence[str]) -> dict[str, ListedGrant | None]:
    """Ask for grants by their ids; None for those that do not exist.

    What cannot be read, or is refused for another reason than that it does not exist, counts as
    there. Raises what the sender raises once its retries are used up.
    """
    found: dict[str, ListedGrant | None] = {}
    for first in range(0, len(grant_ids), _IN_FLIGHT):
        block = grant_ids[first : first + _IN_FLIGHT]
        asked = (_look_up(sender, grant_id) for grant_id in block)
        # all are awaited before an error is raised, so that none is left behind
        for grant_id, answer in zip(
            block, await asyncio.gather(*asked, return_exceptions=True), strict=True
        ):
            if isinstance(answer, BaseException):
                raise answer
            found[grant_id] = answer
    return found


async def _look_up(sender: AsyncSender, grant_id: str) -> ListedGrant | None:
    try:
        found = await send_patiently(sender, get_grant(grant_id))
    except RequestRefused as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        return UnreadableGrant(grant_id, grant_id, None, "", f"refused with HTTP {error.status}")
    if found.key != grant_id:
        return UnreadableGrant(grant_id, grant_id, None, "", "`id`: it is not the one asked for")
    return found


def _clear(ledger: Ledger, run: Run, clock: Clock) -> frozenset[str]:
    """Drop what was staged; returns the credentials that the roster asks for."""
    with writing(ledger, run, clock()) as write:
        require_unplanned(write)
        staging.clear_listing(write)
        return staging.wanted_credentials(write)


def _stage(ledger: Ledger, run: Run, waiting: _Staging, clock: Clock) -> None:
    with writing(ledger, run, clock()) as write:
        staged = staging.stage_listing(write, waiting.rows)
        unreadable = staging.stage_unreadable(write, waiting.odd)
    waiting.staged += staged
    waiting.unreadable += unreadable
    waiting.rows, waiting.odd = [], []
