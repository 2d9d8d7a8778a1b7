"""Reads and checks a credential's secret, and recognises it again without storing it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from bulkgrants.errors import Misconfigured
from bulkgrants.model import COMMON
from bulkgrants.nylas.calls import Json, JsonObject
from bulkgrants.text import read_json

_PURPOSE = b"bulkgrants: fingerprints of credentials"

_Text = Annotated[str, Field(strict=True, min_length=1)]
_OptionalText = Annotated[
    str | None, BeforeValidator(lambda value: value if isinstance(value, str) else None)
]


class _KeyFile(BaseModel):
    """The fields of a key file that Nylas documents; others in the file are not sent."""

    type: Literal["service_account"]
    private_key_id: _Text
    # Environment variables and some secrets backends write a line end as two characters, \ and n.
    private_key: Annotated[_Text, AfterValidator(lambda pem: pem.replace("\\n", "\n"))]
    client_email: _Text
    project_id: _OptionalText = None
    client_id: _OptionalText = None
    auth_uri: _OptionalText = None
    token_uri: _OptionalText = None
    auth_provider_x509_cert_url: _OptionalText = None
    client_x509_cert_url: _OptionalText = None


@dataclass(frozen=True, slots=True)
class ServiceAccountKey:
    """A Google service account's key file that has been checked. Its repr does not show it."""

    credential_data: Mapping[str, str] = field(repr=False)
    """What is sent to Nylas."""


@dataclass(frozen=True, slots=True)
class OAuthApp:
    """An OAuth app at the provider, for a connector or an `adminconsent` credential."""

    client_id: str
    client_secret: str = field(repr=False)
    tenant: str | None = None
    """Microsoft's tenant id or `common`; None for Google."""


def service_account_key(value: Json, *, connection: str) -> ServiceAccountKey:
    """The key in a key file; `value` is a JSON object, or its text.

    `connection` is the id of the Airflow connection that holds it. Raises Misconfigured; the
    message names the connection and what is wrong with the file, but shows nothing of its contents.
    """
    try:
        key_file = _KeyFile.model_validate(read_json(value) if isinstance(value, str) else value)
    except ValidationError as error:
        where = error.errors(include_input=False, include_url=False)[0]["loc"]
        if not where:
            raise _unusable(connection, "it is not a JSON object") from None
        if where[0] == "type":
            raise _unusable(connection, "its `type` is not `service_account`") from None
        raise _unusable(connection, f"it has no `{where[0]}`") from None
    except ValueError:
        raise _unusable(connection, "it is not a JSON object") from None
    if not _is_rsa_key(key_file.private_key):
        raise _unusable(connection, "its `private_key` is not an RSA key in PEM form")
    return ServiceAccountKey(key_file.model_dump(exclude_none=True))


def admin_consent_data(app: OAuthApp | None, microsoft_tenant: str) -> Mapping[str, str]:
    """The contents of an `adminconsent` credential.

    Without an OAuth app of its own it uses the connector's. The tenant comes from the tenants table
    or, if it has none there, from the app. If neither has one, it is `common`, to which any
    organisation can consent.
    """
    tenant = microsoft_tenant or (app.tenant if app else None) or COMMON
    own = {"client_id": app.client_id, "client_secret": app.client_secret} if app else {}
    return {**own, "tenant": tenant.lower()}


def _is_rsa_key(pem: str) -> bool:
    try:
        return isinstance(load_pem_private_key(pem.encode(), password=None), RSAPrivateKey)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _unusable(connection: str, why: str) -> Misconfigured:
    return Misconfigured(
        f"The Google service account key in the Airflow connection '{connection}' cannot be used: "
        f"{why}. Put the whole key file from Google Cloud into its extra as `keyfile_dict`."
    )


def fingerprint_key(api_key: str) -> bytes:
    """The key for `fingerprint`, derived from the application's API key.

    This way no further secret has to be kept. After a change of the API key no fingerprint matches,
    so each credential is rotated once, to the secret that it already has, which changes nothing.
    """
    return hmac.new(api_key.encode(), _PURPOSE, hashlib.sha256).digest()


def fingerprint(secret: JsonObject, key: bytes) -> str:
    """What the ledger keeps of a secret to notice that it has changed: HMAC-SHA-256, in hex.

    It is keyed, so that a stolen ledger cannot be used to test guesses: with a plain hash, a person
    with a list of leaked secrets could find out which of them is in use.
    """
    text = json.dumps(secret, sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
