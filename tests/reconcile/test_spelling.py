"""A grant keeps its id and its mailbox, however Nylas spells the address."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from bulkgrants.ledger.tables import grants
from reconcile.conftest import MAIL

SPELLINGS = {
    "case": "Ann.Bee@Acme.example.com",
    "full width": "\uff41nn.bee@acme.example.com",
    "a domain in Unicode": "ann.bee@bücher.example.com",
    "combining letters": "re\u0301my@acme.example.com",
}


def seed(world, email: str, **more: object) -> str:
    known = {"credential_id": world.credential_id, "scopes": [MAIL], "id": "g-1"}
    world.control.seed([{"email": email} | known | more])
    return "g-1"


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
@pytest.mark.parametrize("broken", [{"grant_status": "invalid"}, {"scopes": ["other"]}])
async def test_a_grant_is_authenticated_again_in_its_own_spelling(world, spelling, broken):
    world.control.set_switches(email_match="exact")
    seed(world, spelling, **broken)
    report = await world.reconcile([("acme", spelling, None)])
    assert report.counts["verified"] == 1
    [grant] = world.control.grants()
    assert (grant["id"], grant["email"], grant["grant_status"]) == ("g-1", spelling, "valid")
    assert "another_grant" not in report.counts
    assert (await world.reconcile([("acme", spelling, None)])).counts["unchanged"] == 1


async def test_an_answer_with_another_grant_is_reported_and_not_repeated(world):
    """Nothing told the ledger the spelling, as before it kept any."""
    world.control.set_switches(email_match="exact")
    seed(world, SPELLINGS["case"], grant_status="invalid")
    roster = [("acme", SPELLINGS["case"], None)]
    run = await world.observe(world.read(world.open(), roster))
    made = world.plan(run)
    with world.engine.begin() as connection:
        connection.execute(update(grants).values(address=""))
    await world.apply(run, *made.batches)
    report = world.close(run)
    assert report.counts["another_grant"] == 1
    assert "Answered with another grant or another address" in report.markdown
    assert "a person should delete the one that is not used" in report.markdown
    world.now += timedelta(days=1)
    second = await world.reconcile(roster)
    assert second.counts["unchanged"] == 1
    assert "1 mailboxes have two grants or more" in second.markdown
    assert "ann.bee@acme.example.com" in second.markdown


async def test_an_address_that_cannot_be_stored_is_not_kept(world):
    odd = {"shown": {"email": "ann\x00@acme.example.com"}}
    seed(world, "ann@acme.example.com", **odd)
    await world.reconcile([])
    [row] = world.rows("grants")
    assert row["address"] == ""
