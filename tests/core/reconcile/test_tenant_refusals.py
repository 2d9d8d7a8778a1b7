"""A tenant is left alone once it is refused, or not served, as a whole, and no sooner."""

from bulkgrants.model import Awaiting, SkipReason
from bulkgrants.reconcile.tenant_health import (
    OUTAGE_TENANTS,
    REFUSALS_IN_A_ROW,
    UNSERVED_IN_A_ROW,
    TenantRefusals,
    TenantService,
)


def refused(refusals: TenantRefusals, times: int, tenant: str = "acme") -> list[bool]:
    return [refusals.refused(tenant, "delegation_missing") for _ in range(times)]


def test_enough_refusals_in_a_row_quarantine_the_tenant_once():
    refusals = TenantRefusals()
    assert refused(refusals, REFUSALS_IN_A_ROW + 3) == [False] * 4 + [True] + [False] * 3
    assert refusals.quarantined == {"acme": "delegation_missing"}


def test_a_grant_in_between_shows_that_the_tenant_works():
    refusals = TenantRefusals()
    refused(refusals, REFUSALS_IN_A_ROW - 1)
    refusals.granted("acme")
    assert not any(refused(refusals, REFUSALS_IN_A_ROW - 1))
    assert refusals.quarantined == {}


def test_each_tenant_is_counted_separately():
    refusals = TenantRefusals()
    refused(refusals, REFUSALS_IN_A_ROW - 1)
    assert not any(refused(refusals, REFUSALS_IN_A_ROW - 1, "umbrella"))
    refusals.granted("umbrella")
    assert refused(refusals, 1) == [True]


def test_a_tenant_that_another_batch_has_quarantined_is_not_quarantined_again():
    refusals = TenantRefusals()
    refusals.quarantined["acme"] = "said the ledger"
    assert not any(refused(refusals, 20))
    assert refusals.quarantined == {"acme": "said the ledger"}


def test_refusals_for_missing_consent_ask_the_canary_once_and_never_quarantine():
    refusals = TenantRefusals()
    seen = [refusals.unconsented("acme") for _ in range(REFUSALS_IN_A_ROW + 3)]
    assert seen == [False] * 4 + [True] + [False] * 3
    assert (refusals.awaiting, refusals.quarantined) == ({}, {})
    refusals.lost("acme")
    assert refusals.awaiting == {"acme": Awaiting.CONSENT}


def test_a_grant_in_between_shows_that_there_is_consent():
    refusals = TenantRefusals()
    for _ in range(3):
        assert not any(refusals.unconsented("acme") for _ in range(REFUSALS_IN_A_ROW - 1))
        refusals.granted("acme")
    assert refusals.obstacle("acme") is None


def test_a_tenant_that_is_known_to_wait_is_not_lost_again():
    refusals = TenantRefusals()
    refusals.awaiting["acme"] = Awaiting.PROPAGATION
    assert not any(refusals.unconsented("acme") for _ in range(20))
    assert refusals.awaiting == {"acme": Awaiting.PROPAGATION}


def test_the_obstacle_of_a_tenant_is_what_it_waits_for_before_its_quarantine():
    refusals = TenantRefusals()
    assert refusals.obstacle("acme") is None
    refusals.quarantined["acme"] = "delegation_missing"
    assert refusals.obstacle("acme") == (SkipReason.TENANT_QUARANTINED, "delegation_missing")
    for awaiting in Awaiting:
        refusals.awaiting["acme"] = awaiting
        reason, detail = refusals.obstacle("acme")
        assert reason == f"awaiting_{awaiting}"
        assert "consent was lost meanwhile" in detail


def unserved(service: TenantService, times: int, tenant: str = "acme") -> None:
    for _ in range(times):
        service.unserved(tenant)


def test_a_tenant_that_is_not_served_stalls_alone():
    service = TenantService()
    unserved(service, UNSERVED_IN_A_ROW - 1)
    assert service.stalled == set()
    unserved(service, 50)
    assert service.stalled == {"acme"}
    assert not service.is_outage


def test_an_answer_to_another_tenant_does_not_end_a_tenants_row():
    service = TenantService()
    for _ in range(UNSERVED_IN_A_ROW):
        service.unserved("acme")
        service.served("umbrella")
    assert service.stalled == {"acme"}


def test_an_answer_to_the_tenant_itself_does():
    service = TenantService()
    for _ in range(3):
        unserved(service, UNSERVED_IN_A_ROW - 1)
        service.served("acme")
    assert service.stalled == set()


def test_it_is_an_outage_once_enough_tenants_were_not_served_in_a_row():
    service = TenantService()
    for number in range(UNSERVED_IN_A_ROW):
        assert not service.is_outage
        service.unserved(f"tenant {number % OUTAGE_TENANTS}")
    assert service.is_outage
    service.served("anybody")
    assert not service.is_outage
