"""Throw-away private keys and Google key files, for tests, the demo and the benchmarks."""

from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def private_key(key_id: str = "key-1") -> str:  # noqa: ARG001 - the cache reads it
    """The RSA key of this id as PEM text, the same one for as long as the process lives.

    A program makes few keys on purpose: each takes about a tenth of a second.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def google_key_file(
    project: str = "acme", *, account: str = "robot", key_id: str = "key-1"
) -> dict[str, str]:
    """The contents of a service account's key file, as far as the Nylas API requires them."""
    return {
        "type": "service_account",
        "project_id": project,
        "private_key_id": key_id,
        "private_key": private_key(key_id),
        "client_email": f"{account}@{project}.iam.gserviceaccount.com",
    }
