"""The ledger's records of onboarding: each tenant's steps, and the probes of its canary."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Row

from bulkgrants.errors import Misconfigured
from bulkgrants.ledger.consents import lose_consents
from bulkgrants.ledger.database import Ledger, Reading, brief, reading
from bulkgrants.ledger.rights import HOLD_TERM, Writing, is_unheld
from bulkgrants.ledger.staging import Owned, own
from bulkgrants.ledger.tables import (
    consents,
    credentials,
    grants,
    probes,
    tenants,
)
from bulkgrants.ledger.tenants import forget_refusals, lock_tenants, write_settings
from bulkgrants.model import (
    Actual,
    Awaiting,
    BatchClaim,
    ConsentStatus,
    Grant,
    GrantStatus,
    Hold,
    Onboarding,
    Probed,
    ProbeOutcome,
    Provider,
    Stop,
    Tenant,
)
from bulkgrants.refusals import recorded_refusal
from bulkgrants.text import split_scopes

MOST_UNHONOURED = 3
"""How many consents in `UNHONOURED_WITHIN` may turn out to be worth nothing before a tenant rests.
Each of them lets the admin be asked once more."""
UNHONOURED_WITHIN = timedelta(days=7)


def take_up(
    ledger: Ledger,
    application: str,
    run_key: str,
    now: datetime,
    *,
    listed: Iterable[Tenant],
    names: Collection[str] = (),
    limit: int = 1000,
) -> list[Onboarding]:
    """Record the tenants table, and take tenants that are not ready for the run with this key.

    Without `names`, it takes at most `limit` tenants that are not stopped and that no other run
    holds. If a person names tenants, it takes each of them that is not ready, even from another
    run, and their wait starts over. A run that held one of them ends by itself with Superseded.
    """
    mine = [tenants.c.application == application, tenants.c.listed, tenants.c.enabled]
    waiting = tenants.c.awaiting.is_not(None)
    with ledger.begin() as connection:
        write_settings(connection, application, listed)
        if names:
            wanted = and_(*mine, waiting, tenants.c.tenant.in_(list(names)))
            fresh = tenants.c.claimed_by.is_distinct_from(run_key)
            _begin_anew(connection, and_(wanted, fresh), now)
        else:
            free = or_(tenants.c.claimed_by == run_key, is_unheld(now))
            wanted = and_(*mine, waiting, tenants.c.stopped == "", free)
        chosen = connection.execute(
            select(tenants.c.tenant)
            .where(wanted)
            .order_by(tenants.c.tenant)
            .limit(limit)
            .with_for_update()
        ).scalars()
        taken = and_(tenants.c.application == application, tenants.c.tenant.in_(list(chosen)))
        connection.execute(
            update(tenants)
            .where(taken)
            .values(
                claimed_by=run_key,
                claimed_until=now + HOLD_TERM,
                # a time after now was recorded by a clock that was ahead
                awaiting_since=case(
                    (tenants.c.awaiting_since <= now, tenants.c.awaiting_since), else_=now
                ),
            )
        )
        rows = connection.execute(select(tenants).where(taken).order_by(tenants.c.tenant))
        return [_onboarding(row) for row in rows]


def read_onboarding(ledger: Ledger, application: str, tenant: str) -> Onboarding:
    """The tenant's onboarding. Raises Misconfigured if the ledger does not know the tenant."""
    with reading(ledger) as connection:
        row = connection.execute(select(tenants).where(_this(application, tenant))).one_or_none()
    if row is None:
        raise Misconfigured(
            f"The ledger does not know the tenant '{tenant}'. Its Airflow connection points to a "
            "different ledger than when the tenant was taken up; change it back, or start a new "
            "run."
        )
    return _onboarding(row)


def begin_anew(write: Writing[Hold]) -> None:
    """Start the tenant's wait over because a person asked for it; earlier answers do not count."""
    _begin_anew(write.connection, _held(write), write.now)


def consented(connection: Connection, application: str, tenant: str, now: datetime) -> None:
    """Record that the admin has said yes; does nothing if the tenant does not await consent.

    The callback calls it. Its right to write is the consent's state, which can be used only once.
    """
    connection.execute(
        update(tenants)
        .where(_this(application, tenant), tenants.c.awaiting == Awaiting.CONSENT)
        .values(awaiting=Awaiting.PROPAGATION, awaiting_since=now, stopped="")
    )


def stop(write: Writing[Hold], why: Stop) -> bool:
    """Do not take the tenant up again until a person asks for it.

    Returns False, and changes nothing, if the tenant does not await consent any more.
    """
    return bool(
        write.connection.execute(
            update(tenants)
            .where(_held(write), *_taken_up(Awaiting.CONSENT))
            .values(stopped=why, claimed_by=None, claimed_until=None)
        ).rowcount
    )


def ask_again(write: Writing[Hold]) -> bool:
    """Let the tenant await its admin again, since the provider does not honour the consent.

    Returns whether the next run asks. It does not after `MOST_UNHONOURED` such consents in
    `UNHONOURED_WITHIN`: then the tenant rests until a person asks for it. So a false answer costs
    one wait, and answers that are false again and again do not send mail for ever.
    """
    tenant, now = write.right.tenant, write.now
    where = (_held(write), *_taken_up(Awaiting.PROPAGATION))
    if write.connection.execute(select(tenants.c.tenant).where(*where)).first() is None:
        return True  # the onboarding has begun anew meanwhile
    lose_consents(write.connection, write.application, tenant)
    unhonoured = write.connection.execute(
        select(func.count())
        .select_from(consents)
        .where(
            consents.c.application == write.application,
            consents.c.tenant == tenant,
            consents.c.status == ConsentStatus.LOST,
            consents.c.answered_at > now - UNHONOURED_WITHIN,
        )
    ).scalar_one()
    again = unhonoured < MOST_UNHONOURED
    write.connection.execute(
        update(tenants)
        .where(*where)
        .values(
            awaiting=Awaiting.CONSENT,
            awaiting_since=None,
            stopped="" if again else Stop.UNHONOURED,
            ready_at=None,
            claimed_by=None,
            claimed_until=None,
        )
    )
    return again


def ready(write: Writing[Hold]) -> None:
    """Record that the canary's grant has all required scopes, so the tenant can be reconciled."""
    write.connection.execute(
        update(tenants)
        .where(_held(write), *_taken_up(Awaiting.PROPAGATION))
        .values(
            awaiting=None,
            awaiting_since=None,
            stopped="",
            ready_at=write.now,
            quarantined_until=None,
            quarantine_reason="",
        )
    )
    forget_refusals(write.connection, _held(write))


def lose_consent(write: Writing[BatchClaim], lost: Collection[str]) -> list[str]:
    """Let ready Microsoft tenants await a new consent; returns those that were ready until now.

    A Google tenant has no consent to lose and stays ready. Grants are left as they are, both in the
    ledger and at Nylas, because deleting is final and a new consent may make them work again.
    """
    lock_tenants(write.connection, write.application, lost)
    return [tenant for tenant in lost if _lose(write.connection, write.application, tenant)]


def _lose(connection: Connection, application: str, tenant: str) -> bool:
    was_ready = connection.execute(
        update(tenants)
        .where(
            _this(application, tenant),
            tenants.c.provider == Provider.MICROSOFT,
            tenants.c.awaiting.is_(None),
        )
        .values(awaiting=Awaiting.CONSENT, awaiting_since=None, stopped="", ready_at=None)
    ).rowcount
    if was_ready:
        lose_consents(connection, application, tenant)
    return bool(was_ready)


def hold_needs_attention(
    ledger: Ledger, hold: Hold, key_id: str | None = None
) -> tuple[bool, datetime | None]:
    """Whether the run that waits for a consent should look, and until when it holds the tenant.

    It should look when there is an answer, when another run holds the tenant, when the tenant is
    gone, or when no link can be answered any more: each was for another credential, or was signed
    with another key than the one with `key_id`, if that is given.
    """
    asked = (
        consents.c.application == tenants.c.application,
        consents.c.tenant == tenants.c.tenant,
        consents.c.requested_at >= tenants.c.awaiting_since,
    )
    answered = exists().where(
        *asked, consents.c.status.in_((ConsentStatus.GIVEN, ConsentStatus.REFUSED))
    )
    other_credential = exists().where(
        credentials.c.application == tenants.c.application,
        credentials.c.provider == tenants.c.provider,
        credentials.c.name == tenants.c.credential,
        credentials.c.credential_id != consents.c.credential_id,
    )
    usable = exists().where(
        *asked,
        consents.c.status == ConsentStatus.PENDING,
        ~other_credential.correlate(tenants, consents),
        *([consents.c.key_id.in_(("", key_id))] if key_id else []),
    )
    moved_on = or_(
        tenants.c.awaiting.is_distinct_from(Awaiting.CONSENT),
        not_(and_(tenants.c.listed, tenants.c.enabled)),
        tenants.c.claimed_by.is_distinct_from(hold.run_key),
        answered,
        and_(exists().where(*asked), ~usable),
    )
    with reading(brief(ledger)) as connection:
        row = connection.execute(
            select(moved_on.label("moved_on"), tenants.c.claimed_until).where(
                _this(hold.application, hold.tenant)
            )
        ).one_or_none()
    return (True, None) if row is None else (bool(row.moved_on), row.claimed_until)


def record_probe(
    write: Writing[Hold] | Writing[BatchClaim],
    onboarding: Onboarding,
    probed: Probed,
    grant: Grant | None,
    *,
    owned: bool,
) -> None:
    """Record one probe of the tenant's canary, and the grant that was the answer, if one was."""
    write.connection.execute(
        insert(probes).values(
            application=write.application,
            tenant=onboarding.tenant,
            email=onboarding.canary,
            at=write.now,
            outcome=probed.outcome,
            missing=" ".join(probed.missing),
            message=probed.message,
            reason=probed.known.refusal if probed.known else "",
            code=probed.known.code if probed.known else "",
        )
    )
    if grant is not None:
        provider, email, tenant = onboarding.provider, onboarding.canary, onboarding.tenant
        own(write, [Owned(provider, email, tenant, grant, owned)])


def recorded_canary(connection: Reading, onboarding: Onboarding) -> tuple[Actual, bool] | None:
    """The canary's grant as the ledger knows it, and whether a later listing did not have it."""
    row = connection.execute(
        select(grants).where(
            grants.c.application == onboarding.application,
            grants.c.provider == onboarding.provider,
            grants.c.email == onboarding.canary,
        )
    ).one_or_none()
    if row is None:
        return None
    known = Actual(
        grant_id=row.grant_id,
        status=GrantStatus(row.status),
        scopes=row.scopes,
        credential_id=row.credential_id,
        blocked=row.blocked,
        owned=row.owned,
        orphan_since=row.orphan_since,
        address=row.address,
    )
    return known, row.gone_at is not None


def last_answered_probe(
    ledger: Ledger, application: str, tenant: str, since: datetime | None
) -> Probed | None:
    """The tenant's latest probe since then that was answered, or None."""
    statement = (
        select(probes)
        .where(
            probes.c.application == application,
            probes.c.tenant == tenant,
            probes.c.at >= since,
            probes.c.outcome != ProbeOutcome.UNSERVED,
        )
        .order_by(probes.c.id.desc())
        .limit(1)
    )
    with reading(ledger) as connection:
        row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    outcome = ProbeOutcome(row.outcome)
    # A probe of before migration 0003 has a message alone.
    known = recorded_refusal(row.reason, row.code) if row.reason else None
    return Probed(outcome, tuple(split_scopes(row.missing)), row.message, known)


def _begin_anew(connection: Connection, which: ColumnElement[bool], now: datetime) -> None:
    connection.execute(update(tenants).where(which).values(awaiting_since=now, stopped=""))


def _this(application: str, tenant: str) -> ColumnElement[bool]:
    return and_(tenants.c.application == application, tenants.c.tenant == tenant)


def _taken_up(awaiting: Awaiting) -> tuple[ColumnElement[bool], ...]:
    """The conditions that the tenant awaits this, and that its onboarding has not begun anew.

    A run that was at work at that moment knows the old settings only. It may still get the hold,
    which is free then, but what it has found must not count for the new settings.
    """
    return tenants.c.awaiting == awaiting, tenants.c.awaiting_since.is_not(None)


def _held(write: Writing[Hold]) -> ColumnElement[bool]:
    return _this(write.application, write.right.tenant)


def _onboarding(row: Row[tuple[object, ...]]) -> Onboarding:
    return Onboarding(
        application=row.application,
        tenant=row.tenant,
        provider=Provider(row.provider),
        credential=row.credential,
        secret_conn_id=row.secret_conn_id,
        microsoft_tenant=row.microsoft_tenant,
        canary=row.canary,
        scopes=row.scopes,
        required=row.required_scopes,
        consent_scopes=row.consent_scopes,
        azure_manifest=row.azure_manifest,
        awaiting=Awaiting(row.awaiting) if row.awaiting else None,
        since=row.awaiting_since,
        stop=Stop(row.stopped) if row.stopped else None,
        wanted=row.listed and row.enabled,
    )
