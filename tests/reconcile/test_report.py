"""A report stays a report, whatever is in its cells."""

from datetime import timedelta

import pytest
from markdown_it import MarkdownIt
from sqlalchemy import update

from bulkgrants.errors import Refused
from bulkgrants.ledger import runs
from bulkgrants.ledger.tables import changes
from bulkgrants.model import Mode, RunKind, Selection
from bulkgrants.reconcile.apply import apply_batch
from bulkgrants.reconcile.opening import RosterState, open_run
from bulkgrants.reconcile.plan import plan
from bulkgrants.reconcile.report import Report, close_run
from bulkgrants.reconcile.verify import verify
from support.batches import fake_plan, people
from support.fakes import MAILBOX_UNKNOWN, FakeNylas
from support.ledgers import (
    APPLICATION,
    NOW,
    entry,
    grant,
    lease_run,
    noted,
    opened,
    put,
    ready,
    rows,
    with_tenants,
)

HOSTILE = (
    "a|b\n| c | d |\r\n\r\n# h <script>alert(1)</script> `code` **bold** [l](http://x) "
    "![i](http://x) &amp; \\| ~~s~~ <!-- \x1b[31m \u202e \x00"
)


def tables(markdown: str) -> list[list[list[str]]]:
    """Every table as a Markdown reader sees it: a list of rows of cells."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    found: list[list[list[str]]] = []
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in {"td_open", "th_open"}:
            assert {child.type for child in following.children} <= {"text", "text_special"}
            found[-1][-1].append("".join(child.content for child in following.children))
        assert token.type not in {"html_block", "fence", "code_block"}
    return found


def closed(engine, run) -> Report:
    return close_run(engine, runs.read_run(engine, run.run_id), NOW)


def test_hostile_cells_leave_every_table_a_table(ledger):
    run = ready(ledger, opened(ledger, f"key {HOSTILE}"[:190].replace("\x00", "")), rejected=1)
    text = HOSTILE.replace("\x00", "")
    put(ledger, "entries", entry(text, "a@example.com"), entry(text, text))
    run = noted(ledger, run, entries=2)
    put(
        ledger,
        "grants",
        grant("h" + text, grant_id="h", owned=True, tenant=text),
        grant("b" + text, grant_id="b", owned=True, tenant=text, blocked=True),
    )
    put(
        ledger,
        "rejects",
        {
            "run_id": run.run_id,
            "row_number": 7,
            "tenant": text,
            "email": text,
            "provider": None,
            "mailbox": None,
            "reason": "bad_address",
            "sentence": text,
        },
    )
    plan(ledger, run, batch_size=10, now=NOW)
    with ledger.begin() as connection:
        connection.execute(
            update(changes)
            .where(changes.c.seq == 1)
            .values(state="done", outcome="refused", message=text, verified="drift")
        )
        connection.execute(update(changes).where(changes.c.seq == 2).values(state="held"))
    report = closed(ledger, run)
    found = tables(report.markdown)
    assert len(found) == report.markdown.count("\n## ") == 6
    for table in found:
        width = len(table[0])
        assert all(len(row) == width for row in table)
    assert [len(table) - 1 for table in found[1:]] == [1, 1, 1, 2, 1]
    assert found[1][1][0].startswith("a|b | c | d |")
    assert [line for line in report.markdown.splitlines() if line.startswith("# ")] == [
        report.markdown.splitlines()[0]
    ]


def test_the_counts_are_of_mailboxes_from_plan_to_verification(make_ledger):
    import asyncio

    roster = people(6)
    engine, run, made = fake_plan(make_ledger, roster)
    nylas = FakeNylas()

    def refuse(call) -> None:
        if call.method == "POST" and call.body["settings"]["email_address"] == roster[0][1]:
            raise Refused("no such mailbox", known=MAILBOX_UNKNOWN, status=400)

    nylas.before = refuse
    asyncio.run(apply_batch(engine, nylas, run, *made.batches, clock=lambda: NOW))
    asyncio.run(verify(engine, nylas, run, clock=lambda: NOW))
    report = closed(engine, run)
    assert report.counts == {
        "create": 6,
        "entries": 6,
        "unchanged": 0,
        "foreign": 0,
        "rejected": 0,
        "granted": 5,
        "refused": 1,
        "verified": 5,
        "attempts": 6,
    }
    assert report.complete
    sentence = "6 changes planned, 5 made, 1 refused; 0 mailboxes were as they should be."
    assert report.headline == sentence
    assert ["refused", "1"] in tables(report.markdown)[0]
    again = closed(engine, run)
    assert again == report
    (row,) = rows(engine, "runs")
    assert (row["report"], row["counts"]) == (report.markdown, report.counts)


def test_a_run_with_open_changes_is_not_complete(make_ledger):
    engine, run, _ = fake_plan(make_ledger, people(3))
    report = closed(engine, run)
    assert not report.complete
    assert report.counts["open"] == 3
    assert report.headline.startswith("3 changes planned, 0 made, 3 open;")
    assert closed(engine, run) == report


@pytest.mark.parametrize(("mode", "words"), [(Mode.DRY_RUN, "a dry run"), (Mode.AUDIT, "an audit")])
def test_a_run_that_only_plans_leaves_nothing_open(ledger, mode, words):
    run = ready(ledger, opened(ledger, mode=mode), [("acme", "a@example.com")])
    plan(ledger, run, batch_size=10, now=NOW)
    report = closed(ledger, run)
    assert report.complete
    assert "open" not in report.counts
    assert report.headline == f"1 changes planned, none applied: this was {words}."


def test_a_run_that_ended_before_its_plan_says_so(ledger):
    report = closed(ledger, opened(ledger))
    assert not report.complete
    assert report.counts == {}
    assert "the run ended before it had a plan" in report.markdown
    assert tables(report.markdown) == []


def test_a_run_that_did_nothing_says_why(ledger):
    run = open_run(
        ledger,
        application=APPLICATION,
        key="late",
        kind=RunKind.RECONCILE,
        mode=Mode.APPLY,
        selection=Selection(),
        roster=RosterState(
            NOW.date() - timedelta(days=1),
            NOW.date(),
            exact=True,
            dated=False,
            newest=None,
            overdue=timedelta(days=1),
        ),
        now=NOW,
    )
    report = closed(ledger, run)
    assert report.complete
    reason = "The roster is a current table, which does not show 2026-02-28."
    assert report.headline == f"Nothing was written to Nylas. {reason}"


def test_long_lists_are_cut_and_say_so(ledger):
    with_tenants(ledger, "acme")
    run = ready(ledger, opened(ledger))
    owned = [grant(f"u{n:03d}@example.com", owned=True, tenant="acme") for n in range(51)]
    put(ledger, "grants", *owned)
    plan(ledger, run, batch_size=10, now=NOW)
    report = closed(ledger, run)
    assert len(tables(report.markdown)[1]) == 1 + 50
    assert "There are more; the ledger has them all." in report.markdown


def test_closing_releases_the_lease_but_not_another_runs(ledger):
    first = opened(ledger, "first")
    closed(ledger, first)
    second = lease_run(ledger, "second")
    closed(ledger, first)
    assert [row["run_id"] for row in rows(ledger, "leases")] == [second.run_id]
