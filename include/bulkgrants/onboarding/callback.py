"""Receives the redirect of an admin who has answered, judges it without I/O, and records it.

Nothing in a redirect is trusted until its state has proved to be genuine. Its texts are bounded
even then.
"""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from urllib.parse import parse_qsl

from bulkgrants.ledger import consents, onboarding
from bulkgrants.ledger.database import Ledger
from bulkgrants.ledger.rights import Answering, answering
from bulkgrants.ledger.tenants import lock_tenants
from bulkgrants.model import Consent, ConsentStatus, OAuthError
from bulkgrants.onboarding.links import (
    Binding,
    has_check,
    is_genuine,
    is_state,
    passes_check,
    state_hash,
)
from bulkgrants.redaction import redacted
from bulkgrants.text import bounded, is_guid

_log = logging.getLogger(__name__)

LONGEST_QUERY = 8192
"""Characters; Microsoft's longest descriptions have a few thousand."""
_MOST_PARAMETERS = 20
_LONGEST = {"error": 100, "error_code": 100, "error_description": 1000, "error_uri": 500}
_LONGEST_TENANT = 100


class Verdict(StrEnum):
    """What the callback makes of a redirect."""

    GIVEN = "given"
    REFUSED = "refused"
    REPEATED = "repeated"
    """It says what is already recorded, as when an admin reloads the page."""
    MALFORMED = "malformed"
    """Nylas would not send such a redirect."""
    TOO_LONG = "too_long"
    UNKNOWN = "unknown"
    """Its state was not made by this application, or is forged."""
    USED = "used"
    """The same link was answered before, in another way."""
    EXPIRED = "expired"
    STALE = "stale"
    """The tenant has another credential since the link was made, or is no longer listed."""
    MISMATCHED = "mismatched"
    """Another organisation answered. The link stays open for the right one."""
    PASSING = "passing"
    """Microsoft could not answer just then. The link stays open, so that it can be tried again."""


_STATUS = {Verdict.GIVEN: ConsentStatus.GIVEN, Verdict.REFUSED: ConsentStatus.REFUSED}
_COMPARED = frozenset({Verdict.REFUSED, Verdict.REPEATED, Verdict.USED})
"""The verdicts that depend on whether a yes is in force."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect that could be read."""

    state: str = field(repr=False)
    error: OAuthError
    admin_consent: bool
    admin_tenant: str
    """Microsoft's id of the tenant; empty in redirects of Nylas' own form."""


@dataclass(frozen=True, slots=True)
class Received:
    """The verdict on a redirect, and what the page may show of it."""

    verdict: Verdict
    tenant: str = ""
    """Whose consent it is; empty unless the state is genuine."""
    status: ConsentStatus | None = None
    """The consent's status now that the redirect is recorded."""
    answered_at: datetime | None = None
    error: OAuthError = OAuthError()  # noqa: RUF009 - frozen


def receive(ledger: Ledger, query: str, *, application: str, key: bytes, now: datetime) -> Received:
    """Judge a redirect by its query string, and record the result.

    The first valid answer is recorded in one transaction with its consequences for the tenant, so
    an admin may reload a page that did not load. Any other redirect changes nothing; it is only
    noted, within the limits of `ledger.consents.note_attempt`. A redirect that cannot be read, or
    whose state was not made with the key, does not reach the ledger at all. Raises Unavailable if
    the ledger keeps the admin waiting.
    """
    redirect = read_redirect(query)
    if isinstance(redirect, Verdict):
        return Received(redirect)
    if has_check(redirect.state) and not passes_check(redirect.state, key):
        return Received(Verdict.UNKNOWN)
    with answering(ledger) as connection:
        consent = consents.find_consent(connection, state_hash(redirect.state))
        weigh = partial(
            judge,
            redirect,
            application=application,
            credential_id=(
                consents.credential_id_of_tenant(connection, consent) if consent else None
            ),
            key=key,
            now=now,
        )
        verdict = weigh(consent)
        if consent is None or verdict is Verdict.UNKNOWN:
            _note(connection, None, verdict, now)
            return Received(verdict)
        if verdict in _STATUS:
            # the tenant before its consents, in the order in which new settings are recorded
            lock_tenants(connection, consent.application, [consent.tenant])
        yes = consents.given_consent(connection, consent) if verdict in _COMPARED else None
        if yes is not None:  # it may be by another link; a no to this one does not undo it
            verdict = weigh(replace(consent, status=yes.status))
        if verdict in _STATUS and not _record(connection, consent, redirect, verdict, now):
            # Another answer to the same link came at the same moment and was recorded first.
            verdict = weigh(consents.find_consent(connection, consent.state_hash))
        _note(connection, consent, verdict, now, redirect.error)
        after = yes or consents.find_consent(connection, consent.state_hash) or consent
    return Received(verdict, consent.tenant, after.status, after.answered_at, after.error)


def _record(
    connection: Answering, consent: Consent, redirect: Redirect, verdict: Verdict, now: datetime
) -> bool:
    """Record the answer; returns whether it is the first one, since only the first counts."""
    first = consents.answer_consent(
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


def _note(
    connection: Answering,
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


def read_redirect(query: str) -> Redirect | Verdict:
    """The redirect in a query string, or TOO_LONG or MALFORMED.

    Every parameter may occur once; unknown parameters are ignored.
    """
    if len(query) > LONGEST_QUERY:
        return Verdict.TOO_LONG
    if not query.isascii():  # a browser encodes all other characters
        return Verdict.MALFORMED
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS
        )
    except ValueError:  # too many fields, or not UTF-8
        return Verdict.MALFORMED
    fields = dict(pairs)
    if len(fields) < len(pairs) or not is_state(fields.get("state", "")):
        return Verdict.MALFORMED
    error = OAuthError(
        **{name: redacted(fields.get(name, ""), (), limit) for name, limit in _LONGEST.items()}
    )
    for given, read in (("error", error.error), ("error_code", error.error_code)):
        if fields.get(given) and not read:  # an unprintable error must not be read as a yes
            return Verdict.MALFORMED
    return Redirect(
        state=fields["state"],
        error=error,
        admin_consent=fields.get("admin_consent", "").lower() == "true",
        admin_tenant=bounded(fields.get("tenant", ""), _LONGEST_TENANT).lower(),
    )


def judge(
    redirect: Redirect,
    consent: Consent | None,
    *,
    application: str,
    credential_id: str | None,
    key: bytes,
    now: datetime,
) -> Verdict:
    """The verdict on the redirect, given the consent that its state belongs to.

    `application` is the one that this callback serves; `credential_id` is the tenant's current one.
    An error counts even beside a yes: Microsoft's own redirects have both `error` and
    `admin_consent=True` (docs/nylas-api.md, Admin consent). A yes is not a proof; the canary shows
    what the provider really honours.
    """
    if consent is None or not _is_ours(redirect, consent, application, key):
        return Verdict.UNKNOWN
    said = _said(redirect)
    if said is None:
        return Verdict.MALFORMED
    if consent.status in {ConsentStatus.GIVEN, ConsentStatus.LOST, ConsentStatus.REFUSED}:
        before = Verdict.REFUSED if consent.status is ConsentStatus.REFUSED else Verdict.GIVEN
        return Verdict.REPEATED if said is before else Verdict.USED
    if consent.status is ConsentStatus.EXPIRED or consent.expires_at <= now:
        return Verdict.EXPIRED
    if consent.credential_id != credential_id:
        return Verdict.STALE
    if not _is_their_tenant(redirect, consent):
        return Verdict.MISMATCHED
    is_passing = said is Verdict.REFUSED and redirect.error.known.is_passing
    return Verdict.PASSING if is_passing else said


def _is_ours(redirect: Redirect, consent: Consent, application: str, key: bytes) -> bool:
    binding = Binding(
        application=application,
        tenant=consent.tenant,
        credential_id=consent.credential_id,
        redirect_uri=consent.redirect_uri,
        expires_at=consent.expires_at,
    )
    found = hmac.compare_digest(consent.state_hash, state_hash(redirect.state))
    return found and consent.application == application and is_genuine(redirect.state, binding, key)


def _said(redirect: Redirect) -> Verdict | None:
    if redirect.error.error or redirect.error.error_code:
        return Verdict.REFUSED
    return Verdict.GIVEN if redirect.admin_consent else None


def _is_their_tenant(redirect: Redirect, consent: Consent) -> bool:
    """Whether the organisation that was asked has answered.

    It is assumed unless two ids differ: the link may name a domain instead of an id, or `common`,
    which is any organisation.
    """
    asked = consent.microsoft_tenant
    return not (is_guid(asked) and is_guid(redirect.admin_tenant)) or asked == redirect.admin_tenant
