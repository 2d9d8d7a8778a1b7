"""Puts runs, entries and grants directly into a ledger, for tests of single steps."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine, func, insert, select, text, update

from bulkgrants.ledger import runs
from bulkgrants.ledger.database import metadata
from bulkgrants.ledger.rights import LEASE_TERM, take_lease, writing
from bulkgrants.ledger.tables import entries, escrow, grants, leases, rejects, tenants
from bulkgrants.ledger.tables import runs as runs_table
from bulkgrants.ledger.tenants import write_settings
from bulkgrants.model import Actual, Mode, Provider, Run, RunKind, Selection, Tenant
from bulkgrants.reconcile.opening import RosterState, open_run

APPLICATION = "app-1"
NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
MAIL = "https://www.googleapis.com/auth/gmail.readonly"


def let_lapse(engine: Engine, passed: timedelta = LEASE_TERM) -> None:
    """Pretend that all leases were renewed so much longer ago; the database's clock times them."""
    with engine.begin() as connection:
        for row in connection.execute(select(leases)).all():
            connection.execute(
                update(leases)
                .where(leases.c.application == row.application)
                .values(expires_at=row.expires_at - passed)
            )


def pass_time(engine: Engine, now: datetime) -> None:
    """Let the lease lapse if by the test's time its run was opened a whole term ago."""
    with engine.connect() as connection:
        opened_at = connection.execute(
            select(func.max(runs_table.c.opened_at)).join(
                leases, leases.c.run_id == runs_table.c.id
            )
        ).scalar()
    if opened_at is not None and now - opened_at >= LEASE_TERM:
        let_lapse(engine)


def lease_run(engine: Engine, key: str = "night", now: datetime = NOW) -> Run:
    """A run that holds the lease, but does not know yet what it is for."""
    kind = RunKind.RECONCILE
    pass_time(engine, now)
    run_id = runs.open_record(engine, application=APPLICATION, key=key, kind=kind, now=now)
    take_lease(engine, application=APPLICATION, run_id=run_id)
    return runs.read_run(engine, run_id)


def opened(
    engine: Engine,
    key: str = "night",
    *,
    application: str = APPLICATION,
    now: datetime = NOW,
    mode: Mode = Mode.APPLY,
    selection: Selection | None = None,
    roster_date: date | None = None,
) -> Run:
    """A run that may continue, for the newest day of its roster, once other leases have lapsed."""
    pass_time(engine, now)
    return asked(engine, key, application, now, mode, selection, roster_date)


def asked(
    engine: Engine,
    key: str,
    application: str = APPLICATION,
    now: datetime = NOW,
    mode: Mode = Mode.APPLY,
    selection: Selection | None = None,
    roster_date: date | None = None,
) -> Run:
    """A run that a machine opens at that time by its own clock."""
    day, dated = roster_date or now.date(), roster_date is not None
    return open_run(
        engine,
        application=application,
        key=key,
        kind=RunKind.RECONCILE,
        mode=mode,
        selection=selection or Selection(),
        roster=RosterState(day, now.date(), exact=False, dated=dated, newest=roster_date),
        now=now,
    )


def noted(engine: Engine, run: Run, **values: object) -> Run:
    """The run with these values in its record, written under its own right."""
    with writing(engine, run, run.opened_at) as write:
        runs.note(write, **values)
    return runs.read_run(engine, run.run_id)


def ready(engine: Engine, run: Run, roster=(), rejected: int = 0) -> Run:
    """The run with its roster staged, as (tenant, email) pairs, and its listing merged."""
    with engine.begin() as connection:
        connection.execute(entries.delete().where(entries.c.application == run.application))
        if roster:
            rows = [entry(tenant, email) for tenant, email in roster]
            connection.execute(insert(entries), rows)
    return noted(engine, run, entries=len(roster), rejected=rejected, observed=0)


def entry(tenant: str, email: str, **changed) -> dict:
    values = {
        "application": APPLICATION,
        "provider": "google",
        "email": email,
        "tenant": tenant,
        "scopes": MAIL,
        "credential_id": "cred-1",
        "row_number": 1,
    }
    return values | changed


def grant(email: str, **changed) -> dict:
    values = {
        "application": APPLICATION,
        "provider": "google",
        "email": email,
        "grant_id": f"grant of {email}",
        "status": "valid",
        "scopes": MAIL,
        "credential_id": "cred-1",
        "blocked": False,
        "created_at": 1,
        "updated_at": 1,
        "owned": False,
        "tenant": None,
        "orphan_since": None,
        "gone_at": None,
    }
    return values | changed


def put(engine: Engine, table: str, *rows: dict) -> None:
    with engine.begin() as connection:
        connection.execute(insert(metadata.tables[table]), list(rows))


def rows(engine: Engine, table: str) -> list[dict]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(metadata.tables[table])).mappings()]


def with_tenants(engine: Engine, *names: str) -> None:
    week = timedelta(days=7)
    with engine.begin() as connection:
        write_settings(
            connection,
            APPLICATION,
            [Tenant(one, Provider.GOOGLE, "sa", "sa", MAIL, week, enabled=True) for one in names],
        )


def granted(engine: Engine) -> dict[str, dict]:
    with engine.connect() as connection:
        return {row["email"]: dict(row) for row in connection.execute(select(grants)).mappings()}


def staged(engine, application, mailboxes, standings, selection):
    """A run whose ledger has the given mailboxes and standings."""
    run = opened(engine, application=application, selection=selection)
    found = {entries: [], grants: [], escrow: [], rejects: []}
    for (provider, email), box in mailboxes.items():
        who = {"application": application, "provider": provider, "email": email}
        for table, row in _known_of(who, run, box):
            found[table].append(row)
    found[tenants] = [
        {
            "application": application,
            "tenant": name,
            "provider": "google",
            "credential": "sa",
            "secret_conn_id": "sa",
            "scopes": "",
            "grace_seconds": int(one.grace.total_seconds()),
            "enabled": one.enabled,
            "listed": True,
            "awaiting": one.awaiting,
            "quarantined_until": one.quarantined_until,
            "quarantine_reason": one.quarantine_reason,
        }
        for name, one in standings.items()
    ]
    with engine.begin() as connection:
        for table, made in found.items():
            if made:
                connection.execute(insert(table), made)
    return noted(engine, run, entries=len(found[entries]), rejected=4, observed=0)


def _known_of(who, run, box):
    """One row for each table that has the mailbox."""
    yesterday, email = NOW - timedelta(days=1), who["email"]
    if box.entry:
        asked = {"scopes": box.entry.scopes, "credential_id": box.entry.credential_id}
        yield entries, entry(box.entry.tenant, email, **asked) | who
    if box.known:
        actual = {name: getattr(box.known.actual, name) for name in Actual.__slots__}
        gone_at = yesterday if box.known.gone else None
        yield grants, grant(email, tenant=box.known.tenant, gone_at=gone_at) | actual | who
    if box.escrow:
        asked = box.entry.scopes if box.entry else ""
        yield (
            escrow,
            who
            | {
                "tenant": box.entry.tenant if box.entry else "one",
                "scopes": "asked for then" if box.changed else asked,
                "credential_id": box.entry.credential_id if box.entry else "c1",
                "reason": box.escrow.reason,
                "due_at": box.escrow.due_at,
                "refusals": 1,
                "first_refused_at": yesterday,
            },
        )
    if box.reject:
        yield (
            rejects,
            {
                "run_id": run.run_id,
                "row_number": 1,
                "tenant": "",
                "email": email,
                "provider": None if box.reject == "any" else box.reject,
                "mailbox": email,
                "reason": "r",
                "sentence": "s",
            },
        )


def wait_until_blocked(ledger: Engine) -> None:
    """Wait until another connection to this PostgreSQL database waits for a lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with ledger.connect() as connection:
            if connection.execute(waiting).scalar():
                return
    raise TimeoutError("No connection is waiting for a lock.")
