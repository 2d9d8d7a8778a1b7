"""A tenant is left alone once it is refused as a whole, and no sooner."""

from bulkgrants.model import Awaiting, SkipReason
from bulkgrants.reconcile.tally import REFUSALS_IN_A_ROW, Tally


def refused(tally: Tally, times: int, tenant: str = "acme") -> list[bool]:
    return [tally.refused(tenant, "delegation_missing") for _ in range(times)]


def test_the_last_of_so_many_refusals_in_a_row_quarantines_and_does_so_once():
    tally = Tally()
    assert refused(tally, REFUSALS_IN_A_ROW + 3) == [False] * 4 + [True] + [False] * 3
    assert tally.quarantined == {"acme": "delegation_missing"}


def test_a_grant_in_between_shows_that_the_tenant_works():
    tally = Tally()
    refused(tally, REFUSALS_IN_A_ROW - 1)
    tally.granted("acme")
    assert not any(refused(tally, REFUSALS_IN_A_ROW - 1))
    assert tally.quarantined == {}


def test_tenants_are_counted_apart():
    tally = Tally()
    refused(tally, REFUSALS_IN_A_ROW - 1)
    assert not any(refused(tally, REFUSALS_IN_A_ROW - 1, "umbrella"))
    tally.granted("umbrella")
    assert refused(tally, 1) == [True]


def test_a_tenant_that_another_batch_has_quarantined_is_not_quarantined_again():
    tally = Tally()
    tally.quarantined["acme"] = "said the ledger"
    assert not any(refused(tally, 20))
    assert tally.quarantined == {"acme": "said the ledger"}


def test_refusals_for_want_of_consent_lose_the_tenant_and_never_quarantine_it():
    tally = Tally()
    seen = [tally.unconsented("acme") for _ in range(REFUSALS_IN_A_ROW + 3)]
    assert seen == [False] * 4 + [True] + [False] * 3
    assert (tally.awaiting, tally.quarantined) == ({"acme": Awaiting.CONSENT}, {})


def test_a_grant_in_between_shows_that_there_is_consent():
    tally = Tally()
    for _ in range(3):
        assert not any(tally.unconsented("acme") for _ in range(REFUSALS_IN_A_ROW - 1))
        tally.granted("acme")
    assert tally.hindrance("acme") is None


def test_a_tenant_that_is_known_to_wait_is_not_lost_again():
    tally = Tally()
    tally.awaiting["acme"] = Awaiting.PROPAGATION
    assert not any(tally.unconsented("acme") for _ in range(20))
    assert tally.awaiting == {"acme": Awaiting.PROPAGATION}


def test_what_hinders_a_tenant_is_what_it_waits_for_before_its_quarantine():
    tally = Tally()
    assert tally.hindrance("acme") is None
    tally.quarantined["acme"] = "delegation_missing"
    assert tally.hindrance("acme") == (SkipReason.TENANT_QUARANTINED, "delegation_missing")
    for awaiting in Awaiting:
        tally.awaiting["acme"] = awaiting
        reason, detail = tally.hindrance("acme")
        assert reason == f"awaiting_{awaiting}"
        assert "consent was lost meanwhile" in detail
