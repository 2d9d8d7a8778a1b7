"""Mailboxes with all that the ledger may know of them, put into a ledger for one run."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import insert

from bulkgrants.ledger import runs
from bulkgrants.ledger.tables import entries, escrow, grants, rejects
from bulkgrants.ledger.tables import tenants as tenants_table
from bulkgrants.model import Actual, Mode
from bulkgrants.reconcile.gate import Admission
from bulkgrants.reconcile.opening import admit_run, take_lease
from support.ledgers import NOW

DAY = timedelta(days=1)


def staged(engine, application, mailboxes, standings, scope):
    run = take_lease(engine, application=application, key="night", kind="reconcile", now=NOW)
    run = admit_run(engine, run, Admission(None, Mode.APPLY, ""), scope)
    tables = {entries: [], grants: [], escrow: [], rejects: [], tenants_table: []}
    for (provider, email), box in mailboxes.items():
        who = {"application": application, "provider": provider, "email": email}
        if box.entry:
            tables[entries].append(
                who
                | {
                    "tenant": box.entry.tenant,
                    "scopes": box.entry.scopes,
                    "credential_id": box.entry.credential_id,
                    "row_number": 1,
                }
            )
        if box.known:
            actual = box.known.actual
            tables[grants].append(
                who
                | {name: getattr(actual, name) for name in Actual.__slots__}
                | {
                    "tenant": box.known.tenant,
                    "gone_at": NOW - DAY if box.known.gone else None,
                    "created_at": 1,
                    "updated_at": 1,
                }
            )
        if box.escrow:
            tables[escrow].append(
                who
                | {
                    "tenant": "one",
                    "reason": box.escrow.reason,
                    "due_at": box.escrow.due_at,
                    "refusals": 1,
                    "first_refused_at": NOW - DAY,
                }
            )
        if box.reject:
            tables[rejects].append(
                {
                    "run_id": run.run_id,
                    "row_number": 1,
                    "tenant": "",
                    "email": email,
                    "provider": None if box.reject == "any" else box.reject,
                    "mailbox": email,
                    "reason": "r",
                    "sentence": "s",
                }
            )
    tables[tenants_table] = [
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
        for table, found in tables.items():
            if found:
                connection.execute(insert(table), found)
        runs.note(connection, run.run_id, entries=len(tables[entries]), rejected=4, observed=0)
    return runs.read_run(engine, run.run_id)
