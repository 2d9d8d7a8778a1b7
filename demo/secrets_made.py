"""Secrets for one demo: made when it starts, kept in memory and environments, written nowhere."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

KeyFile = dict[str, str]


@dataclass(frozen=True, slots=True)
class Secrets:
    """Everything that must not be found again in anything the demo writes, and a password."""

    api_key: str = field(repr=False)
    oauth_secret: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    password: str = field(repr=False)
    """Of Airflow's user; it is shown, as it is for people."""
    key_files: Mapping[str, KeyFile] = field(repr=False)
    """Google service account keys, by the Airflow connection that holds each."""

    def traces(self) -> dict[str, list[bytes]]:
        """By secret, what gives it away: of a key every line, however its lines are joined."""
        found = {
            "the API key": [self.api_key],
            "the OAuth application's secret": [self.oauth_secret],
            "the secret that signs Airflow's tokens": [self.jwt_secret],
        }
        for conn_id, key_file in self.key_files.items():
            lines = key_file["private_key"].splitlines()
            found[f"the private key of {conn_id}"] = lines[1:-1]
        return {name: [text.encode() for text in texts] for name, texts in found.items()}


def make_secrets(google_conn_ids: Iterable[str]) -> Secrets:
    """New ones."""
    return Secrets(
        api_key=f"nyk_v0_{secrets.token_urlsafe(40)}",
        oauth_secret=secrets.token_urlsafe(32),
        jwt_secret=secrets.token_urlsafe(64),
        password=secrets.token_urlsafe(12),
        key_files={conn_id: _key_file(conn_id) for conn_id in google_conn_ids},
    )


def _key_file(conn_id: str) -> KeyFile:
    """A service account's key file, as Google Cloud hands it out."""
    project = conn_id.replace("_", "-")
    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "type": "service_account",
        "project_id": project,
        "private_key_id": secrets.token_hex(20),
        "private_key": pem.decode(),
        "client_email": f"bulkgrants@{project}.iam.gserviceaccount.com",
        "client_id": "".join(secrets.choice("0123456789") for _ in range(21)),
        "token_uri": "https://oauth2.googleapis.com/token",
    }
