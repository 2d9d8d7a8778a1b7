"""A batch's process is killed while it is at work; Airflow tries again, and nothing is lost."""

from __future__ import annotations

from collections import Counter

from support.kill import CROWD


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


def test_attempts_that_the_kill_cut_short_are_open_for_ever_and_made_anew(played):
    cut_short = [attempt for attempt in played.killed.attempts if attempt["ended_at"] is None]
    assert cut_short
    assert {attempt["claim"] for attempt in cut_short} == {1}
    made_anew = {attempt["seq"] for attempt in played.killed.attempts if attempt["claim"] == 2}
    assert made_anew == {attempt["seq"] for attempt in cut_short}
