"""Every row of the table in docs/architecture.md, every reason to leave a mailbox alone,
and when a refused mailbox is due again.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkgrants.model import (
    Actual,
    Awaiting,
    Candidate,
    Circumstances,
    Create,
    Desired,
    Escrow,
    GrantStatus,
    Renew,
    Rescope,
    Revoke,
    Skip,
    SkipReason,
    Standing,
)
from bulkgrants.reconcile.decide import decide, is_new_orphan

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
SOON, BEFORE = NOW + timedelta(hours=1), NOW - timedelta(hours=1)
WANTED = Desired("acme", "mail", "cred-1")


def actual(**changed) -> Actual:
    fields = {
        "grant_id": "g-1",
        "status": GrantStatus.VALID,
        "scopes": "mail",
        "credential_id": "cred-1",
        "blocked": False,
        "owned": True,
        "orphan_since": None,
    }
    return Actual(**fields | changed)


def circumstances(*, escrow=None, rejected=False, provider="google", **standing) -> Circumstances:
    fields = {
        "enabled": True,
        "awaiting": None,
        "quarantined_until": None,
        "quarantine_reason": "",
        "grace": timedelta(days=7),
    }
    return Circumstances(NOW, provider, Standing(**fields | standing), escrow, rejected)


CASES = [
    (WANTED, None, circumstances(), Create("acme", "mail", "cred-1")),
    (WANTED, actual(), circumstances(), Skip(SkipReason.EQUAL)),
    (
        WANTED,
        actual(status=GrantStatus.INVALID),
        circumstances(),
        Renew("acme", "mail", "cred-1", "g-1"),
    ),
    (
        WANTED,
        actual(status=GrantStatus.INVALID, scopes="other"),
        circumstances(),
        Renew("acme", "mail", "cred-1", "g-1"),
    ),
    (
        WANTED,
        actual(scopes="calendar"),
        circumstances(),
        Rescope("acme", "mail", "cred-1", "g-1"),
    ),
    (
        WANTED,
        actual(scopes="calendar"),
        circumstances(provider="microsoft"),
        Skip(SkipReason.EQUAL),
    ),
    (
        WANTED,
        actual(credential_id="cred-2"),
        circumstances(),
        Skip(SkipReason.CREDENTIAL_DIFFERS, "grant uses cred-2"),
    ),
    (
        WANTED,
        actual(credential_id=None, status=GrantStatus.INVALID),
        circumstances(),
        Skip(SkipReason.CREDENTIAL_DIFFERS, "grant uses none"),
    ),
    (
        Desired("acme", "mail", None),
        None,
        circumstances(),
        Skip(SkipReason.CREDENTIAL_NOT_REGISTERED),
    ),
    (WANTED, None, circumstances(enabled=False), Skip(SkipReason.TENANT_DISABLED)),
    (WANTED, actual(blocked=True), circumstances(), Skip(SkipReason.GRANT_BLOCKED)),
    (
        WANTED,
        None,
        replace(circumstances(), unreadable=True),
        Skip(SkipReason.GRANT_UNREADABLE, "Nylas lists a grant that cannot be read"),
    ),
    (
        WANTED,
        actual(scopes="calendar"),
        replace(circumstances(), shared_with="ann@a.com"),
        Skip(SkipReason.GRANT_SHARED, "it has the grant of ann@a.com, whose row counts"),
    ),
    (
        WANTED,
        actual(blocked=True),
        replace(circumstances(), shared_with="ann@a.com"),
        Skip(SkipReason.GRANT_BLOCKED),
    ),
    (
        None,
        actual(orphan_since=NOW - timedelta(days=8)),
        replace(circumstances(), shared_with="ann@a.com"),
        Skip(SkipReason.GRANT_SHARED, "it has the grant of ann@a.com, whose row counts"),
    ),
    (
        WANTED,
        actual(credential_id="cred-0", status=GrantStatus.INVALID),
        replace(circumstances(), credential_made_anew=True),
        Renew("acme", "mail", "cred-1", "g-1"),
    ),
    (
        WANTED,
        actual(),
        replace(circumstances(provider="microsoft"), permissions_changed=True),
        Rescope("acme", "mail", "cred-1", "g-1"),
    ),
    (
        WANTED,
        actual(credential_id="cred-0"),
        replace(circumstances(), credential_made_anew=True),
        Skip(SkipReason.CREDENTIAL_DIFFERS, "grant uses cred-0"),
    ),
    (
        WANTED,
        actual(credential_id="cred-0", status=GrantStatus.INVALID),
        circumstances(),
        Skip(SkipReason.CREDENTIAL_DIFFERS, "grant uses cred-0"),
    ),
    (
        WANTED,
        None,
        circumstances(awaiting=Awaiting.CONSENT),
        Skip(SkipReason.AWAITING_CONSENT),
    ),
    (
        WANTED,
        None,
        circumstances(awaiting=Awaiting.PROPAGATION),
        Skip(SkipReason.AWAITING_PROPAGATION),
    ),
    (
        WANTED,
        None,
        circumstances(quarantined_until=SOON, quarantine_reason="no delegation"),
        Skip(SkipReason.TENANT_QUARANTINED, "until 2026-03-01 03:00 UTC: no delegation"),
    ),
    (WANTED, None, circumstances(quarantined_until=NOW), Create("acme", "mail", "cred-1")),
    (WANTED, None, circumstances(quarantined_until=BEFORE), Create("acme", "mail", "cred-1")),
    (
        WANTED,
        None,
        circumstances(quarantined_until=NOW + timedelta(hours=12, seconds=1)),
        Create("acme", "mail", "cred-1"),
    ),
    (
        WANTED,
        None,
        circumstances(escrow=Escrow("mailbox_unknown", SOON)),
        Skip(SkipReason.IN_ESCROW, "until 2026-03-01 03:00 UTC: mailbox_unknown"),
    ),
    (
        WANTED,
        None,
        circumstances(escrow=Escrow("mailbox_unknown", NOW)),
        Create("acme", "mail", "cred-1"),
    ),
    (
        WANTED,
        None,
        circumstances(escrow=Escrow("mailbox_unknown", BEFORE)),
        Create("acme", "mail", "cred-1"),
    ),
    (
        WANTED,
        None,
        circumstances(escrow=Escrow("mailbox_unknown", None)),
        Skip(SkipReason.GIVEN_UP, "mailbox_unknown"),
    ),
    (None, actual(owned=False), circumstances(), Skip(SkipReason.FOREIGN)),
    (
        None,
        actual(),
        circumstances(rejected=True, grace=timedelta(0)),
        Skip(SkipReason.ROSTER_ROW_REJECTED),
    ),
    (
        None,
        actual(),
        circumstances(enabled=False, grace=timedelta(0)),
        Skip(SkipReason.TENANT_DISABLED),
    ),
    (None, actual(), circumstances(), Skip(SkipReason.IN_GRACE, "until 2026-03-08 02:00 UTC")),
    (
        None,
        actual(orphan_since=BEFORE),
        circumstances(),
        Skip(SkipReason.IN_GRACE, "until 2026-03-08 01:00 UTC"),
    ),
    (
        None,
        actual(orphan_since=NOW - timedelta(days=7)),
        circumstances(),
        Revoke("g-1"),
    ),
    (
        None,
        actual(orphan_since=NOW - timedelta(days=30)),
        circumstances(),
        Revoke("g-1"),
    ),
    (None, actual(), circumstances(grace=timedelta(0)), Revoke("g-1")),
]


@pytest.mark.parametrize(("desired", "grant", "around", "expected"), CASES)
def test_each_situation_has_one_decision(desired, grant, around, expected):
    assert decide(desired, grant, around) == expected


def test_the_stronger_reason_is_named_first():
    everything = circumstances(
        enabled=False,
        awaiting=Awaiting.CONSENT,
        quarantined_until=SOON,
        escrow=Escrow("mailbox_unknown", SOON),
    )
    skip = decide(Desired("acme", "mail", None), actual(blocked=True), everything)
    assert skip == Skip(SkipReason.TENANT_DISABLED)


def test_a_mailbox_that_neither_side_knows_is_not_a_candidate():
    with pytest.raises(ValueError, match=r"^A mailbox that neither side knows .* candidate\.$"):
        decide(None, None, circumstances())


standings = st.builds(
    Standing,
    enabled=st.booleans(),
    awaiting=st.none() | st.sampled_from(Awaiting),
    quarantined_until=st.none() | st.sampled_from([BEFORE, NOW, SOON]),
    quarantine_reason=st.just("reason"),
    grace=st.sampled_from([timedelta(0), timedelta(days=7)]),
)
arounds = st.builds(
    Circumstances,
    now=st.just(NOW),
    provider=st.sampled_from(["google", "microsoft"]),
    standing=standings,
    escrow=st.none()
    | st.builds(Escrow, st.just("why"), st.none() | st.sampled_from([BEFORE, NOW, SOON])),
    rejected=st.booleans(),
)
grants = st.builds(
    Actual,
    grant_id=st.just("g-1"),
    status=st.sampled_from(GrantStatus),
    scopes=st.sampled_from(["mail", "calendar"]),
    credential_id=st.none() | st.sampled_from(["cred-1", "cred-2"]),
    blocked=st.booleans(),
    owned=st.booleans(),
    orphan_since=st.none() | st.sampled_from([BEFORE, NOW - timedelta(days=30)]),
)
wishes = st.builds(
    Desired,
    tenant=st.just("acme"),
    scopes=st.sampled_from(["mail", "calendar"]),
    credential_id=st.none() | st.just("cred-1"),
)


@given(st.none() | wishes, grants, arounds)
def test_only_an_owned_grant_without_an_entry_is_ever_revoked(desired, grant, around):
    if isinstance(decide(desired, grant, around), Revoke):
        assert desired is None
        assert grant.owned
        assert not around.rejected


@given(wishes, st.none() | grants, arounds)
def test_a_change_never_moves_a_grant_to_another_credential(desired, grant, around):
    change = decide(desired, grant, around)
    if isinstance(change, Renew | Rescope):
        assert grant.credential_id == change.credential_id == desired.credential_id


@given(wishes, st.none() | grants, arounds)
def test_once_a_change_is_made_nothing_is_left_to_do(desired, grant, around):
    change = decide(desired, grant, around)
    if isinstance(change, Create | Renew | Rescope):
        after = actual(scopes=change.scopes, credential_id=change.credential_id)
        assert decide(desired, after, around) == Skip(SkipReason.EQUAL)


@pytest.mark.parametrize(
    ("desired", "found", "rejected", "new"),
    [
        (None, actual(), False, True),
        (None, actual(orphan_since=BEFORE), False, False),
        (None, actual(), True, False),
        (None, None, False, False),
        (WANTED, actual(), False, False),
        (WANTED, None, False, False),
    ],
)
def test_only_a_grant_without_an_entry_or_a_reject_can_be_a_new_orphan(
    desired, found, rejected, new
):
    candidate = Candidate("google", "ann@acme.example", "acme", desired, found, None, rejected)
    assert is_new_orphan(candidate) is new
    assert not is_new_orphan(replace(candidate, shared_with="sales@acme.example"))
