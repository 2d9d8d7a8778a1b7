"""Whole runs against the stand-in: grants become equal to the roster, and stay so."""

from bulkgrants.model import Mode, Selection

MAIL = "https://www.googleapis.com/auth/gmail.readonly"
CALENDAR = "https://www.googleapis.com/auth/calendar"


def people(count: int, domain: str = "acme.example.com") -> list[tuple[str, str, None]]:
    return [("acme", f"user{number:04d}@{domain}", None) for number in range(count)]


async def test_a_new_mailbox_gets_a_grant_and_the_next_run_finds_nothing_to_do(world):
    report = await world.reconcile(people(5), batch_size=2)
    assert report.complete
    assert report.counts["create"] == report.counts["granted"] == report.counts["verified"] == 5
    assert len(world.grants()) == 5
    again = await world.reconcile(people(5))
    assert again.counts["unchanged"] == 5
    assert "create" not in again.counts
    assert "attempts" not in again.counts


async def test_each_kind_of_difference_is_corrected_and_foreign_grants_are_left_alone(world):
    seed = [
        {"email": "broken@acme.example.com", "scopes": [MAIL], "grant_status": "invalid"},
        {"email": "narrow@acme.example.com", "scopes": [CALENDAR]},
        {"email": "fine@acme.example.com", "scopes": [MAIL]},
        {"email": "foreign@acme.example.com", "scopes": [MAIL]},
    ]
    for grant in seed:
        grant |= {"credential_id": world.credential_id, "provider": "google"}
    world.control.seed(seed)
    before = world.grants()
    roster = [
        ("acme", name, None)
        for name in ("broken@acme.example.com", "narrow@acme.example.com", "FINE@acme.example.com")
    ]
    report = await world.reconcile(roster)
    after = world.grants()
    assert report.counts | {"renew": 1, "rescope": 1, "unchanged": 1, "foreign": 1} == report.counts
    assert {mailbox: grant["id"] for mailbox, grant in before.items()} == {
        mailbox: grant["id"] for mailbox, grant in after.items()
    }
    assert after["broken@acme.example.com"]["grant_status"] == "valid"
    assert after["narrow@acme.example.com"]["settings"]["scopes"] == [MAIL]
    owned = {row["email"] for row in world.rows("grants") if row["owned"]}
    assert owned == {name.lower() for _, name, _ in roster}
    assert (await world.reconcile(roster)).counts["unchanged"] == 3


async def test_a_dry_run_plans_the_same_and_writes_nothing(world):
    dry = await world.reconcile(people(3), mode=Mode.DRY_RUN)
    assert world.grants() == {}
    wet = await world.reconcile(people(3))
    assert dry.counts["create"] == wet.counts["create"] == 3
    prints = [row["fingerprint"] for row in world.rows("runs")]
    assert prints[0] == prints[1]


async def test_an_unknown_mailbox_is_refused_once_and_then_rests_in_escrow(world):
    world.control.set_directory({"acme.example.com": ["user0000@acme.example.com"]})
    report = await world.reconcile(people(2))
    assert report.counts["granted"] == 1
    assert report.counts["refused"] == 1
    again = await world.reconcile(people(2))
    assert again.counts["skip:in_escrow"] == 1
    assert sum(world.calls().values()) == 2


async def test_a_tenant_without_delegation_is_quarantined_alone(world):
    world.control.set_directory({"umbrella.example.com": None, "acme.example.com": None})
    match = {"email": "*@umbrella.example.com"}
    world.control.add_fault("mailbox_error", error="unauthorized_client", match=match)
    roster = [
        *people(200),
        *(("umbrella", f"u{number}@umbrella.example.com", None) for number in range(500)),
    ]
    report = await world.reconcile(roster)
    assert report.counts["granted"] == 200
    assert report.counts["skipped"] > 300
    assert report.counts["refused"] + report.counts["skipped"] == 500
    again = await world.reconcile(roster)
    assert again.counts["skip:tenant_quarantined"] == 500


async def test_owned_orphans_get_grace_and_are_then_held_never_deleted(world):
    from datetime import timedelta

    await world.reconcile(people(3))
    first = await world.reconcile(people(2))
    assert first.counts["skip:in_grace"] == 1
    world.now += timedelta(days=8)
    late = await world.reconcile(people(2))
    assert late.counts["revoke"] == late.counts["held"] == 1
    assert len(world.grants()) == 3
    back = await world.reconcile(people(3))
    assert back.counts["unchanged"] == 3


async def test_a_rejected_row_keeps_the_grant_of_its_mailbox_out_of_the_orphans(world):
    await world.reconcile(people(2))
    contradiction = [*people(2), ("umbrella", "user0001@acme.example.com", None)]
    report = await world.reconcile(contradiction)
    assert report.counts["skip:roster_row_rejected"] == 1
    assert "skip:in_grace" not in report.counts


async def test_a_run_filtered_to_a_tenant_or_a_mailbox_touches_nothing_else(world):
    roster = [*people(3), ("umbrella", "u@umbrella.example.com", None)]
    report = await world.reconcile(roster, selection=Selection(tenants=("umbrella",)))
    assert set(world.grants()) == {"u@umbrella.example.com"}
    assert report.counts["create"] == 1
    report = await world.reconcile(roster, selection=Selection(mailbox="user0001@acme.example.com"))
    assert set(world.grants()) == {"u@umbrella.example.com", "user0001@acme.example.com"}
    moved = [*people(3), ("acme", "u@umbrella.example.com", None)]
    report = await world.reconcile(moved, selection=Selection(tenants=("umbrella",)))
    assert not {"skip:in_grace", "revoke"} & set(report.counts)
