"""The control plane."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import pytest

import nylas_standin
from nylas_standin.api.faults import FAILURES
from nylas_standin.config import Config
from nylas_standin.control.plane import create_control
from nylas_standin.standin import Standin
from nylas_standin.world.switches import Switches

README = Path(nylas_standin.__file__).with_name("README.md").read_text(encoding="utf-8")


def test_the_same_calls_after_a_reset_make_the_same_ids(api, control, authenticate):
    def ids() -> list[str]:
        control.post("/reset")
        control.put("/limiter", json={"policy": "none"})
        control.post("/seed", json={"grants": 2, "created_at": 1})
        body = {"provider": "google", "settings": {"client_id": "a", "client_secret": "b"}}
        made = api.post("/v3/connectors", json=body).json()
        listed = api.get("/v3/grants").json()
        return [
            made["request_id"],
            made["data"]["active_credential_id"],
            *(one["id"] for one in listed["data"]),
        ]

    first = ids()
    assert len(set(first)) == 4
    assert ids() == first


def test_a_request_that_waits_during_a_reset_leaves_nothing_behind(api, control):
    control.post("/faults", json={"kind": "latency", "seconds": 0.5})
    body = {"provider": "google", "settings": {"client_id": "a", "client_secret": "b"}}
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(api.post, "/v3/connectors", json=body)
        while control.get("/stats").json()["in_flight"] == 0:
            time.sleep(0.01)
        control.post("/reset")
        assert waiting.result().status_code == 201
    assert api.get("/v3/connectors").json()["data"] == []


def test_reading_does_not_change_the_ids_of_later_records(api, control):
    def made_id(reads: int) -> str:
        control.post("/reset")
        for _ in range(reads):
            api.get("/v3/grants")
        return control.post("/seed", json={"grants": 1, "credential_id": "c"}).json()["first_id"]

    assert made_id(0) == made_id(3)


def test_a_crowd_is_seeded_as_described(api, control):
    answer = control.post(
        "/seed",
        json={
            "grants": 6,
            "domain": ["a.example", "b.example"],
            "prefix": "p",
            "start": 10,
            "provider": "microsoft",
            "scopes": ["Mail.Read"],
            "credential_id": "cred",
            "invalid_every": 3,
            "blocked_every": 2,
            "created_at": 100,
            "created_step": 10,
        },
    ).json()
    found = api.get("/v3/grants", params={"order_by": "asc"}).json()["data"]
    assert (answer["grants"], answer["credential_id"]) == (6, "cred")
    assert (answer["first_id"], answer["last_id"]) == (found[0]["id"], found[-1]["id"])
    assert [one["email"] for one in found[:2]] == ["p0000010@a.example", "p0000011@b.example"]
    assert [one["created_at"] for one in found] == [100, 110, 120, 130, 140, 150]
    assert [one["grant_status"] for one in found].count("invalid") == 2
    assert [one["blocked"] for one in found] == [False, True] * 3
    assert found[0]["scope"] == ["Mail.Read"]
    assert found[0]["settings"] == {
        "app_permission": True,
        "app_permission_scopes": ["Mail.Read"],
        "credential_id": "cred",
        "credential_type": "adminconsent",
    }


def test_exact_grants_are_seeded_in_the_order_of_their_creation(api, control):
    wanted = [
        {"email": "late@x.example", "created_at": 30, "credential_id": "c1", "id": "own-id"},
        {"email": "early@x.example", "created_at": 10, "updated_at": 20, "blocked": True},
        {"email": "mid@x.example", "created_at": 20, "grant_status": "invalid", "scopes": ["s"]},
    ]
    answer = control.post("/seed", json={"grants": wanted}).json()
    found = api.get("/v3/grants", params={"order_by": "asc"}).json()["data"]
    assert [one["email"].split("@")[0] for one in found] == ["early", "mid", "late"]
    assert (answer["ids"][0], found[2]["id"], found[2]["credential_id"]) == (
        "own-id",
        "own-id",
        "c1",
    )
    assert (found[0]["updated_at"], found[0]["blocked"]) == (20, True)
    assert (found[1]["grant_status"], found[1]["settings"]["scopes"]) == ("invalid", ["s"])


def test_seeding_a_mailbox_again_replaces_its_grant(control):
    for _ in range(2):
        control.post("/seed", json={"grants": 3})
    assert control.get("/grants").json()["total"] == 3


def test_the_clock_is_frozen_shifted_and_stepped(control):
    assert control.put("/clock", json={"frozen_at": 100}).json()["now"] == 100
    assert control.put("/clock", json={"advance": 5}).json()["now"] == 105
    real = control.put("/clock", json={"frozen_at": None}).json()["now"]
    shifted = control.put("/clock", json={"offset": -1000}).json()["now"]
    assert -1001 <= shifted - real <= -999
    stepped = control.put("/clock", json={"advance": 400}).json()
    assert (stepped["offset"], stepped["frozen_at"]) == (-600, None)


def test_statistics_count_by_route_status_and_mailbox(api, control, authenticate):
    control.delete("/stats")
    for email in ("a@x.example", "A@x.example", "b@x.example"):
        authenticate(email)
    api.get("/v3/grants/none")
    api.get("/v3/unheard-of")
    found = control.get("/stats", params={"mailboxes": True, "seconds": True}).json()
    assert found["requests"] == 5
    assert found["routes"] == {
        "POST /v3/connect/custom": {"requests": 3, "statuses": {"201": 3}},
        "GET /v3/grants/{grant_id}": {"requests": 1, "statuses": {"404": 1}},
        "(no such route)": {"requests": 1, "statuses": {"404": 1}},
    }
    assert found["statuses"] == {"201": 3, "404": 2}
    assert found["custom"] == {"requests": 3, "mailboxes": 2, "most_for_one_mailbox": 2}
    assert found["custom_by_mailbox"] == {"a@x.example": 2, "b@x.example": 1}
    assert (found["in_flight"], found["max_concurrency"]) == (0, 1)
    assert sum(found["by_second"].values()) == 5
    assert 1 <= found["peak_admitted_per_second"] <= found["peak_per_second"] <= 5


def test_grants_are_listed_and_changed_without_the_clients_knowledge(api, control):
    control.post("/seed", json={"grants": 3, "credential_id": "c"})
    found = control.get("/grants", params={"email": "*1@*", "credential_id": "c"}).json()
    assert found["total"] == 1
    grant_id = found["grants"][0]["id"]
    assert control.patch(f"/grants/{grant_id}", json={"blocked": True}).json()["blocked"] is True
    body = {"credential_id": "c", "grant_status": "invalid"}
    assert control.patch("/grants", json=body).json() == {"changed": 3}
    after = api.get(f"/v3/grants/{grant_id}").json()["data"]
    assert (after["grant_status"], after["blocked"]) == ("invalid", True)
    page = control.get("/grants", params={"offset": 1, "limit": 1}).json()
    assert (page["total"], len(page["grants"])) == (3, 1)
    assert control.patch("/grants/none", json={}).status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/switches", {"reauth_staus": 200}),
        ("/switches", {"reauth_status": "often"}),
        ("/limiter", {"policy": "leaky"}),
        ("/limiter", {"persecond": 1}),
        ("/clock", {"frozen": 1}),
        ("/refresh-tokens", {"t": {"email": "a@x.example"}}),
    ],
)
def test_a_mistyped_setting_is_an_error(control, path, body):
    assert control.put(path, json=body).status_code == 422


def test_the_settings_in_force_can_be_read(control, key_file):
    control.put("/delegations", json={"robot": ["b", "a"]})
    control.put("/directory", json={"X.example": ["A@x.example"]})
    assert control.get("/delegations").json() == {"robot": ["a", "b"]}
    assert control.get("/directory").json() == {"x.example": ["a@x.example"]}
    assert control.get("/switches").json()["reauth_status"] == 201
    assert control.get("/clock").json()["frozen_at"] is None


@pytest.mark.parametrize(
    "name",
    [
        *(one.name for one in fields(Switches)),
        *create_control(Standin(Config())).openapi()["paths"],
        *FAILURES,
    ],
)
def test_the_readme_names_every_switch_route_and_error(name):
    assert f"`{name}`" in README or f" {name}`" in README
