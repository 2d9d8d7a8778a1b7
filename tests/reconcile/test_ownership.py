"""What a plan records about grants: whether they are owned, and when they became orphans."""

from datetime import timedelta

import pytest

from bulkgrants.model import Mode, Selection
from support.batches import plan_of
from support.ledgers import NOW, entry, grant, granted, with_tenants


def test_only_a_run_that_may_apply_adopts(ledger):
    equal = (entry("acme", "a@example.com"),), [grant("a@example.com")]
    plan_of(ledger, *equal[0], grants=equal[1], mode=Mode.DRY_RUN)
    assert not granted(ledger)["a@example.com"]["owned"]
    plan_of(ledger, *equal[0], grants=equal[1], key="wet")
    adopted = granted(ledger)["a@example.com"]
    assert (adopted["owned"], adopted["tenant"]) == (True, "acme")


@pytest.mark.parametrize(
    ("there", "wanted", "selection"),
    [
        ({"status": "invalid"}, {}, None),
        ({"blocked": True}, {}, None),
        ({"gone_at": NOW}, {}, None),
        ({"scopes": "other"}, {}, None),
        ({"credential_id": "other"}, {}, None),
        ({"credential_id": None}, {"credential_id": None}, None),
        ({"provider": "microsoft"}, {}, None),
        ({}, {"email": "b@example.com"}, None),
        ({}, {}, Selection(tenants=("umbrella",))),
        ({}, {}, Selection(mailbox="b@example.com")),
    ],
)
def test_a_grant_that_differs_from_the_roster_is_not_adopted(ledger, there, wanted, selection):
    wants = entry("acme", "a@example.com") | wanted
    plan_of(ledger, wants, grants=[grant("a@example.com", **there)], selection=selection)
    row = granted(ledger)["a@example.com"]
    assert (row["owned"], row["tenant"]) == (False, None)


def test_an_owned_grant_follows_its_entry_to_another_tenant(ledger):
    ours = grant("a@example.com", owned=True, tenant="umbrella")
    plan_of(ledger, entry("acme", "a@example.com"), grants=[ours])
    assert granted(ledger)["a@example.com"]["tenant"] == "acme"


def test_a_grant_is_an_orphan_from_the_first_plan_without_its_entry_to_the_next_with_it(ledger):
    with_tenants(ledger, "acme")
    row = grant("a@example.com", owned=True, tenant="acme")
    wanted = entry("acme", "a@example.com")
    assert plan_of(ledger, grants=[row], key="first").counts["skip:in_grace"] == 1
    assert granted(ledger)["a@example.com"]["orphan_since"] == NOW
    seen = granted(ledger)["a@example.com"]
    plan_of(ledger, wanted, grants=[seen], key="back")
    assert granted(ledger)["a@example.com"]["orphan_since"] is None


def test_a_filtered_run_knows_that_a_mailbox_outside_its_filter_has_its_entry_again(ledger):
    old = grant("a@example.com", owned=True, tenant="acme", orphan_since=NOW - timedelta(days=30))
    selection = Selection(tenants=("umbrella",))
    made = plan_of(ledger, entry("acme", "a@example.com"), grants=[old], selection=selection)
    assert made.counts == {"entries": 0, "unchanged": 0, "foreign": 0, "rejected": 0}
    assert granted(ledger)["a@example.com"]["orphan_since"] is None
