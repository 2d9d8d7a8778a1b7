"""Receives the redirect of an admin who has answered: judged, and recorded in one transaction."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import Connection, Engine, select

from bulkgrants.consent.callback import Redirect, Verdict, judge, read_redirect
from bulkgrants.consent.states import state_hash
from bulkgrants.ledger import consents, onboarding
from bulkgrants.ledger.consents import Consent, ConsentStatus, OAuthError
from bulkgrants.ledger.tables import credentials, tenants
from bulkgrants.text import bounded

_log = logging.getLogger(__name__)
_STATUS = {Verdict.GIVEN: ConsentStatus.GIVEN, Verdict.REFUSED: ConsentStatus.REFUSED}


@dataclass(frozen=True, slots=True)
class Received:
    """What a redirect came to, and what may be shown of it."""

    verdict: Verdict
    tenant: str = ""
    """Whose consent it is; empty unless the state is genuine."""
    status: ConsentStatus | None = None
    """What is recorded of that consent by now."""
    answered_at: datetime | None = None
    error: OAuthError = OAuthError()  # noqa: RUF009 - frozen


def receive(engine: Engine, query: str, *, application: str, key: bytes, now: datetime) -> Received:
    """Judge a redirect by its query string and record what it is worth.

    The first good answer is recorded with what follows from it for the tenant, all or nothing, so
    that an admin may reload a page that never came. Whatever else arrives changes nothing, and
    leaves an attempt within the bounds of `ledger.consents.note_attempt`.
    """
    redirect = read_redirect(query)
    with engine.begin() as connection:
        if isinstance(redirect, Verdict):
            _note(connection, None, redirect, now)
            return Received(redirect)
        consent = consents.find(connection, state_hash(redirect.state))
        weigh = partial(
            judge,
            redirect,
            application=application,
            credential_id=_credential_id(connection, consent),
            key=key,
            now=now,
        )
        verdict = weigh(consent)
        if consent is None or verdict is Verdict.UNKNOWN:
            _note(connection, None, verdict, now)
            return Received(verdict)
        if verdict in _STATUS and not _record(connection, consent, redirect, verdict, now):
            # Another answer to the same link came at the same moment, and was quicker.
            verdict = weigh(consents.find(connection, consent.state_hash))
        _note(connection, consent, verdict, now, redirect.error)
        after = consents.find(connection, consent.state_hash) or consent
    return Received(verdict, consent.tenant, after.status, after.answered_at, after.error)


def _record(
    connection: Connection, consent: Consent, redirect: Redirect, verdict: Verdict, now: datetime
) -> bool:
    """Tells whether it is the first answer, which alone counts."""
    first = consents.answer(
        connection,
        consent.consent_id,
        _STATUS[verdict],
        now,
        admin_tenant=redirect.admin_tenant,
        error=redirect.error,
    )
    if first and verdict is Verdict.GIVEN:
        onboarding.consented(connection, consent.application, consent.tenant, now)
    return first


def _credential_id(connection: Connection, consent: Consent | None) -> str | None:
    """What the tenant's credential is by now."""
    if consent is None:
        return None
    statement = (
        select(credentials.c.credential_id)
        .join(
            tenants,
            (tenants.c.application == credentials.c.application)
            & (tenants.c.provider == credentials.c.provider)
            & (tenants.c.credential == credentials.c.name),
        )
        .where(
            tenants.c.application == consent.application,
            tenants.c.tenant == consent.tenant,
            tenants.c.listed,
        )
    )
    return connection.execute(statement).scalar()


def _note(
    connection: Connection,
    consent: Consent | None,
    verdict: Verdict,
    now: datetime,
    error: OAuthError | None = None,
) -> None:
    consent_id = consent.consent_id if consent else None
    detail = bounded(f"{error.error} {error.error_description}", 300) if error else ""
    kept = consents.note_attempt(connection, consent_id, verdict, detail, now)
    if kept and consent is not None:
        _log.info("Consent %d of tenant %s: %s", consent_id, consent.tenant, verdict)
