"""Reads back what a run has applied: a listing shows most of it, and the rest is asked for by id.

Nylas' listings may lag behind a change by more than a minute, and a grant that is deleted while
pages are read moves others from one page to another. So what a listing does not show as it was made
is asked for by its id, and again after a pause, before it is called drift.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Iterable
from functools import partial

from bulkgrants.errors import Unavailable
from bulkgrants.ledger import changes
from bulkgrants.ledger.database import Ledger
from bulkgrants.ledger.rights import writing
from bulkgrants.model import Grant, GrantStatus, Provider, Run, Verification
from bulkgrants.nylas.calls import PAGE_SIZE, ListedGrant, list_grants
from bulkgrants.nylas.sending import AsyncSender, send_patiently
from bulkgrants.ports import Clock, Pause
from bulkgrants.reconcile.observe import look_up

ASK_AFTER = (0.0, 30.0, 60.0)
"""Seconds to wait before each round of asking by id; listings were seen to lag by 70 seconds."""
ASK_AT_MOST = 1_000
"""Grants that each round may ask for by id for the first time; at 40/s, 25 seconds."""
_log = logging.getLogger(__name__)


async def verify(
    ledger: Ledger, sender: AsyncSender, run: Run, *, clock: Clock, pause: Pause = asyncio.sleep
) -> Counter[str]:
    """Compare each change that succeeded with the grant as the API shows it now.

    Returns how many changes were verified, how many drifted, because their grant is missing or
    differs after all rounds, and how many are unchecked, because the listing does not show them as
    they were made and more are in doubt than can be asked for. Raises what the sender raises once
    its retries are used up, and Superseded.
    """
    await _read_back(ledger, sender, run, clock)
    asked = set[int]()
    for number, seconds in enumerate(ASK_AFTER, 1):
        look = partial(changes.doubted_changes, ledger, run, asked, number * ASK_AT_MOST)
        count, doubted = await asyncio.to_thread(look)
        if doubted and seconds:
            _log.info("%d changes are not found as they were made; asking again later", count)
            await pause(seconds)
            if count > len(doubted):
                await _read_back(ledger, sender, run, clock)
                _, doubted = await asyncio.to_thread(look)
        if not doubted:
            break
        await _ask(ledger, sender, run, doubted, clock)
        asked.update(change.seq for change in doubted)
    return await asyncio.to_thread(_conclude, ledger, run, asked, clock)


async def _read_back(ledger: Ledger, sender: AsyncSender, run: Run, clock: Clock) -> None:
    """Verify what a listing shows as it was made.

    Each authentication moves its grant to the top of the list by `updated_at`, so the pages down to
    the run's first authentication have all of them, and the cost depends on the number of changes.
    """
    oldest = await asyncio.to_thread(changes.first_authentication, ledger, run)
    offset = 0
    before: tuple[ListedGrant, ...] = ()
    was_short = False
    while oldest is not None:
        call = list_grants(limit=PAGE_SIZE, offset=offset, sort_by="updated_at", order_by="desc")
        page = await send_patiently(sender, call)
        if page.items and page.items == before:
            raise Unavailable(
                f"Nylas returned the same page of grants at offset {offset} as at the one before; "
                "what was applied cannot be verified."
            )
        await asyncio.to_thread(_compare, ledger, run, page.items, clock)
        times = [item.updated_at for item in page.items if isinstance(item, Grant)]
        # a page in the middle may be short or empty by mistake
        ends = was_short and not page.items
        if ends or 0 < min(filter(None, times), default=0) < oldest:
            break
        offset += len(page.items)
        before, was_short = page.items, page.is_short


async def _ask(
    ledger: Ledger,
    sender: AsyncSender,
    run: Run,
    doubted: list[changes.MadeChange],
    clock: Clock,
) -> None:
    """Verify those of the changes whose grants are as they were made when asked for by id."""
    for first in range(0, len(doubted), PAGE_SIZE):
        block = [change.grant_id for change in doubted[first : first + PAGE_SIZE]]
        found = await look_up(sender, block)
        there = [grant for grant in found.values() if grant is not None]
        await asyncio.to_thread(_compare, ledger, run, there, clock)


def _compare(ledger: Ledger, run: Run, shown: Iterable[ListedGrant], clock: Clock) -> None:
    grants = {item.grant_id: item for item in shown if isinstance(item, Grant)}
    with writing(ledger, run, clock()) as write:
        made = changes.made_changes(write, grants)
        changes.record_verified(
            write, [change.seq for change in made if _agrees(change, grants[change.grant_id])]
        )


def _agrees(change: changes.MadeChange, grant: Grant) -> bool:
    return (
        grant.status is GrantStatus.VALID
        and change.credential_id in {grant.credential_id, grant.other_credential_id}
        and (change.provider != Provider.GOOGLE or grant.scopes == change.scopes)
    )


def _conclude(ledger: Ledger, run: Run, asked: Collection[int], clock: Clock) -> Counter[str]:
    with writing(ledger, run, clock()) as write:
        found = changes.conclude_verification(write, asked)
    if found[Verification.UNCHECKED]:
        _log.warning(
            "%d changes were made, but Nylas' listing does not show them, and they are too many to "
            "ask for each. The next run looks again.",
            found[Verification.UNCHECKED],
        )
    return found
