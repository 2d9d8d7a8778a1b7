"""Explains a failed consent and a refused custom authentication: what it means, what to do.

Every answer is one of this room's own sentences; nothing that came from outside gets into it.
`docs/consent-errors.md` shows them all.
"""

from __future__ import annotations

import re

from bulkgrants.consent.consent_errors import AGAIN, MICROSOFT, NYLAS, OAUTH
from bulkgrants.consent.kinds import Explanation, Kind
from bulkgrants.consent.refusal_errors import REFUSALS

__all__ = ["GENERAL", "GENERAL_REFUSAL", "Explanation", "Kind", "explain", "explain_refusal"]

GENERAL = Explanation(
    "",
    Kind.SETUP,
    "The consent failed for a reason that is not in the table.",
    f"Once, {AGAIN}; if it fails as before, look the recorded error up in "
    "Microsoft's list of AADSTS codes, or ask Nylas' support.",
)
GENERAL_REFUSAL = Explanation(
    "",
    Kind.SETUP,
    "Custom authentication was refused for a reason that is not in the table.",
    "Read the provider's words in the attempt's message in the ledger, and ask Nylas' support "
    "with the request id beside them.",
)

_LONGEST = 4096
_NUMBER = re.compile(r"AADSTS[0-9]{1,10}(?![0-9a-z])", re.IGNORECASE | re.ASCII)
_WORD = re.compile(r"[a-z0-9_.]+")


def explain(*, error: str = "", description: str = "", code: str = "") -> Explanation:
    """What a failed redirect's `error`, `error_description` and `error_code` mean.

    Microsoft's AADSTS number decides first, wherever it stands, then Nylas' code, then the name of
    the error.
    """
    name = _beginning(error).strip().lower()
    return (
        _numbered(error, description, code)
        or NYLAS.get(_beginning(code).strip())
        or NYLAS.get(name)
        or OAUTH.get(name)
        or GENERAL
    )


def explain_refusal(message: str) -> Explanation:
    """What the message of a `Refused` of custom authentication means."""
    known = _numbered(message)
    if known is not None:
        return known
    # Nylas' own types have dots in them: `grant.access_denied` is not what a provider said.
    words = {word.strip(".") for word in _WORD.findall(_beginning(message).lower())}
    fitting = (sign for sign in REFUSALS if any(way <= words for way in sign.ways))
    sign = next(fitting, None)
    return GENERAL_REFUSAL if sign is None else sign.explanation


def _numbered(*texts: str) -> Explanation | None:
    """The first number in the texts that the table knows."""
    numbers = (number.upper() for text in texts for number in _NUMBER.findall(_beginning(text)))
    return next((MICROSOFT[number] for number in numbers if number in MICROSOFT), None)


def _beginning(text: str) -> str:
    """As much as is read, without a number that was cut in two and would mean another one."""
    return text if len(text) <= _LONGEST else text[:_LONGEST].rstrip("0123456789")
