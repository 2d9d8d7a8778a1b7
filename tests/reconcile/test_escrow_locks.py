"""Whoever writes several records in escrow locks them in the same order."""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from sqlalchemy import select

from bulkgrants.ledger import changes
from bulkgrants.ledger.database import open_ledger
from bulkgrants.ledger.rights import claim_batch, writing
from bulkgrants.ledger.tables import escrow
from bulkgrants.ledger.tenants import record_credential
from bulkgrants.ledger.upgrade import upgrade
from bulkgrants.model import (
    CredentialType,
    NotGranted,
    NotServed,
    Outcome,
    Provider,
    RegisteredCredential,
)
from bulkgrants.reconcile.plan import plan
from bulkgrants.reconcile.recorder import record, record_unserved
from support.ledgers import (
    APPLICATION,
    MAIL,
    NOW,
    opened,
    put,
    ready,
    wait_until_blocked,
    with_tenants,
)

FIRST, LAST = "a@acme.example.com", "z@acme.example.com"


def in_escrow(email: str) -> dict:
    return {
        "application": APPLICATION,
        "provider": "google",
        "email": email,
        "tenant": "acme",
        "scopes": MAIL,
        "credential_id": "cred-1",
        "reason": "not_served",
        "code": "",
        "message": "",
        "refusals": 0,
        "first_refused_at": NOW,
        "due_at": NOW,
    }


def new_plan(ledger, key, *emails):
    run = ready(ledger, opened(ledger, key), [("acme", email) for email in emails])
    return run, plan(ledger, run, batch_size=10, now=NOW)


def backwards(ledger):
    """A batch with changes of both mailboxes, the last one first."""
    run, _ = new_plan(ledger, "night", FIRST, LAST)
    claim = claim_batch(ledger, run, 1, NOW)
    return claim, changes.open_changes(ledger, claim, after=0, limit=9)[::-1]


def refuse(ledger):
    claim, found = backwards(ledger)
    done = [
        NotGranted(one, Outcome.REFUSED, "mailbox_unknown", "", "", NOW, lasting=True)
        for one in found
    ]

    def write():
        with writing(ledger, claim, NOW) as write:
            record(write, done)

    return write


def leave_unserved(ledger):
    claim, found = backwards(ledger)
    unserved = [NotServed(one, "not_served", "", "", NOW) for one in found]

    def write():
        with writing(ledger, claim, NOW) as write:
            record_unserved(write, unserved)

    return write


def plan_without_them(ledger):
    run = ready(ledger, opened(ledger), [])
    return lambda: plan(ledger, run, batch_size=10, now=NOW)


def register(ledger):
    return lambda: record_credential(
        ledger,
        RegisteredCredential("cred-1", "f", NOW, None),
        application=APPLICATION,
        provider=Provider.GOOGLE,
        name="sa",
        credential_type=CredentialType.SERVICE_ACCOUNT,
    )


@pytest.mark.parametrize("made", [refuse, leave_unserved, plan_without_them, register])
def test_whoever_writes_several_records_in_escrow_locks_them_by_mailbox(postgres_url, made):
    # PostgreSQL may read the table as it lies, which is the order that a plain delete locks in.
    as_it_lies = "-c enable_indexscan=off -c enable_bitmapscan=off"
    ledger = open_ledger(f"{postgres_url}&options={quote(as_it_lies)}")
    upgrade(ledger)
    with_tenants(ledger, "acme")
    write = made(ledger)
    put(ledger, "escrow", in_escrow(LAST), in_escrow(FIRST))
    first, last = (select(escrow.c.email).where(escrow.c.email == one) for one in (FIRST, LAST))
    with ThreadPoolExecutor(1) as thread, ledger.connect() as slow:
        slow.execute(first.with_for_update())
        other = thread.submit(write)
        wait_until_blocked(ledger)
        assert slow.execute(last.with_for_update(skip_locked=True)).scalar() == LAST
        slow.rollback()
        other.result(timeout=30)
    ledger.dispose()
