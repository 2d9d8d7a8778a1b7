"""Makes the link with which a Microsoft admin consents, and the OAuth `state` in that link.

A state is 256 random bits, a signature over them and over what the link is for, and a check over
both. It has 110 characters; Nylas accepts 256. The check needs nothing but the key, so an answer to
a link that was never made is turned away before it costs anything. The ledger keeps only a state's
hash, so a person who reads the ledger cannot answer a consent, and a person who writes to it cannot
make a genuine state. A link leads to the consent screen (docs/nylas-api.md, Admin consent).
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
from bulkgrants.ledger import consents
from bulkgrants.ledger.database import Ledger
from bulkgrants.ledger.rights import writing
from bulkgrants.model import COMMON, Onboarding
from bulkgrants.text import bounded, is_loopback

RandomBytes = Callable[[int], bytes]
"""Returns the given number of random bytes, which cannot be guessed."""

RANDOM_BYTES = 32
APPLICATION_PERMISSIONS = "https://graph.microsoft.com/.default"
"""The scope that asks for all application permissions that the Azure app is configured for."""
_PURPOSE = b"bulkgrants: states of consents"
_KEY_ID = b"bulkgrants: id of the key"
_CHECK_BYTES = 16
_SHAPE = re.compile(
    r"(?P<drawn>[A-Za-z0-9_-]{43})\.(?P<signature>[A-Za-z0-9_-]{43})"
    r"(?:\.(?P<check>[A-Za-z0-9_-]{22}))?",  # older links have none
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Binding:
    """What a state is tied to by its signature."""

    application: str
    tenant: str
    credential_id: str
    redirect_uri: str
    expires_at: datetime


def state_key(api_key: str) -> bytes:
    """The key that signs states, derived from the application's API key.

    This way no further secret has to be kept. A change of the API key makes all earlier signatures
    invalid, so links that were sent before it have to be made again.
    """
    return hmac.new(api_key.encode(), _PURPOSE, hashlib.sha256).digest()


def key_id(key: bytes) -> str:
    """What the ledger keeps of a key from `state_key`, in hex, to see that it has changed."""
    return hmac.new(key, _KEY_ID, hashlib.sha256).hexdigest()


def make_state(binding: Binding, key: bytes, random_bytes: bytes) -> str:
    """A state, made from `RANDOM_BYTES` random bytes. Raises ValueError for any other number."""
    if len(random_bytes) != RANDOM_BYTES:
        raise ValueError(f"A state needs {RANDOM_BYTES} random bytes, not {len(random_bytes)}.")
    drawn = _text(random_bytes)
    signature = _signature(binding, key, drawn)
    return f"{drawn}.{signature}.{_check(drawn, signature, key)}"


def is_state(text: str) -> bool:
    """Whether the text has the form of a state; that does not show who made it."""
    return _SHAPE.fullmatch(text) is not None


def has_check(state: str) -> bool:
    """Whether the state has a check. Those of links that were sent before there was one do not."""
    parts = _SHAPE.fullmatch(state)
    return parts is not None and parts["check"] is not None


def passes_check(state: str, key: bytes) -> bool:
    """Whether the state has a check that was made with this key. Compares in constant time."""
    parts = _SHAPE.fullmatch(state)
    if parts is None or parts["check"] is None:
        return False
    check = _check(parts["drawn"], parts["signature"], key)
    return hmac.compare_digest(check, parts["check"])


def is_genuine(state: str, binding: Binding, key: bytes) -> bool:
    """Whether the state was made with this key for this binding. Compares in constant time."""
    parts = _SHAPE.fullmatch(state)
    if parts is None or (parts["check"] is not None and not passes_check(state, key)):
        return False
    # Compared as text: several texts can encode the same bytes, but only one is genuine.
    return hmac.compare_digest(_signature(binding, key, parts["drawn"]), parts["signature"])


def state_hash(state: str) -> str:
    """What the ledger keeps of a state: SHA-256, in hex.

    Unlike a password, 256 random bits cannot be guessed, so no salt and no slow hash is needed.
    """
    return hashlib.sha256(state.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Asker:
    """The application that asks for consents, and where the answers go."""

    application: str
    base_url: str
    """The address of the Nylas API, without a slash at its end."""
    redirect_uri: str
    key: bytes = field(repr=False)
    """The key that signs states; see `state_key`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A link for an admin. Its repr hides the link, since any holder can answer for the admin."""

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
    """Make a link with its own state; earlier links stay valid until they expire.

    The state itself is not stored, so if the process dies after this, the link is lost and the next
    run makes another one. Raises Misconfigured if the credential is not registered, Nylas would not
    accept the redirect URI, or the link may not ask for scopes; Superseded if another run holds the
    tenant.
    """
    redirect_uri = checked_redirect_uri(asker.redirect_uri)
    microsoft_tenant = onboarding.microsoft_tenant or COMMON
    expires_at = (now + link_lasts).replace(microsecond=0)
    with writing(ledger, onboarding.held_by(run_key), now) as write:
        credential_id = consents.current_credential_id(write, onboarding.credential)
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
        consent_id = consents.request_consent(
            write,
            credential_id=credential_id,
            microsoft_tenant=microsoft_tenant,
            redirect_uri=redirect_uri,
            state_hash=state_hash(state),
            expires_at=expires_at,
            key_id=key_id(asker.key),
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
    """The URL for the admin; `scopes`, separated by blanks, replace those of the Azure app.

    Without `scopes` the admin is asked for the permissions that the Azure app is configured for,
    because Microsoft reads other scopes in a link as *delegated* permissions, and bulk grants need
    application permissions. To a single tenant the link says so by its scope: Nylas' specification
    says that it takes the connector's scopes for a link without one. To `common` it names no scope,
    since Microsoft then always uses the app's (docs/nylas-api.md, Admin consent).

    Raises Misconfigured for scopes with `common`: there Microsoft uses only the app's permissions.
    """
    is_single = microsoft_tenant not in {"", COMMON}
    if scopes and not is_single:
        raise Misconfigured(
            "The consent link cannot ask for its own scopes if the tenant is `common`: "
            "Microsoft then grants what the Azure app is configured for. Leave `consent_scopes` "
            "empty, or write the customer's tenant id into `microsoft_tenant`."
        )
    scope = scopes or (APPLICATION_PERMISSIONS if is_single else "")
    query = {
        "client_id": client_id,
        "provider": "microsoft",
        "response_type": "adminconsent",
        "redirect_uri": redirect_uri,
        "credential_id": credential_id,
        "state": state,
        **({"scope": scope} if scope else {}),
    }
    return f"{base_url}/v3/connect/auth?{urlencode(query)}"


def checked_redirect_uri(uri: str) -> str:
    """The redirect URI if it can be used. Exactly the same text has to be registered at Nylas.

    Raises Misconfigured if it has a query or a fragment, or is not https. As at Nylas, http is
    allowed for this machine only.
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
            f"[bulkgrants] consent_redirect_uri is {bounded(uri, 80)!r}; set it to the public "
            "address of this Airflow followed by /bulkgrants/consent, such as "
            "https://…/bulkgrants/consent, and register the same address at Nylas as a callback "
            "URI."
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


def _check(drawn: str, signature: str, key: bytes) -> str:
    said = f"check of {drawn}.{signature}"  # unlike what `_signature` signs, it is not a JSON list
    return _text(hmac.new(key, said.encode(), hashlib.sha256).digest()[:_CHECK_BYTES])


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
