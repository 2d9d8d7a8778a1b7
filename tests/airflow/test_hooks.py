"""Both senders, against the stand-in and against servers that misbehave."""

from __future__ import annotations

import asyncio
import logging
import traceback

import pytest
from airflow.sdk import BaseHook

from bulkgrants.errors import (
    ApiKeyRefused,
    Misconfigured,
    RateLimited,
    RequestRefused,
    Throttle,
    Unavailable,
)
from bulkgrants.model import CredentialType, Provider
from bulkgrants.nylas import calls
from bulkgrants_airflow.hooks.nylas import NylasAsyncHook, NylasHook
from support import listeners
from support.listeners import listening

LISTING = calls.list_connectors(limit=1)


def send_sync(call, conn_id="nylas_default"):
    return NylasHook(conn_id).send(call)


def send_async(call, conn_id="nylas_default"):
    async def run():
        async with NylasAsyncHook(conn_id).open() as sender:
            return await sender.send(call)

    return asyncio.run(run())


both = pytest.mark.parametrize("send", [send_sync, send_async])


@pytest.fixture
def reach(connect):
    """Makes the connection `nylas_default` to any address, with extras that must not be sent."""

    def make(host, *, timeout=5.0, **extra):
        return connect(
            "nylas_default",
            conn_type="nylas",
            host=host,
            login="never-sent-login",
            password="the-api-key",
            extra={"client_id": "app-1", "timeout": timeout, **extra},
        )

    return make


EXTRAS = {
    "X-Custom": "leaked-1",
    "client_secret": "leaked-2",
    "proxies": {"http": "http://127.0.0.1:1"},
    "verify": False,
    "allow_redirects": True,
    "check_response": True,
    "srv_lookup": True,
    "headers": {"X-More": "leaked-3"},
}


@both
def test_a_request_holds_the_call_and_the_key_and_no_extra(reach, send):
    with listening(listeners.plain()) as listener:
        reach(listener.base_url, **EXTRAS)
        send(calls.list_grants(email="ann+1@acme.example"))
    request = listener.requests[0]
    assert request.startswith(
        b"GET /v3/grants?limit=200&offset=0&sort_by=created_at&order_by=asc&email=ann%2B1"
    )
    headers = listener.headers()
    assert headers["authorization"] == "Bearer the-api-key"
    usual = {"host", "user-agent", "accept", "accept-encoding", "connection", "authorization"}
    assert set(headers) <= usual
    assert b"leaked" not in request
    assert b"never-sent-login" not in request
    assert listener.body() == b""


@both
def test_a_body_is_plain_json_without_a_charset(reach, send):
    answer = listeners.plain(b'{"data": {"id": "c-1", "name": "acme"}}', "201 Created")
    with listening(answer) as listener:
        reach(listener.base_url, **EXTRAS)
        data = {"private_key": "é"}
        call = calls.create_credential(
            Provider.GOOGLE, "acme", CredentialType.SERVICE_ACCOUNT, data
        )
        assert send(call).credential_id == "c-1"
    headers = listener.headers()
    assert headers["content-type"] == "application/json"
    assert listener.requests[0].startswith(b"POST /v3/connectors/google/creds HTTP/1.1\r\n")
    assert listener.body().startswith(b'{"name":"acme",')
    assert int(headers["content-length"]) == len(listener.body())
    assert b"leaked" not in listener.requests[0]


@both
def test_a_netrc_file_does_not_replace_the_key(reach, send, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with listening(listeners.plain()) as listener:
        reach(listener.base_url)
        send(LISTING)
    assert listener.headers()["authorization"] == "Bearer the-api-key"


@both
def test_a_proxy_of_the_environment_is_used(reach, send, monkeypatch):
    with listening(listeners.plain()) as proxy:
        monkeypatch.setenv("http_proxy", proxy.base_url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setattr("urllib.request.proxy_bypass_environment", lambda *_: False)
        reach("http://127.0.0.1:9")
        send(LISTING)
    assert proxy.requests[0].startswith(b"GET http://127.0.0.1:9/v3/connectors?limit=1 ")


@both
def test_no_redirect_is_followed(reach, send):
    with listening(listeners.plain()) as elsewhere:
        to = f"Location: {elsewhere.base_url}/v3/connectors\r\n"
        with listening(listeners.plain(b"", "307 Temporary Redirect", to)) as listener:
            reach(listener.base_url, allow_redirects=True)
            with pytest.raises(RequestRefused, match="redirect"):
                send(LISTING)
    assert elsewhere.requests == []


@both
@pytest.mark.parametrize(
    ("answer", "timeout", "sentence"),
    [
        (listeners.silent, 0.3, "took longer than 0.3 s"),
        (listeners.dripping, 0.3, "took longer than 0.3 s"),
        (listeners.reset, 5, "connection was lost"),
        (listeners.gibberish, 5, "connection was lost"),
        (listeners.endless, 30, "more than 16 MiB"),
        (listeners.plain(b"", "502 Bad Gateway"), 5, "HTTP 502"),
        (listeners.plain(b"<html>", "200 OK"), 5, "cannot be read"),
    ],
    ids=["silent", "dripping", "reset", "gibberish", "endless", "empty 502", "html"],
)
def test_an_exchange_that_fails_says_why(reach, send, answer, timeout, sentence):
    with listening(answer) as listener:
        reach(listener.base_url, timeout=timeout)
        with pytest.raises(Unavailable, match=sentence) as raised:
            send(LISTING)
    assert "the-api-key" not in "".join(traceback.format_exception(raised.value))


@both
@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("https://no-such-host.invalid", r"no-such-host\.invalid .*name is unknown"),
        ("http://127.0.0.1:9", r"127\.0\.0\.1:9 .*does not accept connections"),
    ],
)
def test_a_host_that_is_not_there_is_named_with_its_connection(reach, send, host, sentence):
    reach(host)
    with pytest.raises(Unavailable, match=sentence) as raised:
        send(LISTING)
    assert "'nylas_default'" in str(raised.value)


@both
def test_a_host_without_tls_is_told_apart(reach, send):
    with listening(listeners.gibberish) as listener:
        reach(listener.base_url.replace("http:", "https:"))
        with pytest.raises(Unavailable, match="TLS"):
            send(LISTING)


@both
@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize(
    ("kind", "throttle"), [("nylas_429", Throttle.NYLAS), ("provider_429", Throttle.PROVIDER)]
)
def test_both_throttles_come_with_their_wait(standin, nylas_default, send, kind, throttle, form):
    standin.control.add_fault(kind, retry_after=20, retry_after_form=form)
    with pytest.raises(RateLimited) as raised:
        send(LISTING)
    assert raised.value.throttle is throttle
    assert raised.value.after == pytest.approx(20, abs=2.0)


@both
@pytest.mark.parametrize(
    "fault", ["empty_502", "server_error", "malformed_json", "cut_body", "reset_after_commit"]
)
def test_a_failure_of_the_api_may_be_tried_again(standin, nylas_default, send, fault):
    """With a POST: aiohttp itself repeats a GET whose connection was dropped, once."""
    standin.control.add_fault(fault, times=1, after_commit=True)
    with pytest.raises(Unavailable):
        send(calls.create_connector(Provider.GOOGLE, "id", "oauth-secret"))
    assert standin.control.stats()["requests"] == 1
    assert [one.provider for one in send(LISTING).items] == ["google"]


@both
def test_a_wrong_key_names_the_connection_and_not_the_key(standin, reach, send):
    reach(standin.base_url)
    with pytest.raises(ApiKeyRefused, match="'nylas_default'") as raised:
        send(LISTING)
    assert "the-api-key" not in str(raised.value)


@both
def test_nothing_of_an_exchange_is_logged(reach, send, caplog):
    caplog.set_level(logging.DEBUG)
    with listening(listeners.plain(b'{"error": {"message": "hostile-words"}}', "400 No")) as there:
        reach(there.base_url, **EXTRAS)
        with pytest.raises(RequestRefused):
            send(calls.create_connector(Provider.GOOGLE, "id", "oauth-secret"))
    reach("http://127.0.0.1:9")
    with pytest.raises(Unavailable):
        send(LISTING)
    logged = " ".join(record.getMessage() for record in caplog.records)
    for words in ("the-api-key", "oauth-secret", "hostile-words", "leaked", "Tenacity"):
        assert words not in logged


@pytest.fixture
def lookups(monkeypatch):
    """The connections that were looked up, in order."""
    seen = []
    sync, aio = BaseHook.get_connection.__func__, BaseHook.aget_connection.__func__

    def get(cls, conn_id):
        seen.append(conn_id)
        return sync(cls, conn_id)

    async def aget(cls, conn_id):
        seen.append(conn_id)
        return await aio(cls, conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", classmethod(get))
    monkeypatch.setattr(BaseHook, "aget_connection", classmethod(aget))
    return seen


def test_a_hook_looks_its_connection_up_once_and_keeps_its_tcp_connection(reach, lookups):
    with listening(listeners.plain()) as listener:
        reach(listener.base_url)
        hook = NylasHook()
        assert lookups == []
        for _ in range(5):
            hook.send(LISTING)
    assert lookups == ["nylas_default"]
    assert (len(listener.requests), listener.connections) == (5, 1)


def test_an_async_hook_looks_its_connection_up_once_for_many_calls_at_once(reach, lookups):
    async def run():
        async with NylasAsyncHook().open() as sender:
            await asyncio.gather(*(sender.send(LISTING) for _ in range(300)))
            await asyncio.gather(*(sender.send(LISTING) for _ in range(100)))

    with listening(listeners.plain()) as listener:
        reach(listener.base_url)
        asyncio.run(run())
    assert lookups == ["nylas_default"]
    assert len(listener.requests) == 400
    assert listener.connections <= 128


def test_the_async_pool_holds_a_hundred_calls_in_flight(standin, nylas_default):
    standin.control.set_limiter(per_second=100_000)
    standin.control.add_fault("latency", seconds=0.5)

    async def run():
        async with NylasAsyncHook().open() as sender:
            await asyncio.gather(*(sender.send(LISTING) for _ in range(100)))

    asyncio.run(run())
    assert standin.control.stats()["max_concurrency"] == 100


@both
def test_a_missing_connection_is_reported_before_anything_is_sent(send):
    with pytest.raises(Misconfigured, match="'nowhere'"):
        send(LISTING, "nowhere")


def test_the_test_button_says_yes(standin, nylas_default):
    host = standin.base_url.removeprefix("http://")
    assert NylasHook().test_connection() == (True, f"{host} accepts the API key.")


def test_the_test_button_says_no_to_the_key_of_another_application(standin, connect):
    connect(
        "nylas_default", conn_type="nylas", host=standin.base_url, password=standin.api_key,
        extra={"client_id": "another"},
    )  # fmt: skip
    accepted, sentence = NylasHook().test_connection()
    assert not accepted
    assert "The API key of the connection belongs to the application" in sentence


def test_the_test_button_says_no_in_one_sentence(standin, reach):
    reach(standin.base_url)
    accepted, sentence = NylasHook().test_connection()
    assert not accepted
    assert "the region of the connection (GET /v3/connectors" in sentence
    assert "nylas_default" not in sentence


async def test_no_sender_shows_the_api_key_in_its_repr(reach):
    reach("https://api.us.nylas.com")
    async with NylasAsyncHook("nylas_default").open() as sender:
        assert "the-api-key" not in repr(sender)
    hook = NylasHook("nylas_default")
    assert "the-api-key" not in repr((hook, hook.nylas, vars(hook)))
