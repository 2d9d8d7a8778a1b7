"""The OAuth `state` that ties a callback to the consent that was asked for.

A state is 256 random bits and a signature over them and over all that they stand for: 87 characters
of the 256 that Nylas takes (nylas-api.md §4). The ledger keeps nothing but its hash, so whoever
reads the ledger can answer no consent, and whoever writes to it can make no state that is genuine.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime

RANDOM_BYTES = 32
_PURPOSE = b"bulkgrants: states of consents"
_SHAPE = re.compile(r"([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Binding:
    """What a state stands for."""

    application: str
    tenant: str
    credential_id: str
    redirect_uri: str
    expires_at: datetime


def state_key(api_key: str) -> bytes:
    """The key that signs states, derived from the application's API key.

    It needs no secret of its own to keep. Another API key makes void what was signed before: the
    links that are on their way then have to be made anew.
    """
    return hmac.new(api_key.encode(), _PURPOSE, hashlib.sha256).digest()


def make_state(binding: Binding, key: bytes, chance: bytes) -> str:
    """A state, from `RANDOM_BYTES` random bytes. Raises ValueError for any other number of them."""
    if len(chance) != RANDOM_BYTES:
        raise ValueError(f"A state needs {RANDOM_BYTES} random bytes, not {len(chance)}.")
    drawn = _text(chance)
    return f"{drawn}.{_signature(binding, key, drawn)}"


def is_state(text: str) -> bool:
    """Whether the text has the form of a state; says nothing of whose it is."""
    return _SHAPE.fullmatch(text) is not None


def is_genuine(state: str, binding: Binding, key: bytes) -> bool:
    """Whether the state was made with this key for this binding; compared in constant time."""
    parts = _SHAPE.fullmatch(state)
    if parts is None:
        return False
    # Signed and compared as text: several texts stand for the same bytes, and one alone is genuine.
    return hmac.compare_digest(_signature(binding, key, parts[1]), parts[2])


def state_hash(state: str) -> str:
    """What the ledger keeps of a state: SHA-256, in hex.

    Unlike a password, 256 random bits need no salt and no slow hash to be beyond guessing.
    """
    return hashlib.sha256(state.encode()).hexdigest()


def _signature(binding: Binding, key: bytes, drawn: str) -> str:
    signed = [
        drawn,
        binding.application,
        binding.tenant,
        binding.credential_id,
        binding.redirect_uri,
        int(binding.expires_at.timestamp()),
    ]
    return _text(hmac.new(key, json.dumps(signed).encode(), hashlib.sha256).digest())


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
