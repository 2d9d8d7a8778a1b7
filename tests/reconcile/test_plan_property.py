"""The database makes the same plan as a loop over all mailboxes."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from bulkgrants.ledger.tables import batches, changes, grants, skips
from bulkgrants.model import (
    DEFAULT_GRACE,
    Actual,
    Awaiting,
    Circumstances,
    Desired,
    Escrow,
    GrantStatus,
    Revoke,
    Selection,
    Skip,
    Standing,
)
from bulkgrants.reconcile.decide import decide
from bulkgrants.reconcile.plan import plan
from bulkgrants.reconcile.report import close_run
from support.ledgers import NOW, staged

DAY = timedelta(days=1)
UNKNOWN = Standing(
    enabled=True, awaiting=None, quarantined_until=None, quarantine_reason="", grace=DEFAULT_GRACE
)
_numbers = itertools.count(1)

standing = st.builds(
    Standing,
    enabled=st.sampled_from([True, True, False]),
    awaiting=st.sampled_from([None, None, None, *Awaiting]),
    quarantined_until=st.sampled_from([None, None, NOW - DAY, NOW, NOW + DAY]),
    quarantine_reason=st.just("why"),
    grace=st.sampled_from([timedelta(), DAY, 7 * DAY]),
)
entry = st.builds(
    Desired,
    tenant=st.sampled_from(["one", "two"]),
    scopes=st.sampled_from(["", "mail", "mail calendar"]),
    credential_id=st.sampled_from(["c1", "c1", "c2", None]),
)


@dataclass(frozen=True)
class Known:
    """A row of `grants`."""

    actual: Actual
    tenant: str | None
    gone: bool


known = st.builds(
    Known,
    actual=st.builds(
        Actual,
        grant_id=st.just("g"),
        status=st.sampled_from([GrantStatus.VALID, GrantStatus.VALID, GrantStatus.INVALID]),
        scopes=st.sampled_from(["", "mail", "mail calendar"]),
        credential_id=st.sampled_from(["c1", "c1", "c2", None]),
        blocked=st.sampled_from([False, False, False, True]),
        owned=st.booleans(),
        orphan_since=st.sampled_from([None, NOW, NOW - DAY, NOW - 8 * DAY]),
    ),
    tenant=st.sampled_from([None, "one", "two", "unlisted"]),
    gone=st.sampled_from([False, False, False, True]),
)


@dataclass(frozen=True)
class Mailbox:
    entry: Desired | None
    known: Known | None
    escrow: Escrow | None
    reject: str | None
    """`any`, or the provider that the rejected row names."""
    changed: bool
    """Whether the row has changed since the mailbox was refused."""

    @property
    def counting(self) -> Escrow | None:
        """The record in escrow, if it is about what the roster asks for now."""
        if self.changed or self.entry is None or self.entry.credential_id is None:
            return None
        return self.escrow

    @property
    def actual(self) -> Actual | None:
        return self.known.actual if self.known and not self.known.gone else None


mailbox = st.builds(
    Mailbox,
    entry=st.none() | entry,
    known=st.none() | known,
    escrow=st.none()
    | st.builds(
        Escrow, reason=st.just("no"), due_at=st.sampled_from([None, NOW - DAY, NOW, NOW + DAY])
    ),
    reject=st.sampled_from([None, None, None, "any", "google", "microsoft"]),
    changed=st.booleans(),
)
address = st.sampled_from([f"{letter}@example.com" for letter in "abcdefg"])
key = st.tuples(st.sampled_from(["google", "google", "microsoft"]), address)
selection = st.just(Selection()) | st.builds(
    Selection,
    tenants=st.sampled_from([(), ("one",), ("two",), ("one", "unlisted")]),
    mailbox=st.none() | address,
)


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    mailboxes=st.dictionaries(key, mailbox, max_size=12),
    standings=st.fixed_dictionaries({"one": standing, "two": standing}),
    selection=selection,
)
def test_the_plan_is_what_a_loop_over_all_mailboxes_would_make(
    ledger, mailboxes, standings, selection
):
    application = f"application {next(_numbers)}"
    run = staged(ledger, application, mailboxes, standings, selection)
    expected = loop(mailboxes, standings, selection)
    made = plan(ledger, run, batch_size=3, now=NOW)
    assert made.counts == expected.counts
    with ledger.connect() as connection:
        columns = [changes.c[name] for name in Expected.CHANGE]
        rows = connection.execute(
            select(*columns).where(changes.c.run_id == run.run_id).order_by(changes.c.seq)
        )
        assert [tuple(row) for row in rows] == expected.changes
        columns = [skips.c[name] for name in Expected.SKIP]
        rows = connection.execute(select(*columns).where(skips.c.run_id == run.run_id))
        assert sorted(map(tuple, rows), key=str) == sorted(expected.skips, key=str)
        rows = connection.execute(
            select(grants.c.provider, grants.c.email, grants.c.orphan_since).where(
                grants.c.application == application
            )
        )
        assert {(row[0], row[1]): row[2] for row in rows} == expected.orphan_since
        require_partition(connection, run, expected)
    assert plan(ledger, run, batch_size=1, now=NOW + DAY) == made
    close_run(ledger, run, NOW)


def require_partition(connection, run, expected) -> None:
    """The batches have every planned change once, and none that is held."""
    rows = connection.execute(select(batches).where(batches.c.run_id == run.run_id))
    spans = [range(row.first_seq, row.last_seq + 1) for row in rows]
    planned = [n for n, row in enumerate(expected.changes, start=1) if row[-1] == "planned"]
    assert [seq for span in spans for seq in span] == planned


class Expected:
    CHANGE = (
        "kind", "provider", "email", "tenant", "scopes", "credential_id", "grant_id", "state"
    )  # fmt: skip
    SKIP = ("provider", "email", "tenant", "grant_id", "reason", "detail")

    def __init__(self) -> None:
        self.changes: list[tuple] = []
        self.skips: list[tuple] = []
        self.counts: dict[str, int] = {}
        self.orphan_since: dict[tuple[str, str], object] = {}


def loop(mailboxes, standings, selection) -> Expected:
    """The reference: it looks at every mailbox, one after the other."""
    expected, tally, ordered = Expected(), Counter(), []
    entered = foreign = unchanged = 0
    for (provider, email), box in mailboxes.items():
        since = box.known.actual.orphan_since if box.known else None
        rejected = box.actual is not None and any(
            other.reject in {"any", provider}
            for (_, named), other in mailboxes.items()
            if named == email
        )
        if within(selection, email, box):
            tenant = box.entry.tenant if box.entry else box.known.tenant
            entered += box.entry is not None
            if box.entry is None and not box.actual.owned:
                foreign += 1
            elif box.entry and box.actual and equal(provider, box.entry, box.actual):
                unchanged += 1
            else:
                decision = decide(
                    Desired(tenant, box.entry.scopes, box.entry.credential_id)
                    if box.entry
                    else None,
                    box.actual,
                    Circumstances(
                        NOW, provider, standings.get(tenant, UNKNOWN), box.counting, rejected
                    ),
                )
                ordered.append((rank(box), tenant or "", provider, email, tenant, decision, box))
                if box.entry is None and not rejected and since is None:
                    since = NOW
        if box.known:
            expected.orphan_since[provider, email] = None if box.entry else since
    for _, _, provider, email, tenant, decision, box in sorted(ordered, key=lambda one: one[:4]):
        grant_id = box.actual.grant_id if box.actual else None
        if isinstance(decision, Skip):
            tally[f"skip:{decision.reason}"] += 1
            expected.skips.append(
                (provider, email, tenant, grant_id, decision.reason, decision.detail)
            )
            continue
        tally[decision.kind] += 1
        held = isinstance(decision, Revoke)
        expected.changes.append(
            (
                decision.kind,
                provider,
                email,
                tenant,
                box.actual.scopes if held else decision.scopes,
                None if held else decision.credential_id,
                grant_id,
                "held" if held else "planned",
            )
        )
    expected.counts = {
        **{str(label): count for label, count in tally.items()},
        "entries": entered,
        "unchanged": unchanged,
        "foreign": foreign,
        "rejected": 4,
    }
    everybody = sum(within(selection, email, box) for (_, email), box in mailboxes.items())
    assert tally.total() + unchanged + foreign == everybody
    return expected


def within(selection: Selection, email: str, box: Mailbox) -> bool:
    if box.entry is None and box.actual is None:
        return False
    tenant = box.entry.tenant if box.entry else box.known.tenant
    return selection.mailbox in {None, email} and (
        not selection.tenants or tenant in selection.tenants
    )


def equal(provider: str, wanted: Desired, actual: Actual) -> bool:
    return (
        actual.status == GrantStatus.VALID
        and not actual.blocked
        and actual.credential_id == wanted.credential_id
        and (provider != "google" or actual.scopes == wanted.scopes)
    )


def rank(box: Mailbox) -> tuple[bool, bool, int]:
    """Orphans come last, and before them the mailboxes that were refused before."""
    if box.entry is None:
        return True, False, 3
    missing = 1 if box.actual is None else None
    broken = box.actual is not None and box.actual.status == GrantStatus.INVALID
    return False, box.counting is not None, missing or (0 if broken else 2)
