"""What an attempt came to, as a value, and what follows from it for the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, select, tuple_, update

from bulkgrants.errors import Refused
from bulkgrants.ledger.escrow import due_after
from bulkgrants.ledger.grants import Owned, own
from bulkgrants.ledger.tables import changes, escrow
from bulkgrants.ledger.upserts import upsert
from bulkgrants.model import ChangeKind, Grant, Outcome, SkipReason
from bulkgrants.reconcile.queue import Claim, Open
from bulkgrants.text import bounded

SUCCESS = {
    ChangeKind.CREATE: Outcome.GRANTED,
    ChangeKind.RENEW: Outcome.RENEWED,
    ChangeKind.RESCOPE: Outcome.RESCOPED,
}


@dataclass(frozen=True, slots=True)
class Granted:
    """The mailbox has the grant that the roster asks for."""

    change: Open
    grant: Grant
    at: datetime


@dataclass(frozen=True, slots=True)
class NotGranted:
    """The mailbox was refused, or skipped since its tenant is left alone."""

    change: Open
    outcome: Outcome
    reason: str
    """A `Refusal`, or why it was skipped; short."""
    message: str
    concerns_mailbox: bool
    """Whether the mailbox itself is the reason, so that it goes into escrow."""
    at: datetime


Done = Granted | NotGranted


def refused(change: Open, error: Refused, at: datetime) -> NotGranted:
    """A refusal as an outcome."""
    own_fault = not error.refusal.concerns_tenant
    return NotGranted(
        change, Outcome.REFUSED, error.refusal, str(error), concerns_mailbox=own_fault, at=at
    )


def skipped(change: Open, reason: SkipReason, detail: str, at: datetime) -> NotGranted:
    """A change that was overtaken by its tenant's quarantine, or by the loss of its consent."""
    return NotGranted(change, Outcome.SKIPPED, reason, detail, concerns_mailbox=False, at=at)


def record(connection: Connection, claim: Claim, done: Sequence[Done]) -> None:
    """Write outcomes, the grants they made, and what goes into and out of escrow."""
    granted = [one for one in done if isinstance(one, Granted)]
    refusals = [one for one in done if isinstance(one, NotGranted) and one.concerns_mailbox]
    _finish(connection, claim, done)
    own(
        connection,
        claim.run.application,
        [
            Owned(one.change.provider, one.change.email, one.change.tenant, one.grant)
            for one in granted
        ],
    )
    _free(connection, claim, granted)
    _detain(connection, claim, refusals)


def _finish(connection: Connection, claim: Claim, done: Iterable[Done]) -> None:
    rows = [
        {
            "its_seq": one.change.seq,
            **{f"new_{name}": value for name, value in _ending(one).items()},
        }
        for one in done
    ]
    if rows:
        new: dict[str, ColumnElement[object]] = {
            name.removeprefix("new_"): bindparam(name) for name in rows[0] if name != "its_seq"
        }
        new["grant_id"] = func.coalesce(new["grant_id"], changes.c.grant_id)
        connection.execute(
            update(changes)
            .where(changes.c.run_id == claim.run.run_id, changes.c.seq == bindparam("its_seq"))
            .values(state="done", **new),
            rows,
        )


def _ending(one: Done) -> dict[str, object]:
    """The columns of a change that its end fills in."""
    if isinstance(one, Granted):
        return {
            "done_at": one.at,
            "outcome": SUCCESS[ChangeKind(one.change.kind)],
            "reason": "",
            "message": "",
            "grant_id": one.grant.grant_id,
            "grant_updated_at": one.grant.updated_at,
        }
    return {
        "done_at": one.at,
        "outcome": one.outcome,
        "reason": one.reason,
        "message": bounded(one.message, 400),
        "grant_id": None,
        "grant_updated_at": None,
    }


def _free(connection: Connection, claim: Claim, granted: Sequence[Granted]) -> None:
    if not granted:
        return
    connection.execute(
        delete(escrow).where(
            escrow.c.application == claim.run.application,
            tuple_(escrow.c.provider, escrow.c.email).in_(
                [(one.change.provider, one.change.email) for one in granted]
            ),
        )
    )


def _detain(connection: Connection, claim: Claim, refusals: Sequence[NotGranted]) -> None:
    if not refusals:
        return
    key = ("application", "provider", "email")
    mailboxes = [(one.change.provider, one.change.email) for one in refusals]
    known = {
        (row.provider, row.email): row
        for row in connection.execute(
            select(escrow).where(
                escrow.c.application == claim.run.application,
                tuple_(escrow.c.provider, escrow.c.email).in_(mailboxes),
            )
        )
    }
    rows = []
    for one, mailbox in zip(refusals, mailboxes, strict=True):
        before = known.get(mailbox)
        count = before.refusals + 1 if before else 1
        since = before.first_refused_at if before else one.at
        rows.append(
            {
                **dict(zip(key, (claim.run.application, *mailbox), strict=True)),
                "tenant": one.change.tenant,
                "reason": one.reason,
                "message": bounded(one.message, 400),
                "refusals": count,
                "first_refused_at": since,
                "due_at": due_after(count, since, one.at),
            }
        )
    statement = upsert(connection, escrow)
    new = {name: statement.excluded[name] for name in rows[0] if name not in key}
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=new), rows)
