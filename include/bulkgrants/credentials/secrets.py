"""A credential's secret: read, checked, shown to nobody, and recognised without being stored."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bulkgrants.errors import Misconfigured
from bulkgrants.nylas.wire import Json, JsonObject, decode

_PURPOSE = b"bulkgrants: fingerprints of credentials"
_REQUIRED = ("private_key_id", "private_key", "client_email")
_KEY_FILE_FIELDS = (
    "type",
    "project_id",
    "private_key_id",
    "private_key",
    "client_email",
    "client_id",
    "auth_uri",
    "token_uri",
    "auth_provider_x509_cert_url",
    "client_x509_cert_url",
)
"""What Nylas documents; anything else in the file stays here."""


@dataclass(frozen=True, slots=True)
class ServiceAccountKey:
    """A Google service account's key file, checked. Its repr shows nothing of it."""

    credential_data: Mapping[str, str] = field(repr=False)
    """What is sent to Nylas."""


@dataclass(frozen=True, slots=True)
class OAuthApp:
    """An OAuth application at the provider: a connector or an `adminconsent` credential uses it."""

    client_id: str
    client_secret: str = field(repr=False)
    tenant: str | None = None
    """Microsoft's tenant id or `common`; None for Google."""


def service_account_key(value: Json, *, connection: str) -> ServiceAccountKey:
    """The key in a key file, given as a JSON object or as its text.

    `connection` is the id of the Airflow connection that holds it. Raises Misconfigured, which
    names that connection and what is wrong with the file, and nothing of its content.
    """
    data = decode(value.encode()) if isinstance(value, str) else value
    if not isinstance(data, dict):
        raise _unusable(connection, "it is no JSON object")
    if data.get("type") != "service_account":
        raise _unusable(connection, "its `type` is not `service_account`")
    for name in _REQUIRED:
        if not isinstance(data.get(name), str) or not data[name]:
            raise _unusable(connection, f"it has no `{name}`")
    fields = {name: text for name in _KEY_FILE_FIELDS if isinstance(text := data.get(name), str)}
    # Environment variables and some secrets backends keep the line ends as two characters.
    fields["private_key"] = fields["private_key"].replace("\\n", "\n")
    if not _is_rsa_key(fields["private_key"]):
        raise _unusable(connection, "its `private_key` is no RSA key in PEM form")
    return ServiceAccountKey(fields)


def admin_consent_data(app: OAuthApp | None, microsoft_tenant: str) -> Mapping[str, str]:
    """What an `adminconsent` credential consists of.

    Without an application of its own it uses the connector's. The tenant is the one of the tenants
    table, else the application's own, else `common`: what any organisation can consent to.
    """
    tenant = microsoft_tenant or (app.tenant if app else None) or "common"
    own = {"client_id": app.client_id, "client_secret": app.client_secret} if app else {}
    return {**own, "tenant": tenant.lower()}


def _is_rsa_key(pem: str) -> bool:
    try:
        return isinstance(load_pem_private_key(pem.encode(), password=None), RSAPrivateKey)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _unusable(connection: str, why: str) -> Misconfigured:
    return Misconfigured(
        f"The Airflow connection '{connection}' holds no usable Google service account key: {why}. "
        "Put the whole key file, as Google Cloud gave it, into its extra under `keyfile_dict`."
    )


def fingerprint_key(api_key: str) -> bytes:
    """The key for `fingerprint`, derived from the application's API key.

    It needs no secret of its own to keep. Another API key makes every fingerprint unknown, and each
    credential is then rotated once to the secret it already has, which changes nothing.
    """
    return hmac.new(api_key.encode(), _PURPOSE, hashlib.sha256).digest()


def fingerprint(secret: JsonObject, key: bytes) -> str:
    """What the ledger keeps of a secret to see that it has changed: HMAC-SHA-256, in hex.

    It is keyed, so that a ledger in the wrong hands confirms no guess: whoever has a list of leaked
    secrets cannot find out from a plain hash which of them is in use.
    """
    text = json.dumps(secret, sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
