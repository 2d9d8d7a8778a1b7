"""What providers mean by their errors: one table from their words to a reason.

A provider's error reaches us as text or nested JSON of changing shape, so its texts are joined and
matched against the table from the top; the first row that fits decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bulkgrants.errors import Refusal


@dataclass(frozen=True, slots=True)
class Transient:
    """The provider itself says that the same call may succeed later."""


Reason = Refusal | Transient

TRANSIENT = Transient()


def _row(pattern: str, reason: Reason) -> tuple[re.Pattern[str], Reason]:
    return re.compile(pattern, re.IGNORECASE), reason


def _aadsts(codes: str, reason: Reason) -> tuple[re.Pattern[str], Reason]:
    return _row(rf"\bAADSTS({codes})\b", reason)


_TABLE: tuple[tuple[re.Pattern[str], Reason], ...] = (
    # Microsoft's sign-in service: the number decides, whatever OAuth error stands beside it.
    _aadsts("7000222|7000215|70002", Refusal.SECRET_INVALID),
    _aadsts("65001|65004|90094|700016|70001|700011|650052|650056|650057", Refusal.CONSENT_MISSING),
    _aadsts("90002|9001023|50194", Refusal.TENANT_MISCONFIGURED),
    _aadsts("50020|90072|50034", Refusal.MAILBOX_UNKNOWN),
    _aadsts("90006|90024|90012|50087|650051", TRANSIENT),
    # Microsoft Graph.
    _row(r"\bMailboxNotEnabledForRESTAPI\b", Refusal.MAILBOX_UNKNOWN),
    _row(r"\bAuthorization_RequestDenied\b", Refusal.CONSENT_MISSING),
    # Google's token endpoint. The key is judged before the mailbox: both say `invalid_grant`.
    _row(r"\binternal_failure\b|\bbackend error\b", TRANSIENT),
    _row(r"\binvalid_grant\b.*\binvalid jwt\b", Refusal.SECRET_INVALID),
    _row(r"\binvalid jwt\b.*\binvalid_grant\b", Refusal.SECRET_INVALID),
    _row(r"\binvalid_client\b|\bdisabled_client\b", Refusal.SECRET_INVALID),
    _row(r"\bunauthorized_client\b|\baccess_denied\b", Refusal.DELEGATION_MISSING),
    _row(r"\bnot a valid email\b|\binvalid email\b|\bemail or user id\b", Refusal.MAILBOX_UNKNOWN),
    _row(r"\binvalid_grant\b.*\b(e-?mail|user)\b", Refusal.MAILBOX_UNKNOWN),
)


def reason_in(text: str) -> Reason | None:
    """What a provider's error means, or None where the table does not know it."""
    return next((reason for pattern, reason in _TABLE if pattern.search(text)), None)
