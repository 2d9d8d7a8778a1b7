"""The policies of the rate limit on an injected clock, and the limit over HTTP."""

import pytest

from nylas_standin.world.traffic import Limiter, Limits


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _admitted(limiter: Limiter, time: Time, moments: list[float]) -> list[bool]:
    found = []
    for moment in moments:
        time.now = 100.0 + moment
        found.append(limiter.admit("grants"))
    return found


CASES = [
    # A fixed window admits twice its limit around the edge of a second.
    ("fixed", None, [0.9] * 3 + [1.0] * 3 + [1.9, 2.0], "110" + "110" + "01"),
    ("sliding", None, [0.9, 0.9, 1.0, 1.89, 1.9, 1.9, 1.91], "1100110"),
    ("token_bucket", None, [0.0] * 3 + [0.4, 0.5, 0.6, 1.0, 5.0, 5.0, 5.0], "1100101110"),
    ("token_bucket", 1, [0.0, 0.1, 0.5, 0.9, 1.0], "10101"),
    ("gcra", None, [0.0, 0.1, 0.5, 0.99, 1.0], "10101"),
    ("gcra", 2, [0.0, 0.0, 0.0, 0.49, 0.5, 0.9, 1.0], "1100101"),
]


@pytest.mark.parametrize(("policy", "burst", "moments", "expected"), CASES)
def test_each_policy_admits_what_its_name_says(policy, burst, moments, expected):
    time = Time()
    limiter = Limiter(Limits(policy, per_second=2, burst=burst), time)
    found = "".join("01"[admitted] for admitted in _admitted(limiter, time, moments))
    assert found == expected


@pytest.mark.parametrize("policy", ["fixed", "sliding", "token_bucket", "gcra"])
def test_requests_spaced_by_the_limit_are_never_refused(policy):
    time = Time()
    limiter = Limiter(Limits(policy, per_second=50), time)
    assert all(_admitted(limiter, time, [0.02 * turn for turn in range(2_000)]))


@pytest.mark.parametrize("policy", ["fixed", "sliding", "token_bucket", "gcra"])
def test_no_policy_admits_more_than_its_limit_and_burst_in_the_long_run(policy):
    time = Time()
    limiter = Limiter(Limits(policy, per_second=50), time)
    admitted = sum(_admitted(limiter, time, [0.001 * turn for turn in range(10_000)]))
    assert 490 <= admitted <= 550


def test_the_policy_none_does_not_limit():
    time = Time()
    limiter = Limiter(Limits("none", per_second=1), time)
    assert all(_admitted(limiter, time, [0.0] * 1_000))


def test_groups_of_routes_can_have_their_own_budgets():
    shared = Limiter(Limits(per_second=1), Time())
    assert [shared.admit("grants"), shared.admit("connectors")] == [True, False]
    apart = Limiter(Limits(per_second=1, scope="group"), Time())
    assert [apart.admit("grants"), apart.admit("connectors")] == [True, True]


def test_the_limit_is_answered_as_documented(api, control):
    # A bucket that fills once a second: the second request comes long before.
    control.put("/limiter", json={"policy": "token_bucket", "per_second": 1, "burst": 1})
    assert api.get("/v3/grants").status_code == 200
    answer = api.get("/v3/grants")
    assert answer.status_code == 429
    assert answer.json()["error"]["type"] == "nylas_rate_limit_exceeded"
    assert "provider_error" not in answer.json()["error"]
    assert "retry-after" not in answer.headers
    assert control.get("/stats").json()["limited"] == 1


def test_the_spelling_of_the_limit_is_a_switch(api, control):
    control.put("/limiter", json={"policy": "gcra", "per_second": 1, "burst": 1})
    switches = {"rate_limit_type": "api.rate_limit_error", "rate_limit_retry_after": 3}
    control.put("/switches", json=switches)
    api.get("/v3/grants")
    answer = api.get("/v3/grants")
    assert answer.json()["error"]["type"] == "api.rate_limit_error"
    assert answer.headers["retry-after"] == "3"


def test_requests_without_the_key_do_not_use_up_the_budget(api, control):
    control.put("/limiter", json={"policy": "gcra", "per_second": 1, "burst": 1})
    assert api.get("/v3/grants", headers={"Authorization": "Bearer x"}).status_code == 401
    assert api.get("/v3/grants").status_code == 200


def test_the_limit_works_while_the_clock_is_frozen(api, control):
    control.put("/clock", json={"frozen_at": 1})
    control.put("/limiter", json={"policy": "fixed", "per_second": 1000})
    assert api.get("/v3/grants").status_code == 200
    assert control.get("/limiter").json() == {
        "policy": "fixed",
        "per_second": 1000,
        "burst": None,
        "scope": "application",
    }
