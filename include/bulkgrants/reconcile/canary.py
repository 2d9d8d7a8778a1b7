"""Asks a tenant's canary whether its provider still honours the admin's consent.

Mailboxes are refused for want of consent for reasons of their own too: a partner's address, or a
permission that only they need. So before a tenant is sent back to its admin, its canary is asked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from bulkgrants.errors import Refused, Retriable
from bulkgrants.ledger import changes
from bulkgrants.ledger.database import Ledger, reading
from bulkgrants.ledger.onboarding import (
    last_answered_probe,
    read_onboarding,
    record_probe,
    recorded_canary,
)
from bulkgrants.ledger.rights import confirm_claim, writing
from bulkgrants.ledger.staging import address_to_authenticate
from bulkgrants.ledger.tenants import credential_ids
from bulkgrants.model import Actual, BatchClaim, Grant, Onboarding, Probed, ProbeOutcome, Run
from bulkgrants.nylas.answers import unlike_asked
from bulkgrants.nylas.calls import Call, authenticate
from bulkgrants.nylas.sending import AsyncSender, Condition, only_while
from bulkgrants.ports import Clock
from bulkgrants.refusals import Refusal

SEVERAL = 3
"""This many refused mailboxes may speak for a tenant whose canary cannot be asked."""


class ConsentSeen(StrEnum):
    """What is known about a tenant's consent."""

    HONOURED = "honoured"
    MISSING = "missing"
    """The provider says so, or the canary's grant lacks required scopes."""
    UNANSWERED = "unanswered"
    """The canary gave no answer about the consent; the next run asks again."""
    UNASKABLE = "unaskable"
    """There is no canary, its credential is not registered, or its grant is not ours."""


async def has_lost_consent(
    ledger: Ledger, sender: AsyncSender, claim: BatchClaim, tenant: str, clock: Clock
) -> bool:
    """Whether a tenant that got no grant in this batch has lost its consent as a whole.

    The canary decides. If it cannot be asked, several mailboxes do whose refusals began after the
    tenant's last grant. Raises Superseded, and the Fatal errors of the sender.
    """
    seen = await consent_of(ledger, sender, claim, tenant, clock)
    if seen is not ConsentSeen.UNASKABLE:
        return seen is ConsentSeen.MISSING
    refused = await asyncio.to_thread(
        changes.unconsented_since_last_grant, ledger, claim.application, tenant, clock()
    )
    return refused >= SEVERAL


async def consent_of(
    ledger: Ledger, sender: AsyncSender, claim: BatchClaim, tenant: str, clock: Clock
) -> ConsentSeen:
    """What the canary shows; a probe that was answered during this run is not repeated.

    Raises Superseded, and the Fatal errors of the sender.
    """
    known = await asyncio.to_thread(
        last_answered_probe, ledger, claim.application, tenant, claim.run.opened_at
    )
    if known is not None:
        return _shown(known)
    asked = await asyncio.to_thread(_question, ledger, claim.run, tenant)
    if asked is None:
        return ConsentSeen.UNASKABLE
    required = asked.onboarding.required
    grant: Grant | None = None
    try:
        with only_while(Condition(partial(confirm_claim, ledger, claim))):
            grant = await sender.send(asked.call)  # once: the batch goes on without a slow answer
    except Refused as error:
        probed = Probed.refused(required, error, error.known)
    except Retriable as error:
        probed = Probed.unserved(required, error, error.after)
    else:
        odd = unlike_asked(grant, asked.onboarding, asked.address, asked.before)
        probed = Probed.granted(required, grant.scopes, odd)
    await asyncio.to_thread(_record, ledger, claim, asked, probed, grant, clock)
    return _shown(probed)


def _shown(probed: Probed) -> ConsentSeen:
    if probed.outcome is ProbeOutcome.GRANTED:
        return ConsentSeen.HONOURED
    if probed.outcome is ProbeOutcome.PARTIAL:
        return ConsentSeen.MISSING
    if probed.known is not None and probed.known.refusal is Refusal.CONSENT_MISSING:
        return ConsentSeen.MISSING
    return ConsentSeen.UNANSWERED


@dataclass(frozen=True, slots=True)
class _Question:
    """A canary that may be authenticated."""

    onboarding: Onboarding
    address: str
    """How to spell it."""
    before: Actual | None
    """The grant that it has."""
    call: Call[Grant]


def _question(ledger: Ledger, run: Run, tenant: str) -> _Question | None:
    """How to ask the canary, or None if it must not be asked: its grant may not be ours."""
    application = run.application
    onboarding = read_onboarding(ledger, application, tenant)
    provider, email = onboarding.provider, onboarding.canary
    with reading(ledger) as connection:
        credential_id = credential_ids(connection, application).get(
            (provider, onboarding.credential)
        )
        if not email or credential_id is None:
            return None
        address = address_to_authenticate(connection, run, provider, email, credential_id)
        recorded, gone = recorded_canary(connection, onboarding) or (None, False)
    if address is None:
        return None
    call = authenticate(provider, address, credential_id, onboarding.scopes)
    return _Question(onboarding, address, None if gone else recorded, call)


def _record(
    ledger: Ledger,
    claim: BatchClaim,
    asked: _Question,
    probed: Probed,
    grant: Grant | None,
    clock: Clock,
) -> None:
    ours = grant is not None and grant.is_ours(asked.before, claim.run.opened_at)
    with writing(ledger, claim, clock()) as write:
        record_probe(write, asked.onboarding, probed, grant, owned=ours)
