"""Where a tenant's onboarding goes on when its row in the tenants table changes."""

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkgrants.ledger.tenants import first_awaits, place_anew
from bulkgrants.model import Anew, Awaiting, Place, Provider, Stop, Tenant

CONSENT, PROPAGATION, READY = Awaiting.CONSENT, Awaiting.PROPAGATION, None
ORG = "11111111-2222-4333-8444-555555555555"
OTHER_ORG = "99999999-2222-4333-8444-555555555555"
MICROSOFT = Tenant(
    tenant="contoso",
    provider=Provider.MICROSOFT,
    credential="shared",
    secret_conn_id="azure",
    scopes="",
    grace=timedelta(days=7),
    enabled=True,
    microsoft_tenant=ORG,
    canary="nyla@contoso.example",
    required="Mail.Send User.Read.All",
)
GOOGLE = replace(
    MICROSOFT,
    provider=Provider.GOOGLE,
    microsoft_tenant="",
    scopes="calendar mail",
    required="calendar mail",
)
MORE = {"required": "Mail.Read Mail.Send User.Read.All"}
LESS = {"required": "user.read.all"}
MORE_AT_GOOGLE = {"scopes": "calendar drive mail", "required": "calendar drive mail"}
EVERY = [CONSENT, PROPAGATION, READY]


def at(awaiting, stop=None, *, active=True):
    return Place(awaiting, stop, active)


def moved(before, awaiting, *, stop=None, active=True, **changed):
    return place_anew(before, at(awaiting, stop, active=active), replace(before, **changed))


@pytest.mark.parametrize(
    ("tenant", "awaits"),
    [
        (MICROSOFT, CONSENT),
        (replace(MICROSOFT, canary=""), CONSENT),
        (GOOGLE, PROPAGATION),
        (replace(GOOGLE, canary=""), READY),
    ],
)
def test_a_new_tenant_awaits_what_its_provider_needs(tenant, awaits):
    assert first_awaits(tenant) is awaits


@pytest.mark.parametrize("awaiting", EVERY)
@pytest.mark.parametrize("stop", [None, *Stop])
def test_another_provider_begins_as_a_new_tenant_does_whatever_was_before(awaiting, stop):
    place = at(awaiting, stop)
    assert place_anew(MICROSOFT, place, GOOGLE) == Anew(PROPAGATION, unasked=True)
    bare = replace(GOOGLE, canary="")
    assert place_anew(MICROSOFT, place, bare) == Anew(READY, unasked=True)
    assert place_anew(GOOGLE, place, MICROSOFT) == Anew(CONSENT, unasked=True)
    assert place_anew(bare, place, MICROSOFT) == Anew(CONSENT, unasked=True)


@pytest.mark.parametrize("awaiting", EVERY)
@pytest.mark.parametrize(
    ("before", "after"), [(ORG, OTHER_ORG), ("contoso.example", "fabrikam.example")]
)
def test_the_yes_of_another_organisation_does_not_count(awaiting, before, after):
    was = replace(MICROSOFT, microsoft_tenant=before)
    found = moved(was, awaiting, stop=Stop.REFUSED, microsoft_tenant=after)
    assert found == Anew(CONSENT, unasked=True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("common", ORG),
        ("", ORG),
        (ORG, "common"),
        (ORG, ""),
        ("", "common"),
        ("contoso.example", ORG),
        (ORG, "contoso.example"),
    ],
)
def test_another_name_that_may_be_of_the_same_organisation_is_shown_by_the_canary(before, after):
    was = replace(MICROSOFT, microsoft_tenant=before)
    for awaiting in (PROPAGATION, READY):
        assert moved(was, awaiting, microsoft_tenant=after) == Anew(PROPAGATION)
    found = moved(was, CONSENT, stop=Stop.REFUSED, microsoft_tenant=after)
    assert found == Anew(CONSENT, unasked=True)


@pytest.mark.parametrize(("tenant", "more"), [(MICROSOFT, MORE), (GOOGLE, MORE_AT_GOOGLE)])
def test_a_scope_more_is_shown_by_the_canary(tenant, more):
    assert moved(tenant, READY, **more) == Anew(PROPAGATION)
    assert moved(tenant, PROPAGATION, **more) == Anew(PROPAGATION)


@pytest.mark.parametrize("stop", [None, *Stop])
def test_an_admin_who_is_asked_is_asked_for_the_scope_as_well(stop):
    assert moved(MICROSOFT, CONSENT, stop=stop, **MORE) is None


def test_a_scope_more_without_a_canary_is_not_shown_at_google_and_named_at_microsoft():
    assert moved(replace(GOOGLE, canary=""), READY, **MORE_AT_GOOGLE) is None
    assert moved(replace(MICROSOFT, canary=""), READY, **MORE) == Anew(PROPAGATION)


@pytest.mark.parametrize("awaiting", EVERY)
def test_a_scope_less_changes_nothing(awaiting):
    assert moved(MICROSOFT, awaiting, **LESS) is None


@pytest.mark.parametrize("awaiting", EVERY)
def test_a_row_of_an_old_ledger_does_not_know_what_was_required(awaiting):
    old = replace(MICROSOFT, required="")
    assert place_anew(old, at(awaiting), MICROSOFT) is None


def test_without_its_canary_a_google_tenant_does_not_wait_for_ever():
    assert moved(GOOGLE, PROPAGATION, canary="") == Anew(READY)
    assert moved(replace(GOOGLE, canary=""), PROPAGATION) == Anew(READY)
    assert moved(GOOGLE, READY, canary="") is None
    assert moved(MICROSOFT, PROPAGATION, canary="") is None  # the probe says what to write


@pytest.mark.parametrize("tenant", [GOOGLE, MICROSOFT])
def test_a_canary_that_is_added_or_changed_keeps_the_place(tenant):
    assert moved(replace(tenant, canary=""), READY, canary=tenant.canary) is None
    assert moved(tenant, PROPAGATION, canary="other@contoso.example") is None


@pytest.mark.parametrize(
    ("stop", "left"),
    [
        (None, None),
        (Stop.EXPIRED, None),
        (Stop.REFUSED, Stop.REFUSED),
        (Stop.UNHONOURED, Stop.UNHONOURED),
    ],
)
def test_a_tenant_that_is_enabled_again_waits_afresh_but_a_no_stays_a_no(stop, left):
    assert moved(MICROSOFT, CONSENT, stop=stop, active=False) == Anew(CONSENT, left)
    assert moved(GOOGLE, PROPAGATION, active=False) == Anew(PROPAGATION)


def test_a_tenant_that_stays_disabled_or_is_ready_does_not_wait():
    assert moved(MICROSOFT, CONSENT, active=False, enabled=False) is None
    assert moved(MICROSOFT, CONSENT, enabled=False) is None
    assert moved(MICROSOFT, READY, active=False) is None


OTHERWISE = {
    "credential": "other",
    "secret_conn_id": "other",
    "grace": timedelta(days=1),
    "consent_scopes": "Mail.Read",
    "azure_manifest": "app.json",
}


@pytest.mark.parametrize("name", OTHERWISE)
@pytest.mark.parametrize("tenant", [GOOGLE, MICROSOFT])
@pytest.mark.parametrize("awaiting", EVERY)
def test_other_settings_keep_the_place(tenant, name, awaiting):
    assert moved(tenant, awaiting, **{name: OTHERWISE[name]}) is None


settings = st.builds(
    replace,
    st.sampled_from([MICROSOFT, GOOGLE]),
    canary=st.sampled_from(["", "nyla@contoso.example"]),
    required=st.sampled_from(["a", "a b", "b"]),
    enabled=st.booleans(),
)
places = st.sampled_from(
    [at(*one[:2], active=one[2]) for one in product(EVERY, [None, *Stop], [True, False])]
)


@given(settings, places, settings)
def test_whatever_changes_the_next_reading_changes_nothing_more(before, place, after):
    first = place_anew(before, place, after)
    if first is None:
        return
    then = at(first.awaiting, first.stop, active=after.enabled)
    assert place_anew(after, then, after) is None
    if after.provider is Provider.GOOGLE:
        assert first.awaiting is not CONSENT or place.awaiting is CONSENT
