"""The bearer key of the application."""

from collections.abc import Iterable
from hmac import compare_digest


def is_authorized(headers: Iterable[tuple[bytes, bytes]], api_key: str) -> bool:
    """Whether the request carries the application's key."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            return scheme.lower() == b"bearer" and compare_digest(key.strip(), api_key.encode())
    return False
