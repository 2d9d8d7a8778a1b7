"""Asks an admin for consent: a pending record in the ledger, and the link that goes with it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine, select

from bulkgrants.consent.links import COMMON, checked_redirect_uri, consent_link
from bulkgrants.consent.states import RANDOM_BYTES, Binding, make_state, state_hash
from bulkgrants.consent.waiting import Step, Terms, next_step
from bulkgrants.errors import Misconfigured
from bulkgrants.ledger import consents
from bulkgrants.ledger.engine import reading
from bulkgrants.ledger.onboarding import Onboarding, keep_claim
from bulkgrants.ledger.tables import credentials
from bulkgrants.model import Provider

Chance = Callable[[int], bytes]
"""So many random bytes, beyond guessing."""


@dataclass(frozen=True, slots=True)
class Asker:
    """In whose name consents are asked for, and where the answers go."""

    application: str
    base_url: str
    """Of the Nylas API, without a slash at its end."""
    redirect_uri: str
    key: bytes = field(repr=False)
    """Signs states; see `states.state_key`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A link for an admin. Its repr shows no link: who has it may answer for the admin."""

    consent_id: int
    link: str = field(repr=False)
    expires_at: datetime


def step_of(engine: Engine, onboarding: Onboarding, terms: Terms, now: datetime) -> Step:
    """What the tenant's consent waits for."""
    with reading(engine).connect() as connection:
        asked = consents.asked(
            connection, onboarding.application, onboarding.tenant, onboarding.since or now
        )
    return next_step(asked, terms, now)


def ask(
    engine: Engine,
    asker: Asker,
    onboarding: Onboarding,
    terms: Terms,
    *,
    run_key: str,
    now: datetime,
    chance: Chance = secrets.token_bytes,
) -> Asked:
    """Make a link with a state of its own; links that were made before stay good until they expire.

    The state itself is kept nowhere: a process that dies after this has lost the link, and asks
    again. Raises Misconfigured for a credential that is not registered, a redirect URI that Nylas
    would not take, or scopes against the tenant rule; Superseded where the tenant is another run's.
    """
    redirect_uri = checked_redirect_uri(asker.redirect_uri)
    expires_at = (now + terms.link).replace(microsecond=0)
    with engine.begin() as connection:
        keep_claim(connection, asker.application, onboarding.tenant, run_key, now)
        credential_id = connection.execute(
            select(credentials.c.credential_id).where(
                credentials.c.application == asker.application,
                credentials.c.provider == Provider.MICROSOFT,
                credentials.c.name == onboarding.credential,
            )
        ).scalar()
        if credential_id is None:
            raise Misconfigured(
                f"The credential '{onboarding.credential}' of the tenant {onboarding.tenant} is "
                "not registered at Nylas; run the task `register` of this tenant first."
            )
        binding = Binding(
            application=asker.application,
            tenant=onboarding.tenant,
            credential_id=credential_id,
            redirect_uri=redirect_uri,
            expires_at=expires_at,
        )
        state = make_state(binding, asker.key, chance(RANDOM_BYTES))
        link = consent_link(
            base_url=asker.base_url,
            client_id=asker.application,
            credential_id=credential_id,
            redirect_uri=redirect_uri,
            state=state,
            microsoft_tenant=onboarding.microsoft_tenant or COMMON,
            scopes=onboarding.consent_scopes,
        )
        consents.expire(connection, asker.application, onboarding.tenant, now)
        consent_id = consents.request(
            connection,
            application=asker.application,
            tenant=onboarding.tenant,
            credential_id=credential_id,
            microsoft_tenant=onboarding.microsoft_tenant or COMMON,
            redirect_uri=redirect_uri,
            state_hash=state_hash(state),
            requested_at=now,
            expires_at=expires_at,
        )
    return Asked(consent_id, link, expires_at)
