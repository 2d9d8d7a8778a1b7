"""One bad mailbox costs only itself: not its tenant, not other tenants, not the night."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bulkgrants.errors import Unavailable
from bulkgrants.ledger.tables import escrow, tenants
from bulkgrants.ledger.tenants import record_credential
from bulkgrants.model import CredentialType, Provider, RegisteredCredential, Selection
from support.batches import MAKING, fault, people
from support.microsoft import become_ready, consent, join, standing, withdraw

NIGHT = timedelta(days=1)
on_sqlite = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


def only(email: str) -> dict[str, str]:
    return {**MAKING, "email": email}


def granted(world, tenant: str) -> int:
    return sum(f"@{tenant}." in email for email in world.grants())


def in_escrow(world) -> dict[str, str]:
    """The reason of each mailbox that was refused."""
    return {row["email"]: row["reason"] for row in world.rows("escrow") if row["refusals"]}


async def night(world, roster) -> dict[str, int]:
    """The counts of one night, which ends as it can even if changes stay open."""
    world.now += NIGHT
    run = await world.observe(world.read(world.open(), roster))
    for batch in world.plan(run).batches:
        try:
            await world.apply(run, batch)
        except Unavailable:
            continue
    return world.close(run).counts


# One refusal is no word about the tenant's consent


@pytest.mark.parametrize(
    "said",
    [
        {"error": "invalid_client", "error_description": "AADSTS65001: not consented."},
        {"error": {"code": "Authorization_RequestDenied", "message": "Insufficient privileges."}},
    ],
)
async def test_a_tenant_is_not_lost_by_the_one_change_of_a_night_that_is_refused(world, said):
    join(world, "contoso")
    roster = people(20, "contoso")
    await world.reconcile(roster)
    partner = ("contoso", "guest@contoso.example.com", None)
    refusal = {"status": 403, "type": "t", "message": "m", "provider_error": said}
    fault(world, "error", error=refusal, match=only(partner[1]))
    for _ in range(3):
        counts = await night(world, [*roster, partner])
        assert (counts["refused"], counts["unchanged"]) == (1, 20)
        assert standing(world, "contoso")["awaiting"] is None
    assert in_escrow(world) == {partner[1]: "consent_missing"}
    assert world.calls()["canary@contoso.example.com"] == 3
    assert {row["outcome"] for row in world.rows("probes")} == {"granted"}


@on_sqlite
async def test_the_canarys_word_loses_a_tenant_even_if_one_mailbox_alone_was_refused(world):
    join(world, "contoso")
    withdraw(world, "contoso")
    await night(world, people(1, "contoso"))
    assert standing(world, "contoso")["awaiting"] == "consent"


@on_sqlite
@pytest.mark.parametrize(("mailboxes", "lost"), [(2, False), (3, True)])
async def test_where_no_canary_can_be_asked_several_mailboxes_decide(world, mailboxes, lost):
    join(world, "contoso")
    canary = "canary@contoso.example.com"
    world.control.seed([{"email": canary, "provider": "microsoft", "credential_id": "another"}])
    withdraw(world, "contoso")
    await night(world, people(mailboxes, "contoso"))
    assert (standing(world, "contoso")["awaiting"] == "consent") is lost
    assert canary not in world.calls(), "a foreign grant was authenticated"


@on_sqlite
async def test_a_canary_whose_grant_cannot_be_read_is_not_asked(world):
    join(world, "contoso")
    canary = {"email": "canary@contoso.example.com", "provider": "microsoft"}
    world.control.seed([canary | {"credential_id": "another", "shown": {"grant_status": "new"}}])
    fault(world, "mailbox_error", error="consent_missing", match=only("user*"))
    await night(world, people(8, "contoso"))
    assert canary["email"] not in world.calls()


@on_sqlite
async def test_a_canary_is_asked_in_the_spelling_of_its_grant(world):
    join(world, "contoso")
    world.control.set_switches(email_match="exact")
    spelled = {"email": "Canary@Contoso.example.com", "provider": "microsoft"}
    world.control.seed([spelled | {"credential_id": world.microsoft_id}])
    await night(world, [("contoso", "canary@contoso.example.com", None)])
    fault(world, "mailbox_error", error="consent_missing", match=only("user*"))
    await night(world, people(3, "contoso"))
    canaries = [one for one in world.control.grants() if "canary" in one["email"].lower()]
    assert [one["email"] for one in canaries] == [spelled["email"]]
    assert world.calls()["canary@contoso.example.com"] == 1


@on_sqlite
async def test_a_canarys_answer_with_another_partys_grant_does_not_make_it_ours(world):
    join(world, "contoso")
    world.control.set_aliases({"canary@contoso.example.com": "theirs@contoso.example.com"})
    theirs = {"email": "theirs@contoso.example.com", "provider": "microsoft"}
    world.control.seed([theirs | {"credential_id": "another", "created_at": 1_600_000_000}])
    fault(world, "mailbox_error", error="consent_missing", match=only("user*"))
    await night(world, people(3, "contoso"))
    [row] = [row for row in world.rows("grants") if row["email"].startswith("canary@")]
    assert (row["address"], row["owned"]) == (theirs["email"], False)
    said = world.rows("probes")[-1]["message"]
    assert "answered with the address theirs@contoso.example.com" in said


@on_sqlite
async def test_a_grant_of_the_same_night_outweighs_several_refused_mailboxes(world):
    join(world, "contoso")
    canary = "canary@contoso.example.com"
    world.control.seed([{"email": canary, "provider": "microsoft", "credential_id": "another"}])
    partners = [("contoso", f"z{number}@contoso.example.com", None) for number in range(4)]
    fault(world, "mailbox_error", error="consent_missing", match=only("z*"))
    world.now += NIGHT
    run = await world.observe(world.read(world.open(), [*people(4, "contoso"), *partners]))
    made = world.plan(run, 4)
    for batch in made.batches:
        await world.apply(run, batch)
    assert standing(world, "contoso")["awaiting"] is None
    assert len(in_escrow(world)) == 4


@on_sqlite
@pytest.mark.parametrize("status", [504, 500])
async def test_a_canary_that_gives_no_answer_loses_no_tenant(world, status):
    join(world, "contoso")
    roster = people(20, "contoso")
    await world.reconcile(roster)
    partners = [("contoso", f"z{number}@contoso.example.com", None) for number in range(4)]
    fault(world, "mailbox_error", error="consent_missing", match=only("z*"))
    fault(world, "server_error", status=status, match=only("canary@*"))
    await night(world, [*roster, *partners])
    assert standing(world, "contoso")["awaiting"] is None
    assert len(in_escrow(world)) == 4


@on_sqlite
async def test_a_tenant_gets_its_grants_whatever_the_order_of_those_that_lack_consent(world):
    """No canary can be asked, and the first mailboxes of the plan are refused."""
    join(world, "contoso")
    canary = "canary@contoso.example.com"
    world.control.seed([{"email": canary, "provider": "microsoft", "credential_id": "another"}])
    partners = [("contoso", f"a{number}@contoso.example.com", None) for number in range(5)]
    fault(world, "mailbox_error", error="consent_missing", match=only("a?@*"))
    for _ in range(2):
        await night(world, [*partners, *people(100, "contoso")])
        assert standing(world, "contoso")["awaiting"] is None
    assert granted(world, "contoso") == 101


@on_sqlite
async def test_a_consent_lost_some_hours_after_a_grant_is_found_the_next_night(world):
    join(world, "contoso")
    canary = "canary@contoso.example.com"
    world.control.seed([{"email": canary, "provider": "microsoft", "credential_id": "another"}])
    await night(world, people(3, "contoso"))
    withdraw(world, "contoso")
    for _ in range(2):
        await night(world, people(6, "contoso"))
    assert standing(world, "contoso")["awaiting"] == "consent"


@on_sqlite
async def test_a_consent_without_all_permissions_is_lost_when_mailboxes_lack_them(world):
    join(world, "contoso")
    await world.reconcile(people(3, "contoso"))
    world.tenants["contoso"] = replace(
        world.tenants["contoso"], required="Mail.ReadWrite Sites.Read.All User.Read.All"
    )
    with world.engine.begin() as connection:
        connection.execute(
            tenants.update()
            .where(tenants.c.tenant == "contoso")
            .values(required_scopes="Mail.ReadWrite Sites.Read.All User.Read.All")
        )
    denied = {"error": {"code": "Authorization_RequestDenied", "message": "…"}}
    refusal = {"status": 403, "type": "t", "message": "m", "provider_error": denied}
    fault(world, "error", error=refusal, match=only("user*"))
    await night(world, people(8, "contoso"))
    assert standing(world, "contoso")["awaiting"] == "consent"


@on_sqlite
async def test_the_canary_is_asked_once_in_a_run(world):
    join(world, "contoso")
    fault(world, "mailbox_error", error="consent_missing", match=only("user*"))
    world.now += NIGHT
    run = await world.observe(world.read(world.open(), people(9, "contoso")))
    made = world.plan(run, 3)
    for batch in [*made.batches, *made.batches]:
        await world.apply(run, batch)
    assert world.calls()["canary@contoso.example.com"] == 1


@on_sqlite
async def test_a_new_consent_ends_the_escrow_of_the_tenants_mailboxes(world):
    join(world, "contoso")
    fault(world, "mailbox_error", error="consent_missing", match=only("user0000@*"))
    await night(world, people(3, "contoso"))
    assert len(in_escrow(world)) == 1
    withdraw(world, "contoso")
    await night(world, people(5, "contoso"))
    assert standing(world, "contoso")["awaiting"] == "consent"
    world.control.clear_faults()
    consent(world, "contoso")
    become_ready(world, "contoso")
    assert in_escrow(world) == {}


# Whoever was refused before comes last


@pytest.mark.parametrize("error", ["unauthorized_client", "access_denied"])
async def test_mailboxes_that_are_refused_every_night_keep_nobody_from_their_turn(world, error):
    """They come first in the plan's order, and are refused for a reason that sounds like all."""
    bad = [("acme", f"a{number}@acme.example.com", None) for number in range(8)]
    fault(world, "mailbox_error", error=error, match=only("a?@*"))
    fault(world, "latency", seconds=0.01)
    roster = [*bad, *people(300)]
    await night(world, roster)
    await night(world, roster)
    assert granted(world, "acme") == 300
    counts = await night(world, roster)
    assert counts["refused"] == 8
    until = standing(world, "acme")["quarantined_until"]
    assert until is None or until < world.now


@on_sqlite
async def test_a_reason_that_may_be_the_tenants_is_tried_every_night_and_never_given_up(world):
    fault(world, "mailbox_error", error="unauthorized_client", match=only("user0000@*"))
    for _ in range(30):
        assert (await night(world, people(2))).get("refused") == 1
    world.control.clear_faults()
    assert (await night(world, people(2))).get("granted") == 1


# An unknown refusal ends in escrow like a known one


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"error": {"code": "Request_ResourceNotFound", "message": "…"}}, "mailbox_unknown"),
        ({"error": "invalid_grant", "provider_error": "Bad Request"}, "other"),
    ],
)
@on_sqlite
async def test_a_refusal_that_is_one_mailboxs_own_never_quarantines(world, said, reason):
    refusal = {"status": 404, "type": "t", "message": "m", "provider_error": said}
    fault(world, "error", error=refusal, match=only("user00*"))
    counts = await night(world, people(110))
    assert (counts["refused"], counts["granted"]) == (100, 10)
    assert set(in_escrow(world).values()) == {reason}
    assert standing(world, "acme")["quarantined_until"] is None


@on_sqlite
async def test_an_unknown_refusal_of_one_mailbox_puts_it_into_escrow(world):
    refusal = {"status": 400, "type": "grant.something_new", "message": "what is it?"}
    fault(world, "error", error=refusal, match=only("user0001@*"))
    await night(world, people(5))
    assert in_escrow(world) == {"user0001@acme.example.com": "other"}


# Not served


async def test_a_mailbox_that_is_never_served_is_in_escrow_from_the_third_night_on(world):
    fault(world, "server_error", status=504, retry_after=0, match=only("user0000@*"))
    roster = people(5)
    first = await night(world, roster)
    assert (first["open"], first["granted"]) == (1, 4)
    assert (await night(world, roster))["open"] == 1
    for _ in range(3):
        counts = await night(world, roster)
        assert (counts.get("open"), counts["refused"]) == (None, 1)
    assert in_escrow(world) == {"user0000@acme.example.com": "not_served"}
    world.control.clear_faults()
    assert (await night(world, roster))["granted"] == 1
    assert in_escrow(world) == {}


@on_sqlite
async def test_a_dozen_mailboxes_of_a_tenant_that_are_never_served_end_in_escrow(world):
    fault(world, "server_error", status=504, retry_after=0, match=only("user000*"))
    fault(world, "server_error", status=504, retry_after=0, match=only("user0010@*"))
    fault(world, "server_error", status=504, retry_after=0, match=only("user0011@*"))
    assert (await night(world, people(60)))["open"] == 12
    for _ in range(8):  # ten in a row end the tenant's turn, so some come a night later, and alone
        counts = await night(world, people(60))
    assert counts.get("open") is None
    assert len(in_escrow(world)) == 12


@on_sqlite
async def test_an_outage_of_every_night_is_not_the_mailboxes_fault(world):
    fault(world, "server_error", status=504, retry_after=0)
    for _ in range(5):
        counts = await night(world, people(3))
        assert (counts["open"], counts.get("refused")) == (3, None)
    assert in_escrow(world) == {}


async def test_a_tenant_that_is_never_served_keeps_no_other_tenant_from_its_grants(world):
    fault(world, "server_error", retry_after=0, match=only("*@acme.*"))
    counts = await night(world, [*people(200), *people(200, "umbrella"), *people(3, "initech")])
    assert (counts["granted"], counts["open"]) == (203, 200)
    assert sum("@acme" in email for email in world.calls()) <= 64 + 10
    assert in_escrow(world) == {}, "an outage of a tenant is not the mailboxes' fault"


@on_sqlite
async def test_in_an_outage_of_all_tenants_the_batch_ends_early(world):
    fault(world, "server_error", retry_after=0)
    names = [f"t{number}" for number in range(40)]
    world.tenants |= {name: replace(world.tenants["acme"], tenant=name) for name in names}
    counts = await night(world, [one for name in names for one in people(10, name)])
    assert counts["open"] == 400
    assert len(world.calls()) <= 64 + 64
    assert in_escrow(world) == {}


# Escrow ends


def refuse(world, email: str) -> None:
    fault(world, "mailbox_error", error="unknown_mailbox", match=only(email))


async def refused_once(world, roster) -> str:
    """`user0000` is in escrow, since a month ago."""
    refuse(world, "user0000@*")
    await night(world, roster)
    world.control.clear_faults()
    assert in_escrow(world) == {"user0000@acme.example.com": "mailbox_unknown"}
    world.now += timedelta(days=28)
    return "user0000@acme.example.com"


async def test_escrow_ends_when_the_mailbox_is_as_the_roster_asks(world):
    """Somebody else authenticated it, so no change of ours has told."""
    email = await refused_once(world, people(2))
    scopes = world.tenants["acme"].scopes.split()
    world.control.seed([{"email": email, "credential_id": world.credential_id, "scopes": scopes}])
    await night(world, people(2))
    assert in_escrow(world) == {}


async def test_escrow_ends_when_the_mailbox_leaves_the_roster(world):
    await refused_once(world, people(2))
    await night(world, people(2)[1:])
    assert in_escrow(world) == {}
    refuse(world, "user0000@*")
    await night(world, people(2))
    [row] = world.rows("escrow")
    assert (row["refusals"], row["due_at"] is not None) == (1, True), "given up after one refusal"


@on_sqlite
async def test_a_row_that_is_rejected_for_a_night_ends_no_escrow(world):
    email = await refused_once(world, people(2))
    await night(world, [("acme", email, "not a scope!"), people(2)[1]])
    assert in_escrow(world) == {email: "mailbox_unknown"}


@on_sqlite
async def test_a_record_that_no_longer_counts_is_deleted(world):
    email = await refused_once(world, people(2))
    with world.engine.begin() as connection:
        connection.execute(escrow.update().values(due_at=None))
    calendar = "https://www.googleapis.com/auth/calendar"
    refuse(world, email)
    await night(world, [("acme", email, calendar), people(2)[1]])
    world.control.clear_faults()
    assert (await night(world, people(2))).get("granted") == 1


@on_sqlite
async def test_a_run_for_other_tenants_ends_no_escrow(world):
    await refused_once(world, people(2))
    world.now += NIGHT
    await world.reconcile(people(2), selection=Selection(tenants=("umbrella",)))
    await world.reconcile(people(2), selection=Selection(mailbox="user0001@acme.example.com"))
    assert len(in_escrow(world)) == 1


async def test_a_changed_row_is_tried_at_once(world):
    email = await refused_once(world, people(2))
    with world.engine.begin() as connection:
        connection.execute(escrow.update().values(due_at=None))
    assert (await night(world, people(2))).get("skip:given_up") == 1
    calendar = "https://www.googleapis.com/auth/calendar"
    changed = [("acme", email, calendar), people(2)[1]]
    assert (await night(world, changed)).get("granted") == 1


async def test_a_credential_with_new_contents_ends_the_escrow_of_its_tenants(world):
    await refused_once(world, people(2))
    record_credential(
        world.engine,
        RegisteredCredential(world.credential_id, "new", world.now, world.now),
        application="app-1",
        provider=Provider.GOOGLE,
        name="sa",
        credential_type=CredentialType.SERVICE_ACCOUNT,
    )
    assert in_escrow(world) == {}
