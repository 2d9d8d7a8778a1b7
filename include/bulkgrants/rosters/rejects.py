"""Why a roster row cannot be an entry: stable words for SQL, sentences for analysts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bulkgrants.text import bounded

_QUOTED = 80


class RejectReason(StrEnum):
    """The reasons, as the ledger's table `rejects` and `docs/roster.md` name them."""

    EMPTY_TENANT = "empty_tenant"
    UNKNOWN_TENANT = "unknown_tenant"
    EMPTY_EMAIL = "empty_email"
    BAD_ADDRESS = "bad_address"
    NOT_TEXT = "not_text"
    PROVIDER_MISMATCH = "provider_mismatch"
    UNKNOWN_CREDENTIAL = "unknown_credential"
    SCOPES_NOT_ALLOWED = "scopes_not_allowed"
    UNREADABLE_SCOPES = "unreadable_scopes"
    DUPLICATE = "duplicate"
    CONFLICTING_DUPLICATE = "conflicting_duplicate"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a row, and what the analyst should change."""

    reason: RejectReason
    sentence: str


def quoted(text: str) -> str:
    """Text of a cell for a sentence: in quotes, printable, bounded."""
    return f'"{bounded(text, _QUOTED)}"'
