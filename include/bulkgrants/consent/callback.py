"""What a redirect to the callback says, and what it is worth; decided without any I/O.

Everything in it is hostile until its state has proved to be ours, and bounded even then.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import parse_qsl

from bulkgrants.consent.states import Binding, is_genuine, is_state, state_hash
from bulkgrants.ledger.consents import Consent, ConsentStatus, OAuthError
from bulkgrants.text import bounded

LONGEST_QUERY = 8192
"""Characters; Microsoft's longest descriptions are some thousand."""
_MOST_PARAMETERS = 20
_LONGEST = {"error": 100, "error_code": 100, "error_description": 1000, "error_uri": 500}
_LONGEST_TENANT = 100


class Verdict(StrEnum):
    """What a redirect came to."""

    GIVEN = "given"
    REFUSED = "refused"
    REPEATED = "repeated"
    """It says what is recorded already: an admin who reloads the page."""
    MALFORMED = "malformed"
    """It is no redirect that Nylas would make."""
    TOO_LONG = "too_long"
    UNKNOWN = "unknown"
    """Its state was never made here, or is forged."""
    USED = "used"
    """Its state was answered before, and otherwise."""
    EXPIRED = "expired"
    MISMATCHED = "mismatched"
    """The answer is another organisation's, or for a credential that is no longer the tenant's."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect that can be read."""

    state: str
    error: OAuthError
    admin_consent: bool
    admin_tenant: str
    """The tenant id that Microsoft names, or empty; Nylas' own form has none."""


def read_redirect(query: str) -> Redirect | Verdict:
    """The redirect in a query string, or TOO_LONG or MALFORMED.

    Every parameter counts once; parameters that are not ours to read are ignored.
    """
    if len(query) > LONGEST_QUERY:
        return Verdict.TOO_LONG
    if not query.isascii():  # a browser encodes all else
        return Verdict.MALFORMED
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS
        )
    except ValueError:  # too many fields, or no UTF-8
        return Verdict.MALFORMED
    fields = dict(pairs)
    if len(fields) < len(pairs) or not is_state(fields.get("state", "")):
        return Verdict.MALFORMED
    error = OAuthError(
        **{name: bounded(fields.get(name, ""), limit) for name, limit in _LONGEST.items()}
    )
    for given, read in (("error", error.error), ("error_code", error.error_code)):
        if fields.get(given) and not read:  # an error without a printable letter is still no yes
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
    """What the redirect is worth for the consent whose state it carries.

    `application` is the one that this callback serves; `credential_id` is what the tenant's
    credential is by now. An error is looked for before the consent: Microsoft's own redirects have
    `admin_consent=True` beside `error` (nylas-api.md §4.1). A yes is a hint and no proof; what the
    provider really honours, the canary shows.
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
    if consent.credential_id != credential_id or not _is_their_tenant(redirect, consent):
        return Verdict.MISMATCHED
    return said


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
    """Whether the answer is of the organisation that was asked.

    Only two ids can be compared: the link may name a domain, and `common` is everybody.
    """
    asked = consent.microsoft_tenant
    return not (_is_id(asked) and _is_id(redirect.admin_tenant)) or asked == redirect.admin_tenant


def _is_id(tenant: str) -> bool:
    return len(tenant) == 36 and tenant.count("-") == 4  # noqa: PLR2004 - the form of a GUID
