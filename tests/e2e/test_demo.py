"""The demo as a person sees it, what it leaves behind, and what kills in the middle of it do.

One file, as tests are spread over processes by file, and each process would start its own Airflow.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from urllib.parse import urlsplit

import psutil

from demo.samples import read_samples
from support.kills import CROWD


def test_it_ends_well(played):
    assert played.exit_code == 0, played.said


def test_every_sample_row_gets_its_fate_in_the_table(played):
    shown = [
        [cell.strip() for cell in line.strip("│\n").split("│")]
        for line in played.said.splitlines()
        if line.startswith("│")
    ]
    fates = [(cells[1], cells[3]) for cells in shown if cells[3]]
    wanted = [(row["email"].strip(), row["fate"]) for row in read_samples().fates]
    assert fates[: len(wanted)] == wanted
    assert {fate for _, fate in fates[len(wanted) :]} == {"orphan"}


def test_the_second_reconcile_plans_nothing_and_makes_no_calls(played):
    assert "Reconciled once more: 0 changes, 0 mailboxes authenticated" in played.said


def test_one_microsoft_tenant_is_granted_and_one_refused_with_what_to_do_next(played):
    assert "The admin of delta consents, and reads: Thank you" in played.said
    assert "Tenant delta (microsoft) is ready" in played.said
    assert "noor.haddad@delta.example.com: granted" in played.said
    assert "The admin of elm declines, and reads: The consent was not given" in played.said
    assert re.search(
        r"Tenant elm \(microsoft\) is refused.*What to do next:.*trigger\s+onboard_tenants",
        played.said,
        re.DOTALL,
    )
    assert "pia.lund@elm.example.com: awaiting_consent" in played.said


def test_several_batches_were_applied(played):
    assert re.search(r"apply batch 4 of 4 .* success", played.said)


def test_no_process_is_left(played):
    assert played.pids
    assert [pid for pid in played.pids if _is_alive(pid)] == []


def _is_alive(pid):
    """A zombie is not alive: its parent, here often process 1, has not read its status yet."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_no_port_is_still_open(played):
    ports = {urlsplit(url).port for url in played.base_urls}
    assert len(ports) == 2
    listening = {c.laddr.port for c in psutil.net_connections("tcp") if c.status == "LISTEN"}
    assert not ports & listening


def test_nothing_written_holds_a_key(played):
    """Beside the demo's own search for its secrets: nothing has the form of a key."""
    looks_like_a_key = re.compile(rb"nyk_v0_[\w-]{20}|PRIVATE KEY|private_key\W{1,8}-|MII[EC]v")
    files = [path for path in played.folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if looks_like_a_key.search(path.read_bytes())] == []
    assert not looks_like_a_key.search(played.said.encode())


def test_airflow_really_ran_the_tasks(played):
    with sqlite3.connect(played.folder / "airflow" / "airflow.db") as metadata:
        runs = metadata.execute("SELECT dag_id, run_id, state FROM dag_run ORDER BY id").fetchall()
    metadata.close()
    assert runs == [
        ("register_credentials", "demo-1", "success"),
        ("onboard_tenants", "demo-1", "failed"),  # as one tenant is refused
        ("reconcile_grants", "demo-1", "success"),
        ("reconcile_grants", "demo-2", "success"),
        ("reconcile_grants", "killed", "success"),
        ("onboard_tenants", "asked-again", "success"),
    ]


def test_a_process_was_killed_half_way_and_airflow_tried_again(played):
    killed = played.killed
    assert killed.map_index is not None, played.said
    tries = {task.map_index: task.try_number for task in killed.tasks if task.task_id == "apply"}
    assert tries == {0: 1, 1: 1, 2: 1} | {killed.map_index: 2}


def test_every_mailbox_has_one_grant(played):
    killed = played.killed
    assert len(killed.grants) == killed.grants_before + len(CROWD)
    assert {killed.grants[one]["grant_status"] for one in CROWD} == {"valid"}
    outcomes = Counter(change["outcome"] for change in killed.changes)
    assert outcomes == {"granted": len(CROWD)}


def test_what_was_done_before_the_kill_is_not_done_again(played):
    killed = played.killed
    assert killed.done_before
    assert {killed.authentications[one] for one in killed.done_before} == {1}


def test_every_call_has_its_attempt_in_the_ledger(played):
    killed = played.killed
    emails = {change["seq"]: change["email"] for change in killed.changes}
    attempts = Counter(emails[attempt["seq"]] for attempt in killed.attempts)
    calls = killed.authentications
    assert calls.keys() == attempts.keys()
    assert all(calls[one] <= attempts[one] for one in calls)


def test_attempts_that_the_kill_cut_short_stay_open_and_are_made_again(played):
    cut_short = [attempt for attempt in played.killed.attempts if attempt["ended_at"] is None]
    assert cut_short
    assert {attempt["claim"] for attempt in cut_short} == {1}
    made_again = {attempt["seq"] for attempt in played.killed.attempts if attempt["claim"] == 2}
    assert made_again == {attempt["seq"] for attempt in cut_short}


def test_a_wait_for_consent_outlives_its_triggerer(played):
    outlived = played.outlived
    assert outlived.killed, played.said
    assert outlived.standing == "ready"
    tries = {task.task_id: task.try_number for task in outlived.tasks}
    assert tries["onboard.await_consent"] == 1
    assert outlived.seconds < 150
