"""The application's redirect URIs: where a consent may lead back to, compared byte for byte."""

from collections.abc import Iterable
from urllib.parse import urlsplit

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def checked(uris: Iterable[str]) -> tuple[str, ...]:
    """The URIs as they are registered; ValueError names the first that cannot be."""
    found = tuple(dict.fromkeys(uris))
    for uri in found:
        reason = _wrong_with(uri)
        if reason:
            raise ValueError(f"Not a redirect URI: {uri!r} {reason}.")
    return found


def _wrong_with(uri: str) -> str | None:
    # It ends up in a Location header, so nothing may be in it that a URI has to encode.
    if not uri.isascii() or not uri.isprintable() or " " in uri:
        return "has characters that a URI must encode"
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "is not an absolute http or https URI"
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        return "uses http, which is for this machine only"
    return "has a fragment" if "#" in uri else None
