"""The stand-in as a process of its own, and with slower parsers than usual."""

import json
import os
import signal
import subprocess
import sys
import time

import httpx
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nylas_standin.api import envelopes
from nylas_standin.api.calls import decode
from nylas_standin.server import serve_in_thread

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nylas_standin", *arguments],
        env={**os.environ, "STANDIN_API_KEY": "k"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def test_a_process_prints_its_url_serves_and_ends_with_status_0():
    arguments = ("--port", "0", "--seed-grants", "300", "--client-id", "app", "--seed", "5")
    with _start(*arguments) as process:
        said = json.loads(process.stdout.readline())
        assert said["client_id"] == "app"
        headers = {"Authorization": "Bearer k"}
        with httpx.Client(base_url=said["base_url"], headers=headers) as client:
            # No retry: it accepts connections as soon as it prints the line.
            page = client.get("/v3/grants", params={"limit": 200}).json()
            assert len(page["data"]) == 200
            client.post("/_standin/faults", json={"kind": "latency", "seconds": 60})
            with pytest.raises(httpx.TimeoutException):
                client.get("/v3/grants", timeout=0.1)
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, "")
    assert "Traceback" not in errors


def test_a_process_that_is_still_seeding_ends_with_status_0_too():
    with _start("--seed-grants", "50000000") as process:
        watched = psutil.Process(process.pid)
        deadline = time.monotonic() + 30
        # Its memory shows that it has finished its imports; it prints nothing before it accepts.
        while watched.memory_info().rss < 150_000_000 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.terminate()
        assert process.wait(timeout=20) == 0


def test_a_process_registers_valid_redirects_and_refuses_others():
    uris = ["http://localhost/a", "https://app.example/b"]
    with _start(*(word for uri in uris for word in ("--redirect-uri", uri))) as process:
        base_url = json.loads(process.stdout.readline())["base_url"]
        assert httpx.get(f"{base_url}/_standin/redirect-uris").json() == uris
        httpx.post(f"{base_url}/_standin/reset")
        assert httpx.get(f"{base_url}/_standin/redirect-uris").json() == uris
        process.terminate()
        process.communicate(timeout=20)
    with _start("--redirect-uri", "http://app.example/") as process:
        assert "this machine only" in process.communicate(timeout=20)[1]
    assert process.returncode == 2


@pytest.mark.parametrize("arguments", [[], ["--api-key", ""]])
def test_a_process_needs_a_key(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "nylas_standin", *arguments],
        env={name: value for name, value in os.environ.items() if name != "STANDIN_API_KEY"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 2
    assert "STANDIN_API_KEY" in done.stderr


@settings(deadline=None)  # a busy machine may be slow
@given(JSON)
def test_both_encoders_say_the_same(value):
    assert decode(envelopes.encode(value)) == decode(envelopes._encode(value)) == value


def test_connections_break_under_the_pure_python_protocol_too(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn.protocols.http.httptools_impl", None)
    with serve_in_thread() as running, httpx.Client(base_url=running.base_url) as client:
        client.headers["Authorization"] = f"Bearer {running.api_key}"
        assert client.get("/v3/grants").json()["data"] == []
        for kind, error in (
            ("reset_after_commit", httpx.NetworkError),
            ("cut_body", httpx.RemoteProtocolError),
        ):
            client.post("/_standin/faults", json={"kind": kind, "times": 1})
            with pytest.raises(error):
                client.get("/v3/grants")
            assert client.get("/v3/grants").status_code == 200
