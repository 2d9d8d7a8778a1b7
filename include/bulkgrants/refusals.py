"""The known errors with which Nylas, Google and Microsoft refuse a consent or a grant.

One table says for each error how it is recognised, what it means, whom it concerns, who has to act
and what they should do. All other code reads this table: `nylas` recognises answers by it, `apply`
and `propagation` act on it, and reports, pages and `docs/errors.md` show its sentences. Those
sentences never contain text from outside.

An error is recognised in this order, and within a step the first row that fits decides:

1. Microsoft's number (`AADSTS65001`), from the field `error_codes` or from anywhere in a text. If a
   redirect has several, the first one in its text decides.
2. The structured fields of an answer or a redirect, such as `error` or `error_code`.
3. The words in an answer's texts. A redirect's description is not searched for words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from re import Pattern


class Refusal(StrEnum):
    """Why a grant was refused. The ledger stores these words."""

    MAILBOX_UNKNOWN = "mailbox_unknown"
    """The provider does not know the mailbox, or has suspended it."""
    DELEGATION_MISSING = "delegation_missing"
    """The service account may not act for this domain, or not with all of these scopes."""
    SECRET_INVALID = "secret_invalid"  # noqa: S105 - the name of a reason
    """The provider does not accept the credential's key or secret."""
    CONSENT_MISSING = "consent_missing"
    """The tenant's admin has not consented, or has withdrawn the consent."""
    TENANT_MISCONFIGURED = "tenant_misconfigured"
    """The Azure app or the credential names a tenant in which Microsoft does not let it act."""
    GRANT_BLOCKED = "grant_blocked"
    """Nylas has blocked the grant (HTTP 423)."""
    NOT_SERVED = "not_served"
    """Neither Nylas nor the provider has answered for this mailbox for days."""
    OTHER = "other"
    """Any other reason; the message says more."""


LASTING = frozenset({Refusal.MAILBOX_UNKNOWN, Refusal.GRANT_BLOCKED})
"""Reasons that lie in the mailbox itself until a person acts; it is given up in the end."""


class Concerns(StrEnum):
    """Who would meet the same error."""

    MAILBOX = "mailbox"
    """Only this mailbox."""
    TENANT = "tenant"
    """Most likely every mailbox of the tenant."""
    APPLICATION = "application"
    """Every tenant of the Nylas application."""


class Actor(StrEnum):
    """Who has to act."""

    DECLINED = "declined"
    """The admin, who said no and may change their mind."""
    PASSING = "passing"
    """No one: the same call may succeed in a few minutes."""
    SETUP = "setup"
    """The team that runs the project: the Azure app, credential or settings must change."""
    ADMIN = "admin"
    """The customer's admin, in their tenant."""


class Seen(StrEnum):
    """Where an error occurs. Google and OAuth use some of the same names for different things."""

    ANYWHERE = "anywhere"
    CONSENT = "consent"
    """In the redirect after an admin followed a consent link."""
    GRANT = "grant"
    """In the answer to a custom authentication."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One way to recognise an error: by a name, by words, or by both together."""

    name: str = ""
    """The value of a structured field, or a word in the text; case does not matter."""
    words: Pattern[str] | None = None
    """A pattern that the texts must match as well."""


@dataclass(frozen=True, slots=True)
class KnownError:
    """One row of the table."""

    code: str
    """Its name in the ledger and the docs, such as `AADSTS65004`, `45002` or `access_denied`."""
    seen: Seen
    signs: tuple[Sign, ...]
    refusal: Refusal
    """What it means for a mailbox. A passing error is not a refusal: the call is retried."""
    concerns: Concerns
    actor: Actor
    meaning: str
    """One sentence."""
    remedy: str
    """What to change, where, and who does it."""

    @property
    def is_passing(self) -> bool:
        """Whether the same call may succeed a few minutes later."""
        return self.actor is Actor.PASSING


LINK_AGAIN = "have the tenant's admin open the same consent link again"
"""Only for what passes: every other answer uses the link up."""
NEW_LINK = "have the tenant's admin open a new consent link"
_UNSCOPED = (
    "Leave `consent_scopes` empty in the tenants table, so that the Azure app's own permissions "
    f"count, and {NEW_LINK}."
)
_DELEGATE = (
    "Have a super admin of the domain enter the service account's client ID with every scope, the "
    "three identity scopes among them, in Google's Admin console under Security, Access and data "
    "control, API controls, Manage domain wide delegation; a change takes up to 24 hours."
)
_DECLINED = (
    "The admin declined the consent.",
    (
        "Ask the tenant's admin what holds them back; once they agree, have them open a new "
        "consent link and accept."
    ),
)
_PASSING = (
    "The provider could not answer at that moment.",
    f"Wait a few minutes, then {LINK_AGAIN}; grants are tried again by later runs.",
)


def _rows(
    codes: str,
    actor: Actor,
    meaning: str,
    remedy: str,
    *,
    refusal: Refusal = Refusal.OTHER,
    concerns: Concerns = Concerns.TENANT,
    seen: Seen = Seen.ANYWHERE,
    signs: tuple[Sign, ...] = (),
) -> tuple[KnownError, ...]:
    """A row for each of these codes, which mean the same; by default a code is its own sign."""
    return tuple(
        KnownError(
            code, seen, signs or (Sign(code.lower()),), refusal, concerns, actor, meaning, remedy
        )
        for code in codes.split()
    )


def _consent(
    codes: str, actor: Actor, meaning: str, remedy: str, concerns: Concerns = Concerns.TENANT
) -> tuple[KnownError, ...]:
    return _rows(codes, actor, meaning, remedy, concerns=concerns, seen=Seen.CONSENT)


def _words(pattern: str) -> Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


MICROSOFT: tuple[KnownError, ...] = (
    *_rows(
        "AADSTS7000215 AADSTS70002",
        Actor.SETUP,
        "Microsoft does not accept the client secret.",
        "Put the secret's value, not its id, into the credential's Airflow connection and "
        "register the credential again; if the value is lost, first make a new client secret of "
        "the Azure app in the Azure portal.",
        refusal=Refusal.SECRET_INVALID,
    ),
    *_rows(
        "AADSTS7000222",
        Actor.SETUP,
        "The client secret has expired.",
        "Make a new client secret of the Azure app in the Azure portal, put its value, not its id, "
        "into the credential's Airflow connection, and register the credential again.",
        refusal=Refusal.SECRET_INVALID,
    ),
    *_rows(
        "AADSTS65001",
        Actor.ADMIN,
        "No admin of the tenant has consented to the Azure app, or the consent was withdrawn.",
        "Have an admin of the tenant open a new consent link and accept; "
        "after a fresh consent, wait until Microsoft acts on it.",
        refusal=Refusal.CONSENT_MISSING,
    ),
    *_rows("AADSTS65004", Actor.DECLINED, *_DECLINED, refusal=Refusal.CONSENT_MISSING),
    *_rows(
        "AADSTS90094",
        Actor.ADMIN,
        "Only an admin may consent to these permissions, and another account signed in.",
        "Have a person open a new consent link who may consent for the whole tenant.",
        refusal=Refusal.CONSENT_MISSING,
    ),
    *_rows(
        "AADSTS650052",
        Actor.ADMIN,
        "The Azure app asks for permissions of a service that the tenant does not have.",
        "Have the tenant's admin subscribe to that service; or remove its permissions from the "
        f"Azure app in the Azure portal, then {NEW_LINK}.",
        refusal=Refusal.CONSENT_MISSING,
    ),
    *_rows(
        "AADSTS650056 AADSTS650057",
        Actor.SETUP,
        "The Azure app's permissions do not cover what it asks for.",
        "In the Azure portal, list under the Azure app's API permissions every Microsoft Graph "
        f"application permission it needs, User.Read.All among them, then {NEW_LINK}.",
        refusal=Refusal.CONSENT_MISSING,
    ),
    *_rows(
        "AADSTS700016 AADSTS70001 AADSTS700011",
        Actor.ADMIN,
        "The Azure app is not in the tenant, or is disabled there.",
        "Have the tenant's admin open a new consent link and accept, or enable the app in the "
        "Azure portal under Enterprise applications; if it is there and enabled, "
        "correct the client id in the credential's Airflow connection.",
        refusal=Refusal.CONSENT_MISSING,
    ),
    *_rows(
        "AADSTS50194",
        Actor.SETUP,
        "The Azure app is for one tenant only, but the sign-in went to `common`.",
        "In the Azure portal, make the Azure app multi-tenant, so that it supports accounts in any "
        "organisation's directory; if it is meant for one tenant only, put that tenant's id into "
        "the credential's Airflow connection and register the credential again.",
        refusal=Refusal.TENANT_MISCONFIGURED,
    ),
    *_rows(
        "AADSTS90002",
        Actor.SETUP,
        "Microsoft does not know a tenant with the id that the credential names.",
        "Correct the tenant in the credential's Airflow connection, "
        "and register the credential again.",
        refusal=Refusal.TENANT_MISCONFIGURED,
    ),
    *_rows(
        "AADSTS9001023",
        Actor.SETUP,
        "The credential says `common`, but here Microsoft needs the tenant's id.",
        "Put the tenant's id into the credential's Airflow connection, "
        "and register the credential again.",
        refusal=Refusal.TENANT_MISCONFIGURED,
    ),
    *_rows(
        "AADSTS50020 AADSTS90072 AADSTS50034",
        Actor.ADMIN,
        "The account does not belong to the tenant in which Microsoft looks for it.",
        "For a consent, have an admin sign in at a new link with an account of that tenant; "
        "for a mailbox, correct its tenant in the roster.",
        refusal=Refusal.MAILBOX_UNKNOWN,
        concerns=Concerns.MAILBOX,
    ),
    *_rows(
        "AADSTS50011",
        Actor.SETUP,
        "The Azure app does not list the address to which Microsoft should send the admin.",
        "In the Azure portal, add https://api.us.nylas.com/v3/connect/callback (api.eu for the "
        f"EU) to the Azure app as a redirect URI of the platform Web, then {NEW_LINK}.",
    ),
    *_rows(
        "AADSTS50105",
        Actor.ADMIN,
        "The tenant lets only assigned users use the Azure app, and this one is not assigned.",
        "Have the tenant's admin assign the account to the app in the Azure portal under "
        "Enterprise applications, or no longer require an assignment there.",
    ),
    *_rows(
        "AADSTS53003",
        Actor.ADMIN,
        "A Conditional Access policy of the tenant blocked the admin's sign-in.",
        "Have the tenant's admin open a new consent link from a device and a place that the "
        "policy allows, or change the policy in the Azure portal.",
    ),
    *_rows(
        "AADSTS50076 AADSTS50079",
        Actor.ADMIN,
        "Microsoft asks the admin for multi-factor authentication, and it was not completed.",
        "Have the tenant's admin open a new consent link and complete it, "
        "after setting it up if the account does not have it yet.",
    ),
    *_rows(
        "AADSTS650051",
        Actor.PASSING,
        "Microsoft is still setting the Azure app up in the tenant, or already has the consent.",
        f"Wait a minute, then {LINK_AGAIN}; if the error persists, have them check in the Azure "
        "portal under Enterprise applications whether the app already has its permissions.",
    ),
    *_rows("AADSTS90006 AADSTS90024 AADSTS90012 AADSTS50087", Actor.PASSING, *_PASSING),
)
"""Error numbers of Microsoft's sign-in service, which occur with consents and with grants.

If an answer to a custom authentication has several, the first row decides, because a wrong secret
says more than the errors that follow from it.
"""

NYLAS: tuple[KnownError, ...] = (
    *_consent(
        "702",
        Actor.SETUP,
        "Nylas does not allow the application's client id.",
        "Correct the client id and the region in the application's Airflow connection, "
        "and make a new consent link.",
        Concerns.APPLICATION,
    ),
    *_consent(
        "25003",
        Actor.SETUP,
        "The Nylas application does not list the address to which Nylas should send the admin.",
        "Add the callback's address to the Nylas application's callback URIs, exactly as it is "
        f"in the consent link, then {NEW_LINK}.",
        Concerns.APPLICATION,
    ),
    *_consent("25016", Actor.SETUP, "The scopes given are not the ones asked for.", _UNSCOPED),
    *_consent(
        "45001 provider_code_request_failed",
        Actor.SETUP,
        "Microsoft gave Nylas no token, most often because the client secret is wrong.",
        "Put the secret's value, not its id, into the Airflow connections of the credential "
        "and of the connector, and register both again.",
    ),
    *_consent(
        "45002 oauth_failed",
        Actor.DECLINED,
        "The admin, or Microsoft, refused the sign-in.",
        "Ask the tenant's admin whether they declined; if they did not, "
        "ask Nylas' support what Microsoft answered.",
    ),
)
"""Nylas' numeric codes, and its names for the same errors in a redirect."""

OAUTH: tuple[KnownError, ...] = (
    *_consent("access_denied", Actor.DECLINED, *_DECLINED),
    *_consent(
        "consent_required",
        Actor.ADMIN,
        "The consent of an admin is still missing.",
        "Have an admin of the tenant open a new consent link and accept.",
    ),
    *_consent(
        "interaction_required login_required",
        Actor.ADMIN,
        "Microsoft wants the admin to sign in, or to confirm their identity in another way.",
        "Have the tenant's admin open a new consent link and complete every step "
        "that Microsoft asks for, on a device that the tenant's policies allow.",
    ),
    *_consent(
        "invalid_client invalid_grant",
        Actor.SETUP,
        "The provider does not accept the Azure app's client id or secret.",
        "Correct both in the credential's Airflow connection, the secret by its value and not "
        "its id, and register the credential again.",
    ),
    *_consent(
        "unauthorized_client",
        Actor.SETUP,
        "The Azure app may not ask this tenant for consent.",
        "Check the client id in the credential's Airflow connection, and in the Azure portal "
        "that the Azure app supports accounts in any organisation's directory.",
    ),
    *_consent(
        "invalid_request unsupported_response_type",
        Actor.SETUP,
        "The request for consent contradicts the Azure app or the credential.",
        "Check in the credential's Airflow connection that the tenant is the customer's id or "
        "`common`, leave `consent_scopes` empty with `common`, and make a new consent link.",
    ),
    *_consent(
        "invalid_scope invalid_resource",
        Actor.SETUP,
        "The consent link asks for scopes that Microsoft does not know for this Azure app.",
        _UNSCOPED,
    ),
    *_consent("server_error temporarily_unavailable", Actor.PASSING, *_PASSING),
)
"""Names of OAuth errors in a redirect."""


def _grant(
    code: str,
    signs: tuple[Sign, ...],
    refusal: Refusal,
    actor: Actor,
    meaning: str,
    remedy: str,
    concerns: Concerns = Concerns.TENANT,
) -> KnownError:
    return KnownError(code, Seen.GRANT, signs, refusal, concerns, actor, meaning, remedy)


BLOCKED = _grant(
    "HTTP 423",
    (),  # the status decides, not a name or a word
    Refusal.GRANT_BLOCKED,
    Actor.SETUP,
    "Nylas has blocked the grant.",
    "Ask Nylas' support to release it.",
    Concerns.MAILBOX,
)

NOT_SERVED = _grant(
    "not_served",
    (),  # no answer says so, but the days without one
    Refusal.NOT_SERVED,
    Actor.SETUP,
    "Every call for this mailbox has ended without an answer for days.",
    "Ask Nylas' support, quoting the request id in the message; the mailbox is tried again daily.",
    Concerns.MAILBOX,
)

GRANTS: tuple[KnownError, ...] = (
    BLOCKED,
    NOT_SERVED,
    _grant(
        "MailboxNotEnabledForRESTAPI",
        (Sign("mailboxnotenabledforrestapi"),),
        Refusal.MAILBOX_UNKNOWN,
        Actor.ADMIN,
        "The mailbox is inactive, deleted, or on the customer's own server.",
        "Have the tenant's admin restore the mailbox in Exchange Online or move it there, "
        "or take it off the roster.",
        Concerns.MAILBOX,
    ),
    *(
        _grant(
            code,
            (Sign(code.lower()),),
            Refusal.MAILBOX_UNKNOWN,
            Actor.ADMIN,
            "Microsoft does not know the mailbox's user.",
            "Correct the address in the roster, take it off, or have the tenant's admin restore "
            "the user in Microsoft Entra.",
            Concerns.MAILBOX,
        )
        for code in ("Request_ResourceNotFound", "ErrorInvalidUser", "ResourceNotFound")
    ),
    _grant(
        "Authorization_RequestDenied",
        (Sign("authorization_requestdenied"),),
        Refusal.CONSENT_MISSING,
        Actor.SETUP,
        "The Azure app lacks a permission in the tenant, such as User.Read.All.",
        "In the Azure portal, add the application permission to the Azure app, "
        f"then {NEW_LINK} and accept; after a fresh consent, wait until Microsoft acts on it.",
    ),
    _grant(
        "internal_failure",
        (Sign("internal_failure"), Sign(words=_words(r"\bbackend error\b"))),
        Refusal.OTHER,
        Actor.PASSING,
        *_PASSING,
    ),
    # Google says `invalid_grant` about the key and about the mailbox; the key is checked first.
    _grant(
        "invalid_grant: Invalid JWT",
        (Sign("invalid_grant", _words(r"\binvalid jwt\b")),),
        Refusal.SECRET_INVALID,
        Actor.SETUP,
        "Google does not accept the service account's key.",
        "Make a new key of the service account in Google Cloud, put it into the credential's "
        "Airflow connection, and register the credential again.",
    ),
    _grant(
        "invalid_client",
        (Sign("invalid_client"), Sign("disabled_client")),
        Refusal.SECRET_INVALID,
        Actor.SETUP,
        "The provider does not accept the credential's client, key or secret.",
        "Correct them in the credential's Airflow connection, enable the client at the provider "
        "if it is disabled, and register the credential again.",
    ),
    _grant(
        "unauthorized_client",
        (Sign("unauthorized_client"),),
        Refusal.DELEGATION_MISSING,
        Actor.ADMIN,
        "The service account may not act for this domain, or not with all of the scopes.",
        _DELEGATE,
    ),
    _grant(
        "access_denied",
        (Sign("access_denied"),),
        Refusal.DELEGATION_MISSING,
        Actor.ADMIN,
        "The service account may not act for this mailbox, or its user has never signed in.",
        _DELEGATE,
    ),
    _grant(
        "invalid_grant: Invalid email",
        (
            Sign("invalid_grant", _words(r"\b(?:e-?mail|user)\b")),
            Sign(words=_words(r"\bnot a valid email\b|\binvalid email\b|\bemail or user id\b")),
        ),
        Refusal.MAILBOX_UNKNOWN,
        Actor.ADMIN,
        "Google does not know the mailbox, or it is suspended.",
        "Have the tenant's admin restore the mailbox, or correct it in the roster, "
        "which takes the primary address, not an alias.",
        Concerns.MAILBOX,
    ),
    _grant(
        "invalid_grant",
        # with a number of Microsoft's that is not in the table, it may well concern the tenant
        (Sign("invalid_grant", re.compile(r"(?s)\A(?!.*AADSTS[0-9])", re.IGNORECASE)),),
        Refusal.OTHER,
        Actor.SETUP,
        "The provider does not let us sign in as this mailbox, for a reason not in the table.",
        "Check that the mailbox exists and is active at the provider; if it is, ask Nylas' "
        "support, quoting the request id that follows the provider's words.",
        Concerns.MAILBOX,
    ),
)
"""What Google, Microsoft Graph and Nylas say when custom authentication refuses a mailbox."""

UNKNOWN_CONSENT_ERROR = KnownError(
    "",
    Seen.CONSENT,
    (),
    Refusal.OTHER,
    Concerns.TENANT,
    Actor.SETUP,
    "The consent failed for a reason that is not in the table.",
    f"First, {NEW_LINK}; if it fails in the same way, look up the recorded error in "
    "Microsoft's list of AADSTS codes, or ask Nylas' support.",
)
UNKNOWN_REFUSAL = KnownError(
    "",
    Seen.GRANT,
    (),
    Refusal.OTHER,
    Concerns.TENANT,
    Actor.SETUP,
    "Custom authentication was refused for a reason that is not in the table.",
    "Read the provider's words in the message, and ask Nylas' support, quoting the request id "
    "that follows them.",
)

TABLE: tuple[KnownError, ...] = (*MICROSOFT, *NYLAS, *OAUTH, *GRANTS)
"""All known errors; reading from the top, the first row that fits decides."""
_NUMBERED = {one.code: one for one in MICROSOFT}
_NYLAS_CODES = {one.code: one for one in NYLAS}
_CONSENT_NAMES = {one.code: one for one in (*OAUTH, *NYLAS)}
_REASONS = {str(one): one for one in Refusal}
_REFUSALS = {one.code: one for one in (*MICROSOFT, *GRANTS)}

_LONGEST = 4096
_NUMBER = re.compile(r"AADSTS[0-9]{1,10}(?![0-9a-z])", re.IGNORECASE | re.ASCII)


def consent_error(*, error: str = "", description: str = "", code: str = "") -> KnownError:
    """The known error that a redirect's `error`, `error_description` and `error_code` report.

    Microsoft's number decides first, wherever it is, then Nylas' code, then the error's name.
    """
    for text in (error, description, code):
        for number in _numbers(_beginning(text)):
            if number in _NUMBERED:
                return _NUMBERED[number]
    name = _beginning(error).strip().lower()
    return (
        _NYLAS_CODES.get(_beginning(code).strip())
        or _CONSENT_NAMES.get(name)
        or UNKNOWN_CONSENT_ERROR
    )


def grant_error(*, names: Iterable[str], texts: Iterable[str]) -> KnownError:
    """The known error that the answer to a custom authentication reports.

    `names` are the values of the answer's structured fields; `texts` are all of its texts.
    """
    structured = frozenset(name.strip().lower() for name in names)
    text = " ".join(texts)
    numbers = frozenset(_numbers(" ".join((*structured, text))))
    for one in MICROSOFT:
        if one.code in numbers:
            return one
    for fits in (_fits_fields, _fits_text):
        for one in GRANTS:
            if any(fits(sign, structured, text) for sign in one.signs):
                return one
    return UNKNOWN_REFUSAL


def recorded_refusal(reason: str, code: str) -> KnownError:
    """The known error for the `Refusal` and the code that the ledger recorded.

    A code that this release does not know gets the sentences of an unknown refusal; a reason that
    it does not know becomes OTHER.
    """
    refusal = _REASONS.get(reason, Refusal.OTHER)
    return _REFUSALS.get(code) or replace(UNKNOWN_REFUSAL, code=code, refusal=refusal)


def _fits_fields(sign: Sign, structured: frozenset[str], text: str) -> bool:
    if not sign.name:
        return False
    return sign.name in structured and (sign.words is None or bool(sign.words.search(text)))


def _fits_text(sign: Sign, _structured: frozenset[str], text: str) -> bool:
    """Nylas' types contain dots: `grant.access_denied` is not the provider's `access_denied`."""
    named = not sign.name or re.search(
        rf"(?<![\w.]){re.escape(sign.name)}(?!\w|\.\w)", text, re.IGNORECASE
    )
    return bool(named) and (sign.words is None or bool(sign.words.search(text)))


def _numbers(text: str) -> list[str]:
    """Microsoft's numbers in a text, in its order."""
    return [number.upper() for number in _NUMBER.findall(text)]


def _beginning(text: str) -> str:
    """The part that is read. A number at its end is dropped: cut in two, it is another number."""
    return text if len(text) <= _LONGEST else text[:_LONGEST].rstrip("0123456789")
