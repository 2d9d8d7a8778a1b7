"""A redirect is recorded as a whole or not at all, and once; strangers cannot fill the ledger."""

import logging
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, update

from bulkgrants.ledger.consents import ATTEMPTS_FOR_ONE, STRAY_ATTEMPTS, answer_consent
from bulkgrants.ledger.database import open_ledger
from bulkgrants.ledger.rights import answering
from bulkgrants.ledger.tables import consents, credentials, tenants
from bulkgrants.ledger.tenants import lock_tenants, write_settings
from bulkgrants.ledger.upgrade import upgrade
from bulkgrants.model import ConsentStatus, OAuthError
from bulkgrants.onboarding.callback import Verdict
from support.consents import (
    GUID,
    OTHER_GUID,
    Link,
    listed,
    recorded,
    send_links,
    status_of,
    take,
)
from support.ledgers import APPLICATION, NOW, rows, wait_until_blocked

HOUR = timedelta(hours=1)


def test_a_yes_moves_the_tenant_on_and_records_when(ledger):
    acme, globex = send_links(ledger, "acme", "globex")
    received = take(ledger, acme.approved(), now=NOW + HOUR)
    assert (received.verdict, received.tenant) == (Verdict.GIVEN, "acme")
    assert (received.status, received.answered_at) == (ConsentStatus.GIVEN, NOW + HOUR)
    assert status_of(ledger, acme) == ("given", "propagation")
    assert status_of(ledger, globex) == ("pending", "consent")
    (row,) = (row for row in rows(ledger, "tenants") if row["tenant"] == "acme")
    assert row["awaiting_since"] == NOW + HOUR


def test_a_no_is_recorded_with_all_four_fields_and_the_tenant_stays_where_it_is(ledger):
    (acme,) = send_links(ledger, "acme")
    query = acme.answered(
        admin_consent="True",
        error="access_denied",
        error_code="45002",
        error_description="AADSTS65004: declined\r\nTrace ID: 1",
        error_uri="https://login.example.com/error?code=65004",
    )
    received = take(ledger, query)
    assert received.verdict is Verdict.REFUSED
    assert received.error == OAuthError(
        "access_denied",
        "45002",
        "AADSTS65004: declined Trace ID: 1",
        "https://login.example.com/error?code=65004",
    )
    assert status_of(ledger, acme) == ("refused", "consent")


def test_a_reload_says_what_is_recorded_and_changes_nothing(ledger):
    acme, globex = send_links(ledger, "acme", "globex")
    take(ledger, acme.approved())
    take(ledger, globex.declined())
    before = recorded(ledger)
    again = take(ledger, acme.approved(), now=NOW + HOUR)
    assert (again.verdict, again.status, again.answered_at) == (
        Verdict.REPEATED,
        ConsentStatus.GIVEN,
        NOW,
    )
    again = take(ledger, globex.declined(), now=NOW + HOUR)
    assert (again.verdict, again.status) == (Verdict.REPEATED, ConsentStatus.REFUSED)
    assert again.error.error == "access_denied"
    assert take(ledger, acme.declined()).verdict is Verdict.USED
    assert take(ledger, globex.approved()).verdict is Verdict.USED
    assert recorded(ledger) == before


def test_a_later_no_by_a_second_link_does_not_undo_a_yes(ledger):
    (first,) = send_links(ledger, "acme")
    (second,) = send_links(ledger, "acme", now=NOW + HOUR)
    take(ledger, first.approved(), now=NOW + HOUR)
    before = recorded(ledger)
    late = take(ledger, second.declined(), now=NOW + 2 * HOUR)
    assert (late.verdict, late.status) == (Verdict.USED, ConsentStatus.GIVEN)
    assert late.answered_at == NOW + HOUR
    assert recorded(ledger) == before
    assert status_of(ledger, second) == ("pending", "propagation")


def test_what_a_refused_link_says_again_is_compared_with_a_later_yes_by_another(ledger):
    (first,) = send_links(ledger, "acme")
    (second,) = send_links(ledger, "acme", now=NOW + HOUR)
    assert take(ledger, first.declined()).verdict is Verdict.REFUSED
    assert take(ledger, second.approved(), now=NOW + HOUR).verdict is Verdict.GIVEN
    before = recorded(ledger)
    for query, verdict in (
        (first.declined(), Verdict.USED),
        (first.approved(), Verdict.REPEATED),
        (second.approved(), Verdict.REPEATED),
        (second.declined(), Verdict.USED),
    ):
        again = take(ledger, query, now=NOW + 2 * HOUR)
        assert (again.verdict, again.status) == (verdict, ConsentStatus.GIVEN)
        assert again.answered_at == NOW + HOUR
    assert recorded(ledger) == before


def test_an_error_that_passes_is_noted_and_leaves_the_link_open(ledger):
    (acme,) = send_links(ledger, "acme")
    before = recorded(ledger)
    query = acme.answered(error="server_error", error_description="AADSTS90006: later")
    assert take(ledger, query).verdict is Verdict.PASSING
    assert recorded(ledger) == before
    (note,) = rows(ledger, "consent_attempts")
    assert note["verdict"] == "passing"
    assert take(ledger, acme.approved()).verdict is Verdict.GIVEN


def test_a_late_yes_to_an_old_link_does_not_set_a_ready_tenant_back(ledger):
    (acme,) = send_links(ledger, "acme")
    with ledger.begin() as connection:
        connection.execute(update(tenants).values(awaiting=None, awaiting_since=None))
    assert take(ledger, acme.approved()).verdict is Verdict.GIVEN
    assert status_of(ledger, acme) == ("given", None)


def change_the_credential(connection):
    connection.execute(update(credentials).values(credential_id="another"))


def point_to_another_credential(connection):
    connection.execute(update(tenants).values(credential="another"))


def take_off_the_list(connection):
    connection.execute(update(tenants).values(listed=False))


def ask_another_organisation(connection):
    connection.execute(update(consents).values(microsoft_tenant=OTHER_GUID))


def mark_expired(connection):
    connection.execute(update(consents).values(status=ConsentStatus.EXPIRED))


def forge_the_tenant(connection):
    connection.execute(update(consents).values(tenant="globex"))


def forge_the_end(connection):
    connection.execute(update(consents).values(expires_at=NOW + timedelta(days=999)))


@pytest.mark.parametrize(
    ("meanwhile", "verdict", "tenant"),
    [
        (change_the_credential, Verdict.STALE, "acme"),
        (point_to_another_credential, Verdict.STALE, "acme"),
        (take_off_the_list, Verdict.STALE, "acme"),
        (ask_another_organisation, Verdict.MISMATCHED, "acme"),
        (mark_expired, Verdict.EXPIRED, "acme"),
        (forge_the_tenant, Verdict.UNKNOWN, ""),
        (forge_the_end, Verdict.UNKNOWN, ""),
    ],
)
def test_a_change_before_the_admins_answer_is_noticed_and_nothing_is_recorded(
    ledger, meanwhile, verdict, tenant
):
    (acme,) = send_links(ledger, "acme", microsoft_tenant=GUID)
    with ledger.begin() as connection:
        meanwhile(connection)
    before = recorded(ledger)
    received = take(ledger, acme.answered(admin_consent="True", tenant=GUID))
    assert (received.verdict, received.tenant) == (verdict, tenant)
    assert recorded(ledger) == before
    assert [row["verdict"] for row in rows(ledger, "consent_attempts")] == [verdict]


def kill_before_commit(ledger, query):
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "support.consents",
            ledger.url.render_as_string(hide_password=False),
            query,
        ],
        cwd="tests",
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout.readline() == "about to commit\n"
        child.send_signal(signal.SIGKILL)
        assert child.wait(timeout=30) == -signal.SIGKILL


def test_a_process_that_is_killed_before_its_commit_leaves_nothing_and_a_reload_works(ledger):
    (acme,) = send_links(ledger, "acme")
    before = recorded(ledger)
    kill_before_commit(ledger, acme.approved())
    assert recorded(ledger) == before
    assert rows(ledger, "consent_attempts") == []
    assert take(ledger, acme.approved()).verdict is Verdict.GIVEN
    assert status_of(ledger, acme) == ("given", "propagation")


@pytest.mark.parametrize("first", [ConsentStatus.GIVEN, ConsentStatus.REFUSED])
def test_of_two_answers_at_once_the_first_counts_and_the_other_is_told_so(ledger, first):
    (acme,) = send_links(ledger, "acme")
    with ThreadPoolExecutor(2) as pool:
        with answering(ledger) as connection:
            answer_consent(connection, acme.consent_id, first, NOW)
            yes, no = (
                pool.submit(take, ledger, query) for query in (acme.approved(), acme.declined())
            )
            if ledger.dialect.name == "postgresql":
                wait_until_blocked(ledger)
        said = (yes.result(30).verdict, no.result(30).verdict)
    alike = first is ConsentStatus.GIVEN
    assert said == ((Verdict.REPEATED, Verdict.USED) if alike else (Verdict.USED, Verdict.REPEATED))
    assert status_of(ledger, acme)[0] == first


@pytest.mark.parametrize("answer", [Link.approved, Link.declined])
def test_an_answer_during_a_change_of_its_tenants_settings_comes_after_it(postgres_url, answer):
    """Both write the tenant and its consents, and neither makes the other wait for itself."""
    ledger = open_ledger(postgres_url)
    upgrade(ledger)
    (acme,) = send_links(ledger, "acme", microsoft_tenant=GUID)
    moved = replace(listed("acme"), microsoft_tenant=OTHER_GUID)
    with ThreadPoolExecutor(1) as thread:
        with ledger.begin() as connection:
            lock_tenants(connection, APPLICATION)
            answered = thread.submit(take, ledger, answer(acme))
            wait_until_blocked(ledger)
            write_settings(connection, APPLICATION, [moved])
        assert answered.result(timeout=30).verdict is Verdict.EXPIRED
    assert status_of(ledger, acme) == ("expired", "consent")
    ledger.dispose()


def test_a_no_at_the_moment_of_a_yes_by_another_link_does_not_undo_it(postgres_url):
    ledger = open_ledger(postgres_url)
    upgrade(ledger)
    (first,) = send_links(ledger, "acme")
    (second,) = send_links(ledger, "acme", now=NOW + HOUR)
    with ThreadPoolExecutor(1) as thread:
        with answering(ledger) as connection:
            lock_tenants(connection, APPLICATION)
            no = thread.submit(take, ledger, second.declined(), now=NOW + HOUR)
            wait_until_blocked(ledger)
            answer_consent(connection, first.consent_id, ConsentStatus.GIVEN, NOW + HOUR)
        assert no.result(timeout=30).verdict is Verdict.USED
    assert status_of(ledger, second)[0] == "pending"
    ledger.dispose()


def test_twenty_attempts_are_kept_for_one_consent_which_can_still_be_answered(ledger):
    acme, globex = send_links(ledger, "acme", "globex")
    for _ in range(ATTEMPTS_FOR_ONE + 5):
        assert take(ledger, acme.answered(admin_consent="no")).verdict is Verdict.MALFORMED
    assert take(ledger, acme.approved()).verdict is Verdict.GIVEN
    assert take(ledger, globex.approved()).verdict is Verdict.GIVEN
    kept = [row["consent_id"] for row in rows(ledger, "consent_attempts")]
    assert kept.count(acme.consent_id) == ATTEMPTS_FOR_ONE == 20
    assert kept.count(globex.consent_id) == 1


def never_made(number: int) -> str:
    """An answer with a state in the form of an older link, which anybody can make."""
    return f"state={number:043}.{'A' * 43}&admin_consent=true"


def test_sixty_stray_attempts_are_kept_in_an_hour_and_old_ones_are_dropped(ledger):
    for number in range(STRAY_ATTEMPTS + 4):
        take(ledger, never_made(number))
    strays = rows(ledger, "consent_attempts")
    assert len(strays) == STRAY_ATTEMPTS == 60
    assert {row["verdict"] for row in strays} == {"unknown"}
    take(ledger, never_made(0), now=NOW + HOUR)
    assert len(rows(ledger, "consent_attempts")) == 61
    take(ledger, never_made(0), now=NOW + timedelta(days=90, minutes=30))
    assert len(rows(ledger, "consent_attempts")) == 2


def test_what_is_no_answer_to_a_link_of_ours_does_not_reach_the_ledger(ledger):
    (acme,) = send_links(ledger, "acme")
    (foreign,) = send_links(ledger, "foreign", api_key="nyk_foreign")
    statements = []
    event.listen(ledger, "before_cursor_execute", lambda *of: statements.append(of[2]))
    for query, verdict in (
        ("", Verdict.MALFORMED),
        ("x" * 9000, Verdict.TOO_LONG),
        (acme.approved().replace("state=", "state=" + "A" * 5), Verdict.MALFORMED),
        (foreign.approved(), Verdict.UNKNOWN),
        (never_made(1).replace("&", f".{'A' * 22}&"), Verdict.UNKNOWN),
    ):
        assert take(ledger, query).verdict is verdict
    assert statements == []


def test_states_never_get_into_the_ledger_or_the_log(ledger, caplog):
    caplog.set_level(logging.DEBUG)
    (acme,) = send_links(ledger, "acme")
    take(ledger, acme.answered(error="x" * 5000, error_description=f"{'y' * 900}"))
    for query in (acme.approved(), acme.declined(), acme.answered()):
        take(ledger, query)
    everything = f"{recorded(ledger)}{rows(ledger, 'consent_attempts')}{caplog.text}"
    assert acme.state not in everything
    assert acme.state.split(".")[0] not in everything
    assert all(len(record.getMessage()) < 1000 for record in caplog.records)
    assert all(len(row["detail"]) <= 300 for row in rows(ledger, "consent_attempts"))
