"""Finds the mailboxes that a staged roster names more than once, and rejects rows accordingly."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from bulkgrants.ledger.bulk import Cell, insert_rows
from bulkgrants.ledger.tables import entries, rejects
from bulkgrants.rosters.rejects import RejectReason, quoted
from bulkgrants.text import bounded

_AT_ONCE = 5_000
_COLUMNS = (
    *("run_id", "row_number", "tenant", "email", "provider", "mailbox", "reason", "sentence"),
)


def reject_duplicates(connection: Connection, *, run_id: int, application: str) -> int:
    """Move duplicate rows from `entries` to `rejects`; gives their number.

    Of rows that say the same of a mailbox the lowest row number stays. Of rows that contradict
    each other none stays, as nothing tells which is right. Rows of two providers are about one
    mailbox as well, because Nylas keeps one grant per address.
    """
    moved = 0
    streamed = _repeated(application).execution_options(yield_per=_AT_ONCE)
    with connection.execute(streamed) as repeated:
        for part in repeated.partitions():  # part by part: no row can be fetched during a COPY
            rows = [_reject(row, run_id) for row in part]
            moved += insert_rows(connection, rejects, _COLUMNS, rows)
    if moved:
        gone = sa.select(rejects.c.row_number).where(
            rejects.c.run_id == run_id,
            rejects.c.reason.in_([RejectReason.DUPLICATE, RejectReason.CONFLICTING_DUPLICATE]),
        )
        connection.execute(
            sa.delete(entries).where(
                entries.c.application == application, entries.c.row_number.in_(gone)
            )
        )
    return moved


def _repeated(application: str) -> sa.Select[*tuple[object, ...]]:
    """The rows to reject, each with what its mailbox's other rows say."""
    own = entries.c.application == application
    credential = sa.func.coalesce(entries.c.credential_id, "")

    def differs(column: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        return sa.func.min(column) != sa.func.max(column)

    groups = (
        sa.select(
            entries.c.email,
            sa.func.count().label("rows"),
            sa.func.min(entries.c.row_number).label("first"),
            sa.func.max(entries.c.row_number).label("last"),
            sa.func.min(entries.c.tenant).label("a_tenant"),
            sa.func.max(entries.c.tenant).label("z_tenant"),
            differs(entries.c.scopes).label("scopes_differ"),
            differs(credential).label("credentials_differ"),
        )
        .where(own)
        .group_by(entries.c.email)
        .having(sa.func.count() > 1)
        .subquery()
    )
    contradict = sa.or_(
        groups.c.a_tenant != groups.c.z_tenant, groups.c.scopes_differ, groups.c.credentials_differ
    )
    return (
        sa.select(
            entries.c.row_number,
            entries.c.tenant,
            entries.c.email,
            entries.c.provider,
            contradict.label("contradict"),
            *[column for column in groups.c if column.name != "email"],
        )
        .join(groups, groups.c.email == entries.c.email)
        .where(own, sa.or_(contradict, entries.c.row_number > groups.c.first))
    )


def _reject(row: sa.Row[*tuple[object, ...]], run_id: int) -> tuple[Cell, ...]:
    reason = RejectReason.CONFLICTING_DUPLICATE if row.contradict else RejectReason.DUPLICATE
    sentence = _conflict(row) if row.contradict else _same(row)
    address = bounded(row.email)
    tenant = bounded(row.tenant)
    provider, mailbox = row.provider, row.email
    return run_id, row.row_number, tenant, address, provider, mailbox, reason.value, sentence


def _same(row: sa.Row[*tuple[object, ...]]) -> str:
    return (
        f"{quoted(row.email)} stands in row {row.first} already, with the same tenant, scopes and "
        "credential; remove this row."
    )


def _conflict(row: sa.Row[*tuple[object, ...]]) -> str:
    two = row.rows == 2  # noqa: PLR2004 - a pair is named exactly, more as a range
    where = (
        f"rows {row.first} and {row.last}"
        if two
        else f"{row.rows} rows from {row.first} to {row.last}"
    )
    tenants = f"tenant ({quoted(row.a_tenant)}, {quoted(row.z_tenant)})"
    differences = [
        *([tenants] if row.a_tenant != row.z_tenant else []),
        *(["scopes"] if row.scopes_differ else []),
        *(["credential"] if row.credentials_differ else []),
    ]
    return (
        f"{quoted(row.email)} stands in {where}, which differ in {' and '.join(differences)}; "
        "nothing tells which is right, so none is used: keep one of them."
    )
