"""Reads every grant of the application, page by page, into the ledger's staging."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import Engine, delete, func, select

from bulkgrants.errors import Unavailable
from bulkgrants.ledger import leases
from bulkgrants.ledger.bulk import Cell, insert_rows
from bulkgrants.ledger.grants import merge_listing
from bulkgrants.ledger.runs import Run, note, require_unplanned
from bulkgrants.ledger.tables import observed
from bulkgrants.model import Grant
from bulkgrants.nylas.calls import PAGE_SIZE, list_grants
from bulkgrants.nylas.replies import Page
from bulkgrants.nylas.retrying import send_with_retries_async
from bulkgrants.ports import AsyncSender, Clock
from bulkgrants.rosters.addresses import address_key

_log = logging.getLogger(__name__)

_AT_FIRST = 3  # pages that a list of two pages is asked for in vain, at most
_IN_FLIGHT = 32
_PAGES_PER_WRITE = 20
_COLUMNS = (
    "application", "grant_id", "provider", "email", "status", "scopes", "credential_id",
    "blocked", "created_at", "updated_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Listed:
    """What a listing brought."""

    pages: int
    staged: int
    """Grants with an address; a seam that was read twice counts twice."""


async def observe(engine: Engine, sender: AsyncSender, run: Run, *, clock: Clock) -> int:
    """List the grants that the run is about and merge them; gives how many mailboxes have one.

    Raises what `stage_grants` raises, and Unavailable where the ledger lost what was staged.
    """
    listed = await stage_grants(engine, sender, run, clock=clock)
    _log.info("Listed %d grants on %d pages", listed.staged, listed.pages)
    return await asyncio.to_thread(_merge, engine, run, listed, clock)


def _merge(engine: Engine, run: Run, listed: Listed, clock: Clock) -> int:
    """Staging is unlogged on PostgreSQL: after a crash of the server all grants would look gone."""
    with engine.begin() as connection:
        require_unplanned(connection, run)
        staged = connection.execute(
            select(func.count())
            .select_from(observed)
            .where(observed.c.application == run.application)
        ).scalar_one()
        if staged != listed.staged:
            raise Unavailable(
                f"Of {listed.staged} grants listed {staged} are still staged in the ledger; "
                "list them again."
            )
        seen = merge_listing(connection, run, clock())
        note(connection, run.run_id, observed=seen)
    return seen


async def stage_grants(engine: Engine, sender: AsyncSender, run: Run, *, clock: Clock) -> Listed:
    """List the grants that the run is about, and stage them in `observed`.

    What an earlier, interrupted listing staged is dropped first. Memory holds some pages, never
    the list. Raises what the sender raises once retries are used up, Unavailable for a list with a
    gap, and Superseded for a run that is planned already or has lost its lease.
    """
    await asyncio.to_thread(_clear, engine, run, clock)
    pages = staged = 0
    waiting: list[tuple[Cell, ...]] = []
    async for fresh in _pages(sender, run.scope.mailbox):
        pages += 1
        # page by page: a thread that works long at a time keeps the loop from meeting its slots
        waiting.extend(_rows(run.application, fresh))
        if pages % _PAGES_PER_WRITE == 0:
            staged += await asyncio.to_thread(_stage, engine, run, waiting, clock)
            waiting = []
    staged += await asyncio.to_thread(_stage, engine, run, waiting, clock)
    return Listed(pages, staged)


async def _pages(sender: AsyncSender, mailbox: str | None) -> AsyncIterator[list[Grant]]:
    """Each page's grants, without those that the page before has brought.

    Neighbouring pages share one grant. Where they do not, a grant was deleted meanwhile and the
    rest has moved up: the seam is read again, so that nothing falls between two pages.
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
                f"Nylas gave the same page of grants at offset {offset} as at the one before; "
                "the listing cannot go on."
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
    joins_left = any(grant.grant_id in ids for grant in left.items)
    joins_right = not right.items or right.items[0].grant_id in ids
    if not (joins_left and joins_right):
        raise Unavailable(
            f"So many grants were deleted while they were listed that the list has a gap near "
            f"offset {offset}; read it again."
        )


async def _ahead(
    sender: AsyncSender, stride: int, mailbox: str | None
) -> AsyncIterator[tuple[int, Page[Grant]]]:
    """The pages after the first, in order, some of them under way at the same time.

    No total is known, so pages are asked for until one comes back short; what was asked for beyond
    it is dropped. Their number grows with the list, so that a short one costs few calls too many.
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
    return await send_with_retries_async(sender, call, pause=asyncio.sleep)


def _clear(engine: Engine, run: Run, clock: Clock) -> None:
    with engine.begin() as connection:
        require_unplanned(connection, run)
        leases.renew(connection, run.lease, clock())
        connection.execute(delete(observed).where(observed.c.application == run.application))


def _stage(engine: Engine, run: Run, rows: list[tuple[Cell, ...]], clock: Clock) -> int:
    """Write the rows; gives their number."""
    with engine.begin() as connection:
        leases.renew(connection, run.lease, clock())
        insert_rows(connection, observed, _COLUMNS, rows)
    return len(rows)


def _rows(application: str, grants: list[Grant]) -> list[tuple[Cell, ...]]:
    """Grants without an address, such as virtual calendars, are no mailbox's and stay out."""
    return [
        (
            application, one.grant_id, one.provider, address_key(one.email), one.status,
            one.scopes, one.credential_id, one.blocked, one.created_at, one.updated_at,
        )
        for one in grants
        if one.email
    ]  # fmt: skip
