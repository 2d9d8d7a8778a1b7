"""Reads back what a run has applied, page by page, the newest authentication first."""

from __future__ import annotations

import asyncio
from collections import Counter

from bulkgrants.errors import Unavailable
from bulkgrants.ledger import changes
from bulkgrants.ledger.database import Ledger
from bulkgrants.ledger.rights import writing
from bulkgrants.model import Grant, GrantStatus, Provider, Run, Verification
from bulkgrants.nylas.calls import PAGE_SIZE, list_grants
from bulkgrants.nylas.sending import AsyncSender, send_patiently
from bulkgrants.ports import Clock


async def verify(ledger: Ledger, sender: AsyncSender, run: Run, *, clock: Clock) -> Counter[str]:
    """Compare each change that succeeded with the grant as the API lists it now.

    Each authentication moves its grant to the top of the list by `updated_at`, so the pages down to
    the run's first authentication have all of them, and the cost depends on the number of changes.
    A grant that is missing there or differs is drift. Returns how many changes were verified and
    how many drifted. Raises what the sender raises once its retries are used up, and Superseded.
    """
    oldest = await asyncio.to_thread(changes.first_authentication, ledger, run)
    offset = 0
    before: tuple[Grant, ...] = ()
    while oldest is not None:
        call = list_grants(limit=PAGE_SIZE, offset=offset, sort_by="updated_at", order_by="desc")
        page = await send_patiently(sender, call)
        if page.items and page.items == before:
            raise Unavailable(
                f"Nylas returned the same page of grants at offset {offset} as at the one before; "
                "what was applied cannot be verified."
            )
        await asyncio.to_thread(_compare, ledger, run, page.items, clock)
        if page.is_last or page.items[-1].updated_at < oldest:
            break
        offset += len(page.items)
        before = page.items
    return await asyncio.to_thread(_conclude, ledger, run, clock)


def _compare(ledger: Ledger, run: Run, page: tuple[Grant, ...], clock: Clock) -> None:
    with writing(ledger, run, clock()) as write:
        made = changes.made_changes(write, [grant.grant_id for grant in page])
        changes.record_verifications(
            write,
            [
                (made[grant.grant_id].seq, _verification(made[grant.grant_id], grant))
                for grant in page
                if grant.grant_id in made
            ],
        )


def _verification(change: changes.MadeChange, grant: Grant) -> Verification:
    agrees = (
        grant.status is GrantStatus.VALID
        and grant.credential_id == change.credential_id
        and (change.provider != Provider.GOOGLE or grant.scopes == change.scopes)
    )
    return Verification.VERIFIED if agrees else Verification.DRIFT


def _conclude(ledger: Ledger, run: Run, clock: Clock) -> Counter[str]:
    """Record changes whose grants were on none of the pages as drift, and count the results."""
    with writing(ledger, run, clock()) as write:
        return changes.conclude_verification(write)
