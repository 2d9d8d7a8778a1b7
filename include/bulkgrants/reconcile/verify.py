"""Reads back what a run has applied: page by page, newest authentication first."""

from __future__ import annotations

import asyncio
from collections import Counter

from sqlalchemy import Engine, Row, bindparam, func, select, update

from bulkgrants.errors import Unavailable
from bulkgrants.ledger import leases
from bulkgrants.ledger.engine import reading
from bulkgrants.ledger.runs import Run
from bulkgrants.ledger.tables import changes
from bulkgrants.model import Grant, GrantStatus, Outcome, Provider
from bulkgrants.nylas.calls import PAGE_SIZE, list_grants
from bulkgrants.nylas.retrying import send_with_retries_async
from bulkgrants.ports import AsyncSender, Clock

VERIFIED = "verified"
DRIFT = "drift"
_MADE = (Outcome.GRANTED, Outcome.RENEWED, Outcome.RESCOPED)


async def verify(engine: Engine, sender: AsyncSender, run: Run, *, clock: Clock) -> Counter[str]:
    """Compare each change that succeeded with the grant as the API lists it now.

    Every authentication moves a grant to the head of the list by `updated_at`, so the pages down to
    the run's first one hold them all: the cost grows with the changes. A grant that is missing
    there, or differs, is drift. Gives how many are verified and how many drifted. Raises what the
    sender raises once retries are used up, and Superseded.
    """
    oldest = await asyncio.to_thread(_oldest, engine, run)
    offset = 0
    before: tuple[Grant, ...] = ()
    while oldest is not None:
        call = list_grants(limit=PAGE_SIZE, offset=offset, sort_by="updated_at", order_by="desc")
        page = await send_with_retries_async(sender, call, pause=asyncio.sleep)
        if page.items and page.items == before:
            raise Unavailable(
                f"Nylas gave the same page of grants at offset {offset} as at the one before; "
                "what was applied cannot be verified."
            )
        await asyncio.to_thread(_compare, engine, run, page.items, clock)
        if page.is_last or page.items[-1].updated_at < oldest:
            break
        offset += len(page.items)
        before = page.items
    return await asyncio.to_thread(_conclude, engine, run, clock)


def _oldest(engine: Engine, run: Run) -> int | None:
    """Unix seconds, by Nylas' clock, of the run's first authentication; None where it made none."""
    with reading(engine).connect() as connection:
        return connection.execute(
            select(func.min(changes.c.grant_updated_at)).where(
                changes.c.run_id == run.run_id, changes.c.outcome.in_(_MADE)
            )
        ).scalar()


def _compare(engine: Engine, run: Run, page: tuple[Grant, ...], clock: Clock) -> None:
    with engine.begin() as connection:
        leases.renew(connection, run.lease, clock())
        made = {
            change.grant_id: change
            for change in connection.execute(
                select(changes).where(
                    changes.c.run_id == run.run_id,
                    changes.c.grant_id.in_([grant.grant_id for grant in page]),
                    changes.c.outcome.in_(_MADE),
                )
            )
        }
        verdicts = [
            {"its_seq": change.seq, "verdict": VERIFIED if _agrees(change, grant) else DRIFT}
            for grant in page
            if (change := made.get(grant.grant_id)) is not None
        ]
        if verdicts:
            connection.execute(
                update(changes)
                .where(changes.c.run_id == run.run_id, changes.c.seq == bindparam("its_seq"))
                .values(verified=bindparam("verdict")),
                verdicts,
            )


def _agrees(change: Row[tuple[object, ...]], grant: Grant) -> bool:
    return (
        grant.status is GrantStatus.VALID
        and grant.credential_id == change.credential_id
        and (change.provider != Provider.GOOGLE or grant.scopes == change.scopes)
    )


def _conclude(engine: Engine, run: Run, clock: Clock) -> Counter[str]:
    """What the pages did not show is drift."""
    made = (changes.c.run_id == run.run_id) & changes.c.outcome.in_(_MADE)
    with engine.begin() as connection:
        leases.renew(connection, run.lease, clock())
        connection.execute(
            update(changes).where(made, changes.c.verified.is_(None)).values(verified=DRIFT)
        )
        rows = connection.execute(
            select(changes.c.verified, func.count()).where(made).group_by(changes.c.verified)
        )
        return Counter(dict(rows.all()))
