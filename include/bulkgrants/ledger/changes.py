"""The plan as rows: changes, skips, batches, attempts, outcomes and escrow.

The planned changes are also the work queue. Every write needs the right of the run or of the batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from bulkgrants.errors import Unavailable
from bulkgrants.ledger.database import Cell, Ledger, insert_rows, reading, upsert
from bulkgrants.ledger.rights import Writing
from bulkgrants.ledger.tables import (
    attempts,
    batches,
    changes,
    entries,
    escrow,
    grants,
    rejects,
    runs,
    skips,
    tenants,
)
from bulkgrants.ledger.tenants import lock_escrow
from bulkgrants.model import (
    MADE,
    BatchClaim,
    ChangeState,
    EndedAttempt,
    EscrowRecord,
    Granted,
    NotGranted,
    OpenChange,
    Outcome,
    Plan,
    Provider,
    Run,
    Verification,
)
from bulkgrants.refusals import Refusal

Done: TypeAlias = Granted | NotGranted

_CHANGE = (
    "run_id", "seq", "kind", "provider", "email", "tenant", "scopes", "credential_id", "grant_id",
    "state", "reason", "code", "message",
)  # fmt: skip
_SKIP = ("run_id", "provider", "email", "tenant", "grant_id", "reason", "detail")
_MADE = tuple(MADE.values())
_LATELY = timedelta(days=28)
UNCONSENTED = and_(
    changes.c.outcome == Outcome.REFUSED, changes.c.reason == Refusal.CONSENT_MISSING
)
"""The condition that a change was refused because the tenant's consent is missing."""


# The plan


def require_input(write: Writing[Run]) -> None:
    """Make sure that what the run has read is still staged. Raises Unavailable.

    Staging is unlogged on PostgreSQL, so it is empty after a crash of the server. That would look
    like an empty roster, and every grant like an orphan. A run that was opened again after it had
    read its roster has to read the one of the day that it is for now.
    """
    run = write.right
    staged = write.connection.execute(
        select(func.count()).select_from(entries).where(entries.c.application == run.application)
    ).scalar_one()
    remedy = "clear the task that reads the roster and all tasks downstream of it."
    if run.entries is None or run.observed is None:
        raise Unavailable(
            f"Run {run.key} has not read its roster and its grants since it was opened; {remedy}"
        )
    if staged != run.entries:
        raise Unavailable(
            f"The staged roster of run {run.key} is incomplete ({staged} of {run.entries} "
            f"entries); {remedy}"
        )


def add_changes(write: Writing[Run], rows: Iterable[tuple[Cell, ...]]) -> None:
    """Add planned or held changes; each row is (seq, kind, …, grant_id, state)."""
    run_id = write.right.run_id
    insert_rows(write.connection, changes, _CHANGE, ((run_id, *row, "", "", "") for row in rows))


def add_skips(write: Writing[Run], rows: Iterable[tuple[Cell, ...]]) -> None:
    """Add skips; each row is (provider, email, tenant, grant_id, reason, detail)."""
    run_id = write.right.run_id
    insert_rows(write.connection, skips, _SKIP, ((run_id, *row) for row in rows))


def add_batches(write: Writing[Run], planned: int, size: int) -> None:
    """Split the first `planned` changes into batches of `size`; held changes come after them."""
    if planned == 0:
        return
    write.connection.execute(
        insert(batches),
        [
            {
                "run_id": write.right.run_id,
                "batch": number,
                "first_seq": first,
                "last_seq": min(first + size - 1, planned),
                "claim": 0,
            }
            for number, first in enumerate(range(1, planned + 1, size), start=1)
        ],
    )


def read_plan(write: Writing[Run]) -> Plan:
    """The plan that was made for the run."""
    run_id = write.right.run_id
    row = write.connection.execute(
        select(runs.c.fingerprint, runs.c.counts).where(runs.c.id == run_id)
    ).one()
    numbers = write.connection.execute(
        select(batches.c.batch).where(batches.c.run_id == run_id).order_by(batches.c.batch)
    ).scalars()
    return Plan(run_id, tuple(numbers), row.fingerprint, dict(row.counts))


# The work queue


def open_changes(
    ledger: Ledger, claim: BatchClaim, *, after: int, limit: int, without: Collection[str] = ()
) -> list[OpenChange]:
    """The next open changes of the batch after the change `after`, in plan order.

    Those of the tenants `without` are left out.
    """
    earlier = (
        select(func.coalesce(func.max(attempts.c.number), 0))
        .where(attempts.c.run_id == changes.c.run_id, attempts.c.seq == changes.c.seq)
        .scalar_subquery()
    )
    asked = (changes.c.tenant, changes.c.scopes, changes.c.credential_id)
    mailbox = (changes.c.provider, changes.c.email)
    refused_before = exists().where(in_escrow(claim.application, mailbox, asked))
    query = (
        select(
            changes.c.seq,
            changes.c.kind,
            changes.c.provider,
            changes.c.email,
            changes.c.tenant,
            changes.c.scopes,
            changes.c.credential_id,
            earlier.label("attempts"),
            refused_before.label("refused_before"),
            changes.c.grant_id,
            func.coalesce(grants.c.address, "").label("address"),
        )
        .join(
            grants,
            and_(
                grants.c.application == claim.application,
                grants.c.provider == changes.c.provider,
                grants.c.email == changes.c.email,
                grants.c.grant_id == changes.c.grant_id,
            ),
            isouter=True,
        )
        .where(
            changes.c.run_id == claim.run.run_id,
            changes.c.seq > max(after, claim.first_seq - 1),
            changes.c.seq <= claim.last_seq,
            changes.c.state == ChangeState.PLANNED,
            changes.c.tenant.not_in(list(without)),
        )
        .order_by(changes.c.seq)
        .limit(limit)
    )
    with reading(ledger) as connection:
        return [OpenChange(**row) for row in connection.execute(query).mappings()]


def intend(write: Writing[BatchClaim], numbers: Iterable[tuple[int, int]]) -> None:
    """Record before the calls that these attempts (seq, number) are about to be made."""
    rows = [
        {
            "run_id": write.right.run.run_id,
            "seq": seq,
            "number": number,
            "claim": write.right.number,
            "intended_at": write.now,
            "message": "",
        }
        for seq, number in numbers
    ]
    write.connection.execute(insert(attempts), rows)


def end_attempts(write: Writing[BatchClaim], ended: Iterable[EndedAttempt]) -> None:
    """Record after the calls how the attempts ended."""
    rows = [
        {
            "its_seq": one.seq,
            "its_number": one.number,
            "ended_at": one.at,
            "outcome": one.outcome,
            "http_status": one.http_status,
            "message": one.message,
        }
        for one in ended
    ]
    if rows:
        write.connection.execute(
            update(attempts).where(
                attempts.c.run_id == write.right.run.run_id,
                attempts.c.seq == bindparam("its_seq"),
                attempts.c.number == bindparam("its_number"),
            ),
            rows,
        )


def finish(write: Writing[BatchClaim], done: Sequence[Done]) -> None:
    """Record the outcomes of changes."""
    rows = [{"its_seq": one.change.seq, "state": ChangeState.DONE, **_ending(one)} for one in done]
    if rows:
        write.connection.execute(
            update(changes)
            .where(
                changes.c.run_id == write.right.run.run_id, changes.c.seq == bindparam("its_seq")
            )
            .values(grant_id=func.coalesce(bindparam("its_grant_id"), changes.c.grant_id)),
            rows,
        )


def _ending(one: Done) -> dict[str, object]:
    """The columns of a change that are written when it is done, and `its_grant_id`."""
    match one:
        case Granted(grant=grant):
            came = {"reason": one.reason, "code": "", "message": one.message}
            made = {"its_grant_id": grant.grant_id, "grant_updated_at": grant.updated_at}
        case NotGranted():
            came = {"reason": one.reason, "code": one.code, "message": one.message}
            made = {"its_grant_id": None, "grant_updated_at": None}
    return {"done_at": one.at, "outcome": one.outcome, **came, **made}


def close_batch(write: Writing[BatchClaim]) -> int:
    """Close the batch unless changes are still open; returns how many are."""
    claim = write.right
    left_open = write.connection.execute(
        select(func.count()).where(_of_batch(claim), changes.c.state == ChangeState.PLANNED)
    ).scalar_one()
    if not left_open:
        write.connection.execute(
            update(batches)
            .where(batches.c.run_id == claim.run.run_id, batches.c.batch == claim.batch)
            .values(closed_at=write.now)
        )
    return left_open


def unconsented_tenants(write: Writing[BatchClaim]) -> list[str]:
    """The ready tenants in this batch that were refused for missing consent and got no grant.

    What happened before a tenant last became ready does not count, because a batch may be applied
    again after a new consent. A Google tenant has no consent to lose.
    """
    made = changes.c.outcome.in_(_MADE)
    query = (
        select(changes.c.tenant)
        .join(
            tenants,
            and_(
                tenants.c.application == write.application,
                tenants.c.tenant == changes.c.tenant,
            ),
        )
        .where(
            _of_batch(write.right),
            tenants.c.provider == Provider.MICROSOFT,
            tenants.c.awaiting.is_(None),
            or_(tenants.c.ready_at.is_(None), changes.c.done_at >= tenants.c.ready_at),
        )
        .group_by(changes.c.tenant)
        .having(func.count(case((UNCONSENTED, 1))) > 0, func.count(case((made, 1))) == 0)
        .order_by(changes.c.tenant)
    )
    return list(write.connection.execute(query).scalars())


def unconsented_since_last_grant(
    ledger: Ledger, application: str, tenant: str, now: datetime
) -> int:
    """How many mailboxes lack consent whose first such refusal came after the last grant.

    Only grants of the last weeks are looked at.
    """
    last_grant = (
        select(func.max(changes.c.done_at))
        .where(
            changes.c.run_id.in_(_recent_runs(application, now)),
            changes.c.tenant == tenant,
            changes.c.outcome.in_(_MADE),
        )
        .scalar_subquery()
    )
    query = select(func.count()).where(
        escrow.c.application == application,
        escrow.c.tenant == tenant,
        escrow.c.reason == Refusal.CONSENT_MISSING,
        or_(last_grant.is_(None), escrow.c.first_refused_at > last_grant),
    )
    with reading(ledger) as connection:
        return connection.execute(query).scalar_one()


def last_answers(write: Writing[BatchClaim], names: Collection[str]) -> dict[str, datetime]:
    """When a change of each of these tenants was last answered, yes or no, in the last weeks."""
    query = (
        select(changes.c.tenant, func.max(changes.c.done_at).label("at"))
        .where(
            changes.c.run_id.in_(_recent_runs(write.application, write.now)),
            changes.c.tenant.in_(names),
            changes.c.outcome.in_((*_MADE, Outcome.REFUSED)),
            changes.c.reason != Refusal.NOT_SERVED,
        )
        .group_by(changes.c.tenant)
    )
    return {row.tenant: row.at for row in write.connection.execute(query)}


def _recent_runs(application: str, now: datetime) -> Select[tuple[int]]:
    return select(runs.c.id).where(
        runs.c.application == application, runs.c.opened_at >= now - _LATELY
    )


def _of_batch(claim: BatchClaim) -> ColumnElement[bool]:
    return and_(
        changes.c.run_id == claim.run.run_id,
        changes.c.seq.between(claim.first_seq, claim.last_seq),
    )


# Escrow


def in_escrow(
    application: str,
    mailbox: tuple[ColumnElement[str], ColumnElement[str]],
    asked: tuple[ColumnElement[str], ColumnElement[str], ColumnElement[str]],
) -> ColumnElement[bool]:
    """The condition that a record in escrow is about this mailbox, and still counts.

    `mailbox` is its provider and address. A record only counts while the roster asks for the same
    thing, `asked`: tenant, scopes and credential id.
    """
    provider, email = mailbox
    tenant, scopes, credential_id = asked
    return and_(
        escrow.c.application == application,
        escrow.c.provider == provider,
        escrow.c.email == email,
        escrow.c.tenant == tenant,
        escrow.c.scopes == scopes,
        escrow.c.credential_id == credential_id,
    )


def read_escrow(
    write: Writing[BatchClaim], mailboxes: Collection[tuple[str, str]]
) -> dict[tuple[str, str], EscrowRecord]:
    """The records of those mailboxes (provider, email) that are in escrow, locked."""
    if not mailboxes:
        return {}
    rows = write.connection.execute(
        select(escrow)
        .where(
            escrow.c.application == write.application,
            tuple_(escrow.c.provider, escrow.c.email).in_(mailboxes),
        )
        .order_by(escrow.c.provider, escrow.c.email)  # as `lock_escrow` does
        .with_for_update()
    )
    return {
        (row.provider, row.email): EscrowRecord(
            row.provider, row.email, row.tenant, row.scopes, row.credential_id, row.reason,
            row.code, row.message, row.refusals, row.first_refused_at, row.due_at,
        )
        for row in rows
    }  # fmt: skip


def put_into_escrow(write: Writing[BatchClaim], records: Iterable[EscrowRecord]) -> None:
    """Write escrow records, and replace older ones of the same mailboxes."""
    rows = [
        {
            "application": write.application,
            "provider": one.provider,
            "email": one.email,
            "tenant": one.tenant,
            "scopes": one.scopes,
            "credential_id": one.credential_id,
            "reason": one.reason,
            "code": one.code,
            "message": one.message,
            "refusals": one.refusals,
            "first_refused_at": one.first_refused_at,
            "due_at": one.due_at,
        }
        for one in records
    ]
    if rows:
        key = ["application", "provider", "email"]
        statement = upsert(write.connection, escrow)
        new = {name: statement.excluded[name] for name in rows[0] if name not in key}
        write.connection.execute(
            statement.on_conflict_do_update(index_elements=key, set_=new), rows
        )


def take_out_of_escrow(write: Writing[BatchClaim], mailboxes: Collection[tuple[str, str]]) -> None:
    """Delete the escrow records of these mailboxes (provider, email)."""
    if mailboxes:
        write.connection.execute(
            delete(escrow).where(
                escrow.c.application == write.application,
                tuple_(escrow.c.provider, escrow.c.email).in_(mailboxes),
            )
        )


def end_escrow(write: Writing[Run], compared: Table) -> None:
    """Delete the records of mailboxes that are as the roster asks, or that it does not name.

    It also deletes those that no longer count. A mailbox in a rejected row keeps its record.
    `compared` is the comparison's table; only mailboxes that the run selects are looked at.
    """
    selection = write.right.selection
    selected = and_(
        escrow.c.application == write.application,
        *([escrow.c.email == selection.mailbox] if selection.mailbox else []),
        *([escrow.c.tenant.in_(selection.tenants)] if selection.tenants else []),
    )
    records = select(
        escrow.c.provider,
        escrow.c.email,
        escrow.c.tenant,
        escrow.c.scopes,
        escrow.c.credential_id,
    ).where(selected)
    wanted = select(
        compared.c.provider,
        compared.c.email,
        compared.c.tenant,
        compared.c.desired_scopes,
        compared.c.desired_credential_id,
    ).where(compared.c.differs, compared.c.has_entry)
    # a set operation, since SQLite compares each row of a NOT IN with all others
    over = records.except_(wanted).subquery("over")
    rejected = select(rejects.c.mailbox).where(
        rejects.c.run_id == write.right.run_id, rejects.c.mailbox.is_not(None)
    )
    lock_escrow(write.connection, selected)
    write.connection.execute(
        delete(escrow).where(
            escrow.c.application == write.application,
            tuple_(escrow.c.provider, escrow.c.email).in_(select(over.c.provider, over.c.email)),
            escrow.c.email.not_in(rejected),
        )
    )


# Reading back


def first_authentication(ledger: Ledger, run: Run) -> int | None:
    """The time of the run's first authentication; Unix seconds by Nylas' clock.

    None if it made none, or if Nylas did not say when.
    """
    with reading(ledger) as connection:
        return connection.execute(
            select(func.min(changes.c.grant_updated_at)).where(
                _made_by(run), changes.c.grant_updated_at > 0
            )
        ).scalar()


@dataclass(frozen=True, slots=True)
class MadeChange:
    """A change that was made, with what its grant should be like."""

    grant_id: str
    seq: int
    provider: str
    credential_id: str | None
    scopes: str


_MADE_CHANGE = (
    changes.c.grant_id,
    changes.c.seq,
    changes.c.provider,
    changes.c.credential_id,
    changes.c.scopes,
)


def made_changes(write: Writing[Run], grant_ids: Collection[str]) -> list[MadeChange]:
    """The run's changes that made these grants; an alias and its primary address share one."""
    rows = write.connection.execute(
        select(*_MADE_CHANGE).where(_made_by(write.right), changes.c.grant_id.in_(list(grant_ids)))
    ).mappings()
    return [MadeChange(**row) for row in rows]


def doubted_changes(
    ledger: Ledger, run: Run, asked: Collection[int], limit: int
) -> tuple[int, list[MadeChange]]:
    """How many changes were made and are not verified yet, and `limit` of them.

    The changes whose seq is in `asked` come first, so that each is asked for again.
    """
    doubted = and_(_made_by(run), changes.c.verified.is_(None))
    with reading(ledger) as connection:
        count = connection.execute(
            select(func.count()).select_from(changes).where(doubted)
        ).scalar_one()
        rows = connection.execute(
            select(*_MADE_CHANGE)
            .where(doubted)
            .order_by(changes.c.seq.not_in(asked), changes.c.seq)
            .limit(limit)
        ).mappings()
        return count, [MadeChange(**row) for row in rows]


def record_verified(write: Writing[Run], numbers: Iterable[int]) -> None:
    """Record that reading back has shown these changes, by their seq, as they were made."""
    rows = [{"its_seq": seq, "verified": Verification.VERIFIED} for seq in numbers]
    if rows:
        write.connection.execute(
            update(changes).where(
                changes.c.run_id == write.right.run_id, changes.c.seq == bindparam("its_seq")
            ),
            rows,
        )


def conclude_verification(write: Writing[Run], asked: Collection[int]) -> Counter[str]:
    """Record a result for the changes without one; returns how many changes have each result.

    Those whose seq is in `asked` have drifted. The others were not asked for, so they are
    unchecked.
    """
    made = _made_by(write.right)
    drifted = case((changes.c.seq.in_(asked), Verification.DRIFT), else_=Verification.UNCHECKED)
    write.connection.execute(
        update(changes).where(made, changes.c.verified.is_(None)).values(verified=drifted)
    )
    rows = write.connection.execute(
        select(changes.c.verified, func.count()).where(made).group_by(changes.c.verified)
    )
    return Counter(dict(rows.all()))


def _made_by(run: Run) -> ColumnElement[bool]:
    return and_(changes.c.run_id == run.run_id, changes.c.outcome.in_(_MADE))
