"""`python -m nylas_standin` as a process of its own."""

import json
import signal
import subprocess
import sys
import time

import httpx
import psutil
import pytest


def _start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nylas_standin", "--api-key", "k", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )


def test_a_process_says_where_it_is_serves_and_ends_in_peace():
    arguments = ("--port", "0", "--seed-grants", "300", "--client-id", "app", "--seed", "5")
    with _start(*arguments) as process:
        said = json.loads(process.stdout.readline())
        assert said["client_id"] == "app"
        headers = {"Authorization": "Bearer k"}
        with httpx.Client(base_url=said["base_url"], headers=headers) as client:
            # Accepting from the very moment of the line: no retry here.
            page = client.get("/v3/grants", params={"limit": 200}).json()
            assert len(page["data"]) == 200
            client.post("/_standin/faults", json={"kind": "latency", "seconds": 60})
            with pytest.raises(httpx.TimeoutException):
                client.get("/v3/grants", timeout=0.1)
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, "")
    assert "Traceback" not in errors


def test_a_process_that_is_still_seeding_ends_in_peace_too():
    with _start("--seed-grants", "50000000") as process:
        watched = psutil.Process(process.pid)
        deadline = time.monotonic() + 30
        # Its memory tells that it is past its imports; it says nothing before it accepts.
        while watched.memory_info().rss < 150_000_000 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.terminate()
        assert process.wait(timeout=20) == 0


def test_a_process_registers_the_redirects_it_is_told_of_and_refuses_those_that_cannot_be():
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


def test_a_process_needs_a_key():
    command = [sys.executable, "-m", "nylas_standin"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 2
    assert "--api-key" in done.stderr
