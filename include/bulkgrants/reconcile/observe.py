"""Reads every grant of the application, page by page, into the ledger's staging."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bulkgrants.errors import Unavailable
from bulkgrants.ledger import staging
from bulkgrants.ledger.database import Cell, Ledger
from bulkgrants.ledger.rights import writing
from bulkgrants.ledger.runs import note, require_unplanned
from bulkgrants.model import Grant, Run
from bulkgrants.nylas.calls import PAGE_SIZE, Page, list_grants
from bulkgrants.nylas.sending import AsyncSender, send_patiently
from bulkgrants.ports import Clock
from bulkgrants.text import address_key

_log = logging.getLogger(__name__)

_AT_FIRST = 3
"""Pages requested at once at the beginning; for a short list, at most this many are wasted."""
_IN_FLIGHT = 32
_PAGES_PER_WRITE = 20


@dataclass(frozen=True, slots=True)
class Listed:
    """What a listing returned."""

    pages: int
    staged: int
    """Grants with an address; those on a seam that was read twice count twice."""


async def observe(ledger: Ledger, sender: AsyncSender, run: Run, *, clock: Clock) -> int:
    """List the grants that the run is about and merge them; returns how many mailboxes have one.

    Raises what `stage_grants` raises, and Unavailable if the ledger has lost staged grants.
    """
    listed = await stage_grants(ledger, sender, run, clock=clock)
    _log.info("Listed %d grants on %d pages", listed.staged, listed.pages)
    return await asyncio.to_thread(_merge, ledger, run, listed, clock)


def _merge(ledger: Ledger, run: Run, listed: Listed, clock: Clock) -> int:
    with writing(ledger, run, clock()) as write:
        require_unplanned(write)
        staging.require_listing(write, listed.staged)
        seen = staging.merge_listing(write)
        note(write, observed=seen)
    return seen


async def stage_grants(ledger: Ledger, sender: AsyncSender, run: Run, *, clock: Clock) -> Listed:
    """List the grants that the run is about, and stage them in `observed`.

    What an earlier, interrupted listing staged is dropped first. Memory holds a few pages, never
    the whole list. Raises what the sender raises once its retries are used up, Unavailable if the
    list has a gap, and Superseded if the run is already planned or has lost its lease.
    """
    await asyncio.to_thread(_clear, ledger, run, clock)
    pages = staged = 0
    waiting: list[tuple[Cell, ...]] = []
    async for fresh in _pages(sender, run.selection.mailbox):
        pages += 1
        # page by page: a thread that is busy for long makes the event loop miss its slots
        waiting.extend(_rows(run.application, fresh))
        if pages % _PAGES_PER_WRITE == 0:
            staged += await asyncio.to_thread(_stage, ledger, run, waiting, clock)
            waiting = []
    staged += await asyncio.to_thread(_stage, ledger, run, waiting, clock)
    return Listed(pages, staged)


async def _pages(sender: AsyncSender, mailbox: str | None) -> AsyncIterator[list[Grant]]:
    """The grants of each page, without those of the page before.

    Pages are requested so that each begins with the last grant of the page before. If it does not,
    a grant was deleted meanwhile and the others moved up. Then the seam between the two pages is
    read again, so that no grant is missed.
    """
    first = await _page(sender, 0, mailbox)
    yield list(first.items)
    if first.is_last:
        return
    stride = first.limit - 1
    before = first
    async for offset, page in _ahead(sender, stride, mailbox):
        if page.items and page.items[0].grant_id == before.items[0].grant_id:
            raise Unavailable(
                f"Nylas returned the same page of grants at offset {offset} as at the one before; "
                "the listing cannot continue."
            )
        if not page.items or page.items[0].grant_id != before.items[-1].grant_id:
            seam = await _page(sender, max(0, offset - stride // 2), mailbox)
            _require_bridge(before, seam, page, offset)
            yield list(seam.items)
            yield list(page.items)
        else:
            yield list(page.items[1:])
        before = page if page.items else before


def _require_bridge(left: Page[Grant], seam: Page[Grant], right: Page[Grant], offset: int) -> None:
    ids = {grant.grant_id for grant in seam.items}
    # One grant that both have is enough: what lies between is in the one or in the other.
    joins_left = any(grant.grant_id in ids for grant in left.items)
    joins_right = not right.items or any(grant.grant_id in ids for grant in right.items)
    if not (joins_left and joins_right):
        raise Unavailable(
            f"So many grants were deleted while they were listed that the list has a gap near "
            f"offset {offset}; read it again."
        )


async def _ahead(
    sender: AsyncSender, stride: int, mailbox: str | None
) -> AsyncIterator[tuple[int, Page[Grant]]]:
    """The pages after the first, in order; several are requested at the same time.

    The total is unknown, so pages are requested until one comes back short; pages after it are
    dropped. The number of pages requested at once grows, so that a short list costs few calls.
    """
    under_way: deque[tuple[int, asyncio.Task[Page[Grant]]]] = deque()
    offset = stride
    wide = _AT_FIRST
    try:
        while True:
            while len(under_way) < wide:
                under_way.append((offset, asyncio.create_task(_page(sender, offset, mailbox))))
                offset += stride
            at, task = under_way.popleft()
            page = await task
            yield at, page
            if page.is_last:
                return
            wide = min(2 * wide, _IN_FLIGHT)
    finally:
        for _, task in under_way:
            task.cancel()
        await asyncio.gather(*(task for _, task in under_way), return_exceptions=True)


async def _page(sender: AsyncSender, offset: int, mailbox: str | None) -> Page[Grant]:
    call = list_grants(limit=PAGE_SIZE, offset=offset, email=mailbox)
    return await send_patiently(sender, call)


def _clear(ledger: Ledger, run: Run, clock: Clock) -> None:
    with writing(ledger, run, clock()) as write:
        require_unplanned(write)
        staging.clear_listing(write)


def _stage(ledger: Ledger, run: Run, rows: list[tuple[Cell, ...]], clock: Clock) -> int:
    with writing(ledger, run, clock()) as write:
        return staging.stage_listing(write, rows)


def _rows(application: str, grants: list[Grant]) -> list[tuple[Cell, ...]]:
    """Rows for staging. Grants without an address, such as virtual calendars, are left out."""
    return [
        staging.listing_row(application, one, address_key(one.email)) for one in grants if one.email
    ]
