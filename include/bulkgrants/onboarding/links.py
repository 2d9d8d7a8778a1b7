"""The link by which a Microsoft admin consents, and the OAuth `state` that ties the answer to it.

A state is 256 random bits, and a signature over them and over everything that they stand for: 87
characters of the 256 that Nylas takes. The ledger keeps only its hash, so a reader of the ledger
cannot answer a consent, and a writer to the ledger cannot make a genuine state. A link leads to the
consent screen (docs/nylas-api.md, Admin consent).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode, urlsplit

from bulkgrants.errors import Misconfigured
from bulkgrants.ledger import onboarding as records
from bulkgrants.ledger.database import Ledger
from bulkgrants.ledger.rights import writing
from bulkgrants.model import COMMON, Onboarding
from bulkgrants.text import bounded, is_loopback

RandomBytes = Callable[[int], bytes]
"""So many random bytes, beyond guessing."""

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

    So no further secret has to be kept. Another API key makes every earlier signature void: links
    that were sent before must then be made anew.
    """
    return hmac.new(api_key.encode(), _PURPOSE, hashlib.sha256).digest()


def make_state(binding: Binding, key: bytes, random_bytes: bytes) -> str:
    """A state, from `RANDOM_BYTES` random bytes. Raises ValueError for any other number of them."""
    if len(random_bytes) != RANDOM_BYTES:
        raise ValueError(f"A state needs {RANDOM_BYTES} random bytes, not {len(random_bytes)}.")
    drawn = _text(random_bytes)
    return f"{drawn}.{_signature(binding, key, drawn)}"


def is_state(text: str) -> bool:
    """Whether the text has the form of a state; anyone could have made it."""
    return _SHAPE.fullmatch(text) is not None


def is_genuine(state: str, binding: Binding, key: bytes) -> bool:
    """Whether the state was made with this key for this binding; compared in constant time."""
    parts = _SHAPE.fullmatch(state)
    if parts is None:
        return False
    # Signed and compared as text: several texts encode the same bytes, and only one is genuine.
    return hmac.compare_digest(_signature(binding, key, parts[1]), parts[2])


def state_hash(state: str) -> str:
    """What the ledger keeps of a state: SHA-256, in hex.

    Unlike a password, 256 random bits need no salt and no slow hash to be beyond guessing.
    """
    return hashlib.sha256(state.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Asker:
    """The application that asks for consents, and where the answers go."""

    application: str
    base_url: str
    """Of the Nylas API, without a slash at its end."""
    redirect_uri: str
    key: bytes = field(repr=False)
    """Signs states; see `state_key`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A link for an admin. Its repr hides the link, which lets its holder answer for the admin."""

    consent_id: int
    link: str = field(repr=False)
    expires_at: datetime


def ask(
    ledger: Ledger,
    asker: Asker,
    onboarding: Onboarding,
    link_lasts: timedelta,
    *,
    run_key: str,
    now: datetime,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> Asked:
    """Make a link with a state of its own; earlier links stay valid until they expire.

    The state itself is not stored: a process that dies after this has lost the link, and asks
    again. Raises Misconfigured for a credential that is not registered, a redirect URI that Nylas
    would not take, or scopes against the tenant rule; Superseded where another run holds the
    tenant.
    """
    redirect_uri = checked_redirect_uri(asker.redirect_uri)
    microsoft_tenant = onboarding.microsoft_tenant or COMMON
    expires_at = (now + link_lasts).replace(microsecond=0)
    with writing(ledger, onboarding.held_by(run_key), now) as write:
        credential_id = records.current_credential_id(write, onboarding.credential)
        if credential_id is None:
            raise Misconfigured(
                f"The credential '{onboarding.credential}' of the tenant {onboarding.tenant} is "
                "not registered at Nylas; run the task `register` of this tenant first."
            )
        binding = Binding(
            asker.application, onboarding.tenant, credential_id, redirect_uri, expires_at
        )
        state = make_state(binding, asker.key, random_bytes(RANDOM_BYTES))
        link = consent_link(
            base_url=asker.base_url,
            client_id=asker.application,
            credential_id=credential_id,
            redirect_uri=redirect_uri,
            state=state,
            microsoft_tenant=microsoft_tenant,
            scopes=onboarding.consent_scopes,
        )
        consent_id = records.request_consent(
            write,
            credential_id=credential_id,
            microsoft_tenant=microsoft_tenant,
            redirect_uri=redirect_uri,
            state_hash=state_hash(state),
            expires_at=expires_at,
        )
    return Asked(consent_id, link, expires_at)


def consent_link(
    *,
    base_url: str,
    client_id: str,
    credential_id: str,
    redirect_uri: str,
    state: str,
    microsoft_tenant: str = COMMON,
    scopes: str = "",
) -> str:
    """The URL for the admin; `scopes` overrides those of the Azure app, separated by blanks.

    Without `scopes` the admin is asked for what the Azure app is configured for. That is the
    default because Microsoft takes scopes in a link for *delegated* permissions, and bulk grants
    need application permissions (docs/nylas-api.md, Admin consent).

    Raises Misconfigured for scopes with `common`, where Microsoft uses only those of the app.
    """
    if scopes and microsoft_tenant in {"", COMMON}:
        raise Misconfigured(
            "The consent link cannot ask for scopes of its own while the tenant is `common`: "
            "Microsoft then grants what the Azure app is configured for. Leave `consent_scopes` "
            "empty, or write the customer's tenant id into `microsoft_tenant`."
        )
    query = {
        "client_id": client_id,
        "provider": "microsoft",
        "response_type": "adminconsent",
        "redirect_uri": redirect_uri,
        "credential_id": credential_id,
        "state": state,
        **({"scope": scopes} if scopes else {}),
    }
    return f"{base_url}/v3/connect/auth?{urlencode(query)}"


def checked_redirect_uri(uri: str) -> str:
    """The redirect URI as it must be registered at Nylas, letter for letter. Raises Misconfigured.

    It has no query and no fragment, and is https; http is allowed only for this machine, as at
    Nylas.
    """
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
        sound = bool(host) and parts.port != 0 and not (parts.query or parts.fragment)
    except ValueError:
        sound, host = False, ""
    secure = sound and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))
    if not secure or "@" in uri or uri != bounded(uri, 400) or not uri.isascii():
        raise Misconfigured(
            f"[bulkgrants] consent_redirect_uri is {bounded(uri, 80)!r}; write the public address "
            "of this Airflow with /bulkgrants/consent behind it, as https://…/bulkgrants/consent, "
            "and register the same address at Nylas as a callback URI."
        )
    return uri


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
