"""/v3/grants."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nylas_standin.world.records import Filters, Grant, GrantStore
from nylas_standin.world.seeding import shape_of

SEED = {"grants": 25, "domain": "x.example", "created_at": 1_000, "invalid_every": 5}


def _numbers(answer) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [int(one["email"][4:11]) for one in answer.json()["data"]]


@pytest.mark.parametrize(
    ("query", "numbers", "echoed"),
    [
        ({}, range(24, 14, -1), (10, 0)),
        ({"limit": 200}, range(24, -1, -1), (200, 0)),
        ({"limit": 1000}, range(24, -1, -1), (200, 0)),
        ({"limit": 0}, [24], (1, 0)),
        ({"limit": -5}, [24], (1, 0)),
        ({"order_by": "asc", "limit": 3}, [0, 1, 2], (3, 0)),
        ({"order_by": "asc", "limit": 10, "offset": 20}, range(20, 25), (10, 20)),
        ({"limit": 10, "offset": 20}, range(4, -1, -1), (10, 20)),
        ({"offset": 25}, [], (10, 25)),
        ({"offset": 10_000_000, "order_by": "asc"}, [], (10, 10_000_000)),
        ({"since": 1_022}, [24, 23, 22], (10, 0)),
        ({"before": 1_002, "order_by": "asc"}, [0, 1, 2], (10, 0)),
        ({"since": 1_005, "before": 1_007}, [7, 6, 5], (10, 0)),
        ({"since": 1_007, "before": 1_005}, [], (10, 0)),
        ({"grant_status": "invalid"}, [24, 19, 14, 9, 4], (10, 0)),
        ({"grant_status": "invalid", "since": 1_010, "offset": 1}, [19, 14], (10, 1)),
        ({"email": "user0000003@x.example"}, [3], (10, 0)),
        ({"email": "user0000003@x.example", "grant_status": "invalid"}, [], (10, 0)),
        ({"email": "nobody@x.example"}, [], (10, 0)),
        ({"provider": "microsoft"}, [], (10, 0)),
        ({"provider": "google", "limit": 1}, [24], (1, 0)),
        ({"ip": "127.0.0.1", "limit": 1}, [24], (1, 0)),
        ({"ip": "10.0.0.1"}, [], (10, 0)),
        ({"workspace_id": "w"}, [], (10, 0)),
        ({"account_id": "a"}, [], (10, 0)),
        ({"sort_by": "updated_at", "limit": 1}, [24], (1, 0)),
    ],
)
def test_a_list_is_paged_sorted_and_filtered(api, control, query, numbers, echoed):
    control.post("/seed", json=SEED)
    answer = api.get("/v3/grants", params=query)
    assert _numbers(answer) == list(numbers)
    assert (answer.json()["limit"], answer.json()["offset"]) == echoed
    assert set(answer.json()) == {"request_id", "data", "limit", "offset"}


def test_every_page_together_is_every_grant_once(api, control):
    control.post("/seed", json=SEED | {"grants": 450})
    seen = []
    for offset in range(0, 600, 200):
        params = {"limit": 200, "offset": offset, "order_by": "asc"}
        seen += _numbers(api.get("/v3/grants", params=params))
    assert seen == list(range(450))


def test_a_deletion_moves_later_grants_up(api, control):
    control.post("/seed", json=SEED)
    page = api.get("/v3/grants", params={"order_by": "asc", "limit": 2}).json()["data"]
    api.delete(f"/v3/grants/{page[0]['id']}")
    assert _numbers(api.get("/v3/grants", params={"order_by": "asc", "limit": 2})) == [1, 2]


def test_a_grant_authenticated_again_is_latest_by_update_only(api, control, authenticate):
    control.put("/clock", json={"frozen_at": 5_000})
    control.post("/seed", json=SEED)
    authenticate("user0000003@x.example")
    by_update = {"sort_by": "updated_at", "limit": 1}
    assert _numbers(api.get("/v3/grants", params=by_update)) == [3]
    assert _numbers(api.get("/v3/grants", params={"limit": 1})) == [24]


def test_status_filters_follow_a_change_at_once(api, control):
    control.post("/seed", json=SEED | {"grants": 2, "invalid_every": None})
    assert _numbers(api.get("/v3/grants", params={"grant_status": "invalid"})) == []
    assert control.patch("/grants", json={"email": "*1@*", "grant_status": "invalid"}).json() == {
        "changed": 1
    }
    assert _numbers(api.get("/v3/grants", params={"grant_status": "invalid"})) == [1]


def test_one_grant_is_read_by_its_id_and_by_its_address_only_if_switched(
    api, control, authenticate
):
    grant = authenticate("a@x.example").json()["data"]
    assert api.get(f"/v3/grants/{grant['id']}").json()["data"] == grant
    aliases = api.get(f"/v3/grants/{grant['id']}", params={"expose_aliases": "true"})
    assert aliases.json()["data"]["email_aliases"] == []
    assert api.get("/v3/grants/a@x.example").status_code == 404
    control.put("/switches", json={"grant_found_by_email": True})
    assert api.get("/v3/grants/email:a@x.example").json()["data"] == grant


def test_patched_settings_replace_the_old_ones_and_scopes_are_a_label(api, authenticate):
    grant = authenticate("a@x.example").json()["data"]
    path = f"/v3/grants/{grant['id']}"
    relabelled = api.patch(path, json={"scope": ["other"]}).json()["data"]
    assert relabelled["scope"] == ["other"]
    assert relabelled["settings"] == grant["settings"]
    emptied = api.patch(path, json={"settings": {"refresh_token": "hidden", "k": 1}})
    assert emptied.json()["data"]["settings"] == {"k": 1}
    assert "hidden" not in emptied.text
    assert "credential_id" not in emptied.json()["data"]


def test_a_deleted_grant_is_gone_for_good(api, authenticate):
    path = f"/v3/grants/{authenticate('a@x.example').json()['data']['id']}"
    answer = api.delete(path)
    assert (answer.status_code, list(answer.json())) == (200, ["request_id"])
    for method in ("GET", "PATCH", "DELETE"):
        body = {"scope": []} if method == "PATCH" else None
        assert api.request(method, path, json=body).status_code == 404


@settings(deadline=None)  # a busy machine may be slow
@given(
    times=st.lists(st.integers(0, 6), max_size=12),
    removed=st.sets(st.integers(0, 11)),
    window=st.tuples(st.none() | st.integers(0, 6), st.none() | st.integers(0, 6)),
    page=st.tuples(st.integers(0, 13), st.integers(1, 5)),
    descending=st.booleans(),
)
def test_any_page_equals_that_of_a_sorted_list(times, removed, window, page, descending):
    store, shape, plain = GrantStore(), shape_of("google", ["s"], "c"), []
    for number, at in enumerate(times):
        store.add(Grant(str(number), f"{number}@x.example", shape, at, at))
        plain.append((at, number))
    for number in removed & set(range(len(times))):
        grant = store.get(str(number))
        assert grant is not None
        store.remove(grant)
        plain.remove((times[number], number))
    since, before = window
    offset, limit = page
    wanted = [
        str(number)
        for at, number in sorted(plain, reverse=descending)
        if (since is None or at >= since) and (before is None or at <= before)
    ][offset : offset + limit]
    found = store.select(
        Filters(since=since, before=before),
        "created_at",
        descending=descending,
        offset=offset,
        limit=limit,
    )
    assert [grant.id for grant in found] == wanted


def _listed(api, **query) -> dict[str, str]:
    answer = api.get("/v3/grants", params={"limit": 200} | query)
    assert answer.status_code == 200, answer.text
    return {one["email"]: one["grant_status"] for one in answer.json()["data"]}


def test_a_lagging_listing_shows_what_there_was_while_one_grant_shows_at_once(api, control):
    control.put("/clock", json={"frozen_at": 5_000})
    first, second = control.post(
        "/seed", json={"grants": [{"email": "a@x.example"}, {"email": "b@x.example"}]}
    ).json()["ids"]
    control.put("/switches", json={"listing_lag_seconds": 70})
    control.patch(f"/grants/{first}", json={"grant_status": "invalid"})
    assert api.delete(f"/v3/grants/{second}").status_code == 200
    control.post("/seed", json={"grants": [{"email": "c@x.example"}]})
    before = {"a@x.example": "valid", "b@x.example": "valid"}
    for query in ({}, {"sort_by": "updated_at"}, {"order_by": "asc"}):
        assert _listed(api, **query) == before
    assert _listed(api, email="c@x.example") == {}
    assert _listed(api, email="B@x.example") == {"b@x.example": "valid"}
    assert api.get(f"/v3/grants/{first}").json()["data"]["grant_status"] == "invalid"
    assert api.get(f"/v3/grants/{second}").status_code == 404
    control.put("/clock", json={"advance": 69})
    assert _listed(api) == before
    control.put("/clock", json={"advance": 1})
    assert _listed(api) == {"a@x.example": "invalid", "c@x.example": "valid"}


def test_ties_come_in_another_order_in_each_call(api, control):
    control.post("/seed", json=SEED | {"grants": 60, "created_step": 0})
    control.put("/switches", json={"listing_ties": "shuffled"})
    calls = [_numbers(api.get("/v3/grants", params={"limit": 200})) for _ in range(3)]
    assert calls[0] != calls[1] != calls[2]
    assert {tuple(sorted(numbers)) for numbers in calls} == {tuple(range(60))}
    control.put("/switches", json={"listing_ties": "stable"})
    assert _numbers(api.get("/v3/grants", params={"limit": 200})) == list(range(59, -1, -1))


@pytest.mark.parametrize("query", [{}, {"order_by": "asc"}, {"sort_by": "updated_at"}])
def test_grants_of_different_seconds_keep_their_order_whatever_ties_do(api, control, query):
    control.post("/seed", json=SEED)
    expected = _numbers(api.get("/v3/grants", params=query))
    control.put("/switches", json={"listing_ties": "shuffled"})
    assert _numbers(api.get("/v3/grants", params=query)) == expected


def test_a_seeded_grant_may_be_shown_with_odd_fields(api, control):
    odd = {"email": "a@x.example", "shown": {"grant_status": None, "created_at": "soon"}}
    [grant_id] = control.post("/seed", json={"grants": [odd]}).json()["ids"]
    [listed] = api.get("/v3/grants").json()["data"]
    assert "grant_status" not in listed
    assert listed["created_at"] == "soon"
    assert api.get(f"/v3/grants/{grant_id}").json()["data"] == listed
