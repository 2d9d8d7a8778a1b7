"""The callback at work: it records, it says so, and what goes wrong around it loses nothing."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import text, update

from bulkgrants.ledger.tables import consents
from bulkgrants.onboarding.links import state_hash
from bulkgrants.ports import utc_now
from support.consents import API_KEY, recorded, send_links, status_of
from support.ledgers import APPLICATION, rows

NEVER_SENT = f"state={'A' * 43}.{'A' * 43}&admin_consent=true"
"""In the form of an older link, so that the ledger is asked for it."""


def send(deployment, *names):
    return send_links(deployment.ledger, *names, now=utc_now())


def until_let_in(ask, query):
    """Do as the page says: reload after the wait."""
    while (answer := ask(query)).status == 429:
        time.sleep(float(answer.headers["retry-after"]))
    return answer


def test_a_yes_is_recorded_and_the_admin_is_thanked(deployment):
    (acme,) = send(deployment, "Acme & Söhne <GmbH>")
    answer = deployment.ask(acme.approved())
    assert answer.status == 200
    assert answer.page.heading == "Thank you, your consent is recorded"
    assert answer.page.texts["bdi"] == ["Acme & Söhne <GmbH>"]
    assert "you may close this page" in answer.page.words
    assert status_of(deployment.ledger, acme) == ("given", "propagation")
    again = deployment.ask(acme.approved())
    assert again.page.heading == "Your consent is already recorded"
    assert f"was recorded on {utc_now().day} " in again.page.words


def test_a_no_is_recorded_and_the_admin_learns_why_and_what_next(deployment):
    (acme,) = send(deployment, "acme")
    answer = deployment.ask(acme.declined())
    assert answer.status == 200
    assert answer.page.heading == "The consent was not given"
    assert "The reason: The admin declined the consent." in answer.page.words
    assert "if you change your mind, ask the person who sent you the link" in answer.page.words
    assert answer.page.texts["dt"] == ["error", "error_description", "error_uri"]
    assert status_of(deployment.ledger, acme) == ("refused", "consent")
    again = deployment.ask(acme.declined())
    assert again.page.heading == "The refusal is already recorded"
    assert again.page.texts["dt"] == answer.page.texts["dt"]


def test_of_fifty_redirects_at_once_one_is_recorded_and_the_others_are_told_so(deployment):
    (acme, globex) = send(deployment, "acme", "globex")
    before = recorded(deployment.ledger)
    with ThreadPoolExecutor(50) as pool:
        queries = [acme.approved()] * 50
        answers = list(pool.map(lambda one: until_let_in(deployment.ask, one), queries))
    assert {answer.status for answer in answers} == {200}
    headings = [answer.page.heading for answer in answers]
    assert headings.count("Thank you, your consent is recorded") == 1
    assert headings.count("Your consent is already recorded") == 49
    after = recorded(deployment.ledger)
    changed = [one["id"] for one in after["consents"] if one not in before["consents"]]
    assert changed == [acme.consent_id]
    moved = [one["tenant"] for one in after["tenants"] if one not in before["tenants"]]
    assert moved == ["acme"]
    assert status_of(deployment.ledger, globex) == ("pending", "consent")


def require_trouble(answer):
    assert (answer.status, answer.headers["retry-after"]) == (503, "60")
    assert answer.page.heading == "We could not record your answer just now"
    assert "nothing is lost" in answer.page.words
    assert "Reload this page in a minute" in answer.page.words


def require_one_bounded_line(caplog, *never):
    (line,) = (one for one in caplog.records if one.levelno >= logging.ERROR)
    message = line.getMessage()
    assert len(message) < 600
    assert "\n" not in message
    assert line.exc_info is None
    for word in never:
        assert word not in caplog.text
    return message


def test_without_its_connection_nothing_is_lost_and_a_reload_works_without_a_restart(
    deployment, connect, monkeypatch, caplog
):
    (acme,) = send(deployment, "acme")
    monkeypatch.delenv("AIRFLOW_CONN_NYLAS_DEFAULT")
    require_trouble(deployment.ask(acme.approved()))
    said = require_one_bounded_line(caplog, acme.state, "admin_consent")
    assert "Airflow has no connection 'nylas_default'" in said
    assert status_of(deployment.ledger, acme) == ("pending", "consent")
    extra = {"client_id": APPLICATION}
    connect("nylas_default", conn_type="nylas", host="us", password=API_KEY, extra=extra)
    assert deployment.ask(acme.approved()).status == 200
    connect("nylas_default", conn_type="nylas", host="us", password="another", extra=extra)
    assert deployment.ask(acme.approved()).status == 404, "the key is looked up each time"


def test_with_a_ledger_out_of_reach_nothing_is_lost_and_a_reload_works(
    deployment, connect, point_to, caplog
):
    (acme,) = send(deployment, "acme")
    secret = {"login": "bulk", "password": "p4ssword-of-bulk"}
    connect("bulkgrants_ledger", conn_type="postgres", host="127.0.0.1", port=1, **secret)
    require_trouble(deployment.ask(acme.approved()))
    said = require_one_bounded_line(caplog, acme.state, "p4ssword-of-bulk")
    assert "it accepts no connection" in said
    point_to(deployment.ledger)
    assert deployment.ask(acme.approved()).status == 200


def test_a_ledger_that_fails_half_way_loses_nothing_and_its_words_are_not_repeated(
    deployment, caplog
):
    (acme,) = send(deployment, "acme")
    assert deployment.ask(NEVER_SENT).status == 404
    with deployment.ledger.begin() as connection:
        connection.execute(text("ALTER TABLE consent_attempts RENAME TO elsewhere"))
    require_trouble(deployment.ask(acme.approved()))
    said = require_one_bounded_line(caplog, acme.state, "SELECT", "INSERT", "[parameters")
    assert "not recorded: OperationalError in" in said or "not recorded: ProgrammingError" in said
    assert status_of(deployment.ledger, acme) == ("pending", "consent")
    with deployment.ledger.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO consent_attempts"))
    assert deployment.ask(acme.approved()).page.heading.startswith("Thank you")


def test_a_flood_of_genuine_answers_is_turned_away_and_the_api_server_goes_on(small, api_server):
    (acme,) = send(small, "acme")
    assert small.ask(NEVER_SENT).status == 404
    with ThreadPoolExecutor(100) as pool:
        holding = small.ledger.connect()
        held = holding.begin()  # the write lock: nothing can be recorded
        try:
            flood = [pool.submit(small.ask, acme.approved()) for _ in range(100)]
            time.sleep(1)
            started = time.monotonic()
            version = httpx.get(f"{api_server}/api/v2/version", timeout=10)
            assert version.status_code == 200
            assert time.monotonic() - started < 2
            waiting = [one for one in flood if not one.done()]
            assert 8 <= len(waiting) <= 48
        finally:
            held.rollback()
            holding.close()
        answers = [one.result(60) for one in flood]
    busy = [answer for answer in answers if answer.status == 429]
    assert len(busy) == 100 - len(waiting)
    assert {answer.headers["retry-after"] for answer in busy} == {"1"}
    assert {answer.page.heading for answer in busy} == {"One moment, please"}
    assert {answer.status for answer in answers} == {200, 429}
    assert until_let_in(small.ask, acme.approved()).status == 200


GARBAGE = {
    "no states": lambda number: f"state=x{number}&admin_consent=true",
    "states that were never made": lambda number: (
        f"state={number:043}.{'A' * 43}.{'A' * 22}&admin_consent=true"
    ),
    "states in the form of older links": lambda number: (
        f"state={number:043}.{'A' * 43}&admin_consent=true"
    ),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_a_flood_of_strangers_keeps_no_admin_out(small, garbage):
    links = send(small, *(f"tenant{number}" for number in range(10)))
    assert small.ask(garbage(0)).status in {400, 404}
    before = len(rows(small.ledger, "consent_attempts"))
    ends = threading.Event()

    def flood(first: int) -> Counter[int]:
        answers = Counter[int]()
        while not ends.is_set():
            answers[small.ask(garbage(first + answers.total())).status] += 1
        return answers

    with ThreadPoolExecutor(4) as pool:
        strangers = [pool.submit(flood, 1_000_000 * number) for number in range(1, 5)]
        time.sleep(0.5)
        admins = [small.ask(link.approved()) for link in links]
        ends.set()
        turned_away = sum((one.result(30) for one in strangers), Counter[int]())
    assert [answer.status for answer in admins] == [200] * 10
    assert all(status_of(small.ledger, link)[0] == "given" for link in links)
    assert turned_away.total() > 50
    assert not turned_away.keys() - {400, 404, 429}
    stray = len(rows(small.ledger, "consent_attempts")) - before - len(links)
    assert stray <= 20, "the ledger is for answers to links that were made"


def test_a_link_that_was_sent_before_states_had_a_check_still_works(small):
    (acme,) = send(small, "acme")
    older = replace(acme, state=acme.state.rsplit(".", 1)[0])
    assert small.ask(older.approved()).status == 404
    with small.ledger.begin() as connection:
        connection.execute(update(consents).values(state_hash=state_hash(older.state)))
    assert small.ask(older.approved()).page.heading == "Thank you, your consent is recorded"


def test_strangers_are_logged_in_sums_and_never_by_their_words(small, caplog):
    for number in range(5):
        small.ask(f"state=secret-{number}")
    lines = [one.getMessage() for one in caplog.records if "callback" in one.getMessage()]
    assert len(lines) == 1
    assert "1 redirects to the consent callback did not answer a link" in lines[0]
    assert "secret" not in caplog.text


def test_neither_the_log_nor_airflows_access_log_holds_a_state(deployment, caplog, capfd):
    import structlog

    acme, globex = send(deployment, "acme", "globex")
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as structured:
        for query in (acme.approved(), acme.declined(), globex.declined(), acme.state):
            deployment.ask(query)
        deployment.ask(globex.approved(), target="/bulkgrants/elsewhere")
        deployment.ask(globex.approved(), method="POST")
        end = time.monotonic() + 10
        while sum(one["event"] == "request finished" for one in structured) < 6:
            assert time.monotonic() < end
            time.sleep(0.01)
    everything = f"{structured}{caplog.text}{capfd.readouterr()}"
    for link in (acme, globex):
        assert link.state not in everything
        assert link.state.split(".")[0] not in everything
    assert all(len(record.getMessage()) < 1000 for record in caplog.records)


def test_an_app_is_built_once_for_many_first_requests_and_again_after_a_failure():
    import asyncio

    from bulkgrants_airflow.ui.lazy_app import LazyApp

    built, sent = [], []

    def build():
        built.append(1)
        time.sleep(0.05)
        if len(built) == 1:
            raise ImportError("state=secret")

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})

        return app

    async def receive():
        raise AssertionError("the app reads no body")

    async def remember(message):
        sent.append(message)

    async def come(lazy, times):
        scopes = [{"type": "http", "query_string": b"state=x"} for _ in range(times)]
        await asyncio.gather(*(lazy(scope, receive, remember) for scope in scopes))

    lazy = LazyApp(build)
    asyncio.run(come(lazy, 1))
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"60") in sent[0]["headers"]
    assert b"nothing is lost" in sent[1]["body"]
    sent.clear()
    asyncio.run(come(lazy, 20))
    assert [message["status"] for message in sent] == [200] * 20
    assert len(built) == 2


LOAD = """
    import sys
    from airflow import plugins_manager
    apps, _ = plugins_manager.get_fastapi_plugins()
    ours = [app for app in apps if app["url_prefix"] == "/bulkgrants"]
    assert [app["name"] for app in ours] == ["Bulkgrants consent callback"], apps
    heavy = {name for name in sys.modules if name.startswith("bulkgrants_airflow.ui.")}
    assert heavy == {"bulkgrants_airflow.ui.lazy_app"}, heavy
    assert "bulkgrants.ledger" not in sys.modules
    print("LOADED")
"""


def test_loading_the_plugin_imports_nothing_of_the_page():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(LOAD)],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "LOADED" in done.stdout
