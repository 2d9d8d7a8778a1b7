"""What providers' refusals of custom authentication mean where they carry no AADSTS number."""

from __future__ import annotations

from dataclasses import dataclass

from bulkgrants.consent.consent_errors import AGAIN, PASSING
from bulkgrants.consent.kinds import Explanation, Kind

_DELEGATE = (
    "Have a super admin of the domain enter the service account's client ID with every scope, the "
    "three identity scopes among them, in Google's Admin console under Security, Access and data "
    "control, API controls, Manage domain wide delegation; a change takes up to 24 hours."
)


@dataclass(frozen=True, slots=True)
class Sign:
    """How a refusal is known, and what it means."""

    ways: tuple[frozenset[str], ...]
    """Sets of words in lower case; all words of one set stand in the text, in whatever order."""
    explanation: Explanation


def _sign(code: str, ways: str, kind: Kind, meaning: str, remedy: str) -> Sign:
    return Sign(
        tuple(frozenset(way.split()) for way in ways.split(",")),
        Explanation(code, kind, meaning, remedy),
    )


REFUSALS = (
    _sign(
        "MailboxNotEnabledForRESTAPI",
        "mailboxnotenabledforrestapi",
        Kind.ADMIN,
        "The mailbox is inactive, deleted, or on a server of the customer's own.",
        "Have the tenant's admin restore the mailbox in Exchange Online, or move it there; "
        "otherwise take it off the roster.",
    ),
    _sign(
        "Authorization_RequestDenied",
        "authorization_requestdenied",
        Kind.SETUP,
        "The Azure app lacks a permission in the tenant, such as User.Read.All.",
        "In the Azure portal, add the application permission to the Azure app, "
        f"then {AGAIN} and accept; after a fresh consent, wait until Microsoft acts on it.",
    ),
    _sign("internal_failure", "internal_failure,backend error", *PASSING),
    _sign(
        "invalid_grant: Invalid JWT",
        "invalid_grant jwt",
        Kind.SETUP,
        "Google does not accept the service account's key.",
        "Make a new key of the service account in Google Cloud, put it into the credential's "
        "Airflow connection, and register the credential again.",
    ),
    _sign(
        "invalid_client",
        "invalid_client,disabled_client",
        Kind.SETUP,
        "The provider does not accept the credential's client, or its key or secret.",
        "Correct them in the credential's Airflow connection, enable the client at the provider "
        "where it is disabled, and register the credential again.",
    ),
    _sign(
        "unauthorized_client",
        "unauthorized_client",
        Kind.ADMIN,
        "The service account may not act for this domain, or not with one of the scopes.",
        _DELEGATE,
    ),
    _sign(
        "access_denied",
        "access_denied",
        Kind.ADMIN,
        "The service account may not act for this mailbox, or nobody ever signed in to it.",
        _DELEGATE,
    ),
    _sign(
        "invalid_grant: Invalid email",
        "invalid_grant email,invalid_grant user,valid email,invalid email",
        Kind.ADMIN,
        "Google knows no such mailbox, or it is suspended.",
        "Have the tenant's admin restore the mailbox, or correct it in the roster, "
        "which takes the primary address and no alias.",
    ),
    _sign(
        "HTTP 423",
        "http 423",
        Kind.SETUP,
        "Nylas has blocked the grant.",
        "Ask Nylas' support to release it.",
    ),
)
"""From the top; the first that fits decides."""
