"""Faults: misbehaviour on request."""

import asyncio
import time
from email.utils import parsedate_to_datetime

import httpx
import pytest

CUSTOM = "/v3/connect/*"


def _fault(control, kind: str, **details) -> dict[str, object]:
    answer = control.post("/faults", json={"kind": kind, **details})
    assert answer.status_code == 200, answer.text
    return answer.json()


def _emails(control) -> list[str]:
    return [one["email"] for one in control.get("/grants").json()["grants"]]


def test_a_reset_after_the_commit_loses_the_answer_and_keeps_the_grant(control, authenticate):
    _fault(control, "reset_after_commit", match={"path": CUSTOM}, times=1)
    with pytest.raises(httpx.NetworkError, match="reset"):
        authenticate("a@x.example")
    made = control.get("/grants").json()["grants"]
    assert [one["email"] for one in made] == ["a@x.example"]
    again = authenticate("a@x.example")
    assert again.json()["data"]["id"] == made[0]["id"]
    assert control.get("/stats").json()["dropped"] == 1


def test_a_reset_before_the_commit_leaves_nothing(control, authenticate):
    _fault(control, "reset_before_commit", times=1)
    with pytest.raises(httpx.NetworkError):
        authenticate("a@x.example")
    assert _emails(control) == []
    assert authenticate("a@x.example").status_code == 201


def test_a_cut_body_ends_too_early(control, authenticate):
    _fault(control, "cut_body", times=1)
    with pytest.raises(httpx.RemoteProtocolError, match="body"):
        authenticate("a@x.example")
    assert _emails(control) == ["a@x.example"]


def test_malformed_json_has_a_good_status(api, control):
    _fault(control, "malformed_json", times=1)
    answer = api.get("/v3/grants")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Unterminated"):
        answer.json()


@pytest.mark.parametrize(("after_commit", "made"), [(False, []), (True, ["a@x.example"])])
def test_an_empty_502_may_hide_a_success(control, authenticate, after_commit, made):
    _fault(control, "empty_502", times=1, after_commit=after_commit)
    answer = authenticate("a@x.example")
    assert (answer.status_code, answer.content) == (502, b"")
    assert answer.headers["x-request-id"]
    assert _emails(control) == made


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, "api.internal_error"),
        (503, "api.internal_error"),
        (504, "api.provider_error"),
    ],
)
def test_server_errors_have_the_requested_status(api, control, status, kind):
    _fault(control, "server_error", status=status, retry_after=4)
    answer = api.get("/v3/grants")
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    assert answer.headers["retry-after"] == "4"


def test_a_429_of_the_api_has_neither_reason_nor_delay(api, control):
    _fault(control, "nylas_429", times=1)
    answer = api.get("/v3/grants")
    assert answer.status_code == 429
    assert answer.json()["error"]["type"] == "nylas_rate_limit_exceeded"
    assert "provider_error" not in answer.json()["error"]
    assert "retry-after" not in answer.headers
    stats = control.get("/stats").json()
    assert (stats["answered_429"], stats["limited"]) == (1, 0)


def test_a_429_of_a_provider_says_why_and_for_how_long(api, control):
    _fault(control, "provider_429", retry_after=30)
    answer = api.get("/v3/grants")
    assert answer.json()["error"]["type"] == "rate_limit_error"
    assert answer.json()["error"]["provider_error"]["error"]["code"] == 429
    assert answer.headers["retry-after"] == "30"


def test_the_delay_may_be_a_date(api, control):
    _fault(control, "provider_429", retry_after=600, retry_after_form="date")
    until = parsedate_to_datetime(api.get("/v3/grants").headers["retry-after"])
    assert 590 < until.timestamp() - time.time() <= 600


def test_the_key_can_stop_working(api, control):
    _fault(control, "unauthorized")
    assert api.get("/v3/grants").status_code == 401


def test_a_fault_meets_one_mailbox_and_no_other(api, control, authenticate):
    match = {"path": CUSTOM, "email": "BAD@x.example"}
    fault = _fault(control, "mailbox_error", match=match, error="unknown_mailbox")
    assert authenticate("good@x.example").status_code == 201
    for _ in range(2):
        answer = authenticate("Bad@x.example")
        said = answer.json()["error"]["provider_error"]
        assert (answer.status_code, said["error"]) == (400, "invalid_grant")
    assert control.get("/faults").json()[0]["met"] == 2
    assert control.delete(f"/faults/{fault['id']}").json() == {"cleared": 1}
    assert authenticate("bad@x.example").status_code == 201


def test_a_fault_may_concern_the_mailbox_of_a_grant_or_of_a_query(api, control, authenticate):
    grant_id = authenticate("a@x.example").json()["data"]["id"]
    _fault(control, "server_error", match={"email": "*@x.example"})
    assert api.delete(f"/v3/grants/{grant_id}").status_code == 500
    assert api.get("/v3/grants", params={"email": "a@x.example"}).status_code == 500
    assert api.get("/v3/grants").status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        ("unauthorized_client", 400, "unauthorized_client"),
        ("access_denied", 400, "access_denied"),
        ("internal_failure", 504, "Backend Error"),
        ("invalid_jwt", 400, "Invalid JWT"),
        ("mailbox_not_enabled", 404, "MailboxNotEnabledForRESTAPI"),
        ("client_secret_expired", 400, "AADSTS7000222"),
    ],
)
def test_provider_errors_are_requested_by_name(control, authenticate, error, status, text):
    _fault(control, "mailbox_error", error=error)
    answer = authenticate("a@x.example")
    assert answer.status_code == status
    assert text in answer.text
    assert "provider_error" in answer.json()["error"]


def test_an_error_can_be_given_word_for_word(api, control):
    said = {"reason": ["x", {"y": 1}], "flag": True, "none": None}
    error = {"status": 423, "type": "api.resource_blocked", "message": "m", "provider_error": said}
    _fault(control, "error", error=error)
    answer = api.get("/v3/grants")
    assert answer.status_code == 423
    assert answer.json()["error"] == {
        "type": "api.resource_blocked",
        "message": "m",
        "provider_error": said,
    }


def test_faults_count_the_calls_to_skip_and_to_meet(api, control):
    _fault(control, "server_error", after=1, every=2, times=2)
    found = [api.get("/v3/grants").status_code for _ in range(7)]
    assert found == [200, 500, 200, 500, 200, 200, 200]
    assert control.get("/faults").json() == []


def test_a_rate_of_faults_repeats_after_a_reset(api, control):
    def story() -> list[int]:
        control.post("/reset")
        control.put("/limiter", json={"policy": "none"})
        _fault(control, "server_error", rate=0.5)
        return [api.get("/v3/grants").status_code for _ in range(40)]

    first = story()
    assert set(first) == {200, 500}
    assert story() == first


@pytest.mark.parametrize(
    ("match", "met"),
    [
        ({}, True),
        ({"method": "get"}, True),
        ({"method": "POST"}, False),
        ({"path": "/v3/grants"}, True),
        ({"path": "/v3/gr*"}, True),
        ({"path": "*/creds"}, False),
        ({"path": "grants"}, False),
        ({"path_regex": r"/v3/(grants|connectors)$"}, True),
        ({"path_regex": r"/v3/connectors"}, False),
    ],
)
def test_faults_are_matched_by_method_and_path(api, control, match, met):
    _fault(control, "server_error", match=match)
    assert (api.get("/v3/grants").status_code == 500) is met


def test_the_first_of_two_faults_wins_and_the_other_waits(api, control):
    _fault(control, "empty_502", times=1)
    _fault(control, "server_error", times=1)
    assert [api.get("/v3/grants").status_code for _ in range(3)] == [502, 500, 200]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "earthquake"},
        {"kind": "latency", "sconds": 1},
        {"kind": "mailbox_error", "error": "unheard_of"},
        {"kind": "error", "match": {"url": "x"}},
        {"kind": "error", "match": {"path_regex": "("}},
    ],
)
def test_a_mistyped_fault_is_an_error(control, fault):
    assert control.post("/faults", json=fault).status_code == 422
    assert control.get("/faults").json() == []


async def test_many_calls_wait_for_a_latency_at_the_same_time(server, control):
    _fault(control, "latency", seconds=0.5, jitter=0.1)
    headers = {"Authorization": f"Bearer {server.api_key}"}
    async with httpx.AsyncClient(base_url=server.base_url, headers=headers) as client:
        started = time.monotonic()
        answers = await asyncio.gather(*[client.get("/v3/grants") for _ in range(20)])
        took = time.monotonic() - started
    assert {one.status_code for one in answers} == {200}
    assert 0.4 <= took < 8.0  # the time that they would take one after the other
    assert control.get("/stats").json()["max_concurrency"] == 20


def test_a_switch_makes_every_call_slow(api, control):
    control.put("/switches", json={"latency_seconds": 0.1})
    started = time.monotonic()
    api.get("/v3/grants")
    assert time.monotonic() - started >= 0.1
