"""What a stand-in is told when it starts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Config:
    """The fixed part of a stand-in: the control plane can change everything else.

    Raises ValueError if a redirect URI cannot be registered.
    """

    api_key: str = field(default="standin-key", repr=False)
    client_id: str = "standin-application"
    seed: int = 1
    """The seed of all generators of ids: the same calls make the same ids."""
    seed_grants: int = 0
    """The number of grants that exist at the start, and again after every reset."""
    redirect_uris: tuple[str, ...] = ()
    """The URIs to which the application may send a browser back."""

    def __post_init__(self) -> None:
        checked_redirect_uris(self.redirect_uris)


def checked_redirect_uris(uris: Iterable[str]) -> tuple[str, ...]:
    """The URIs without repetitions, to be compared byte for byte.

    Raises ValueError, which names the first URI that cannot be registered.
    """
    found = tuple(dict.fromkeys(uris))
    for uri in found:
        reason = _wrong_with(uri)
        if reason:
            raise ValueError(f"Not a redirect URI: {uri!r} {reason}.")
    return found


def _wrong_with(uri: str) -> str | None:
    # The URI is sent in a Location header, so it must not need any encoding.
    if not uri.isascii() or not uri.isprintable() or " " in uri:
        return "has characters that a URI must encode"
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "is not an absolute http or https URI"
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        return "uses http, which is for this machine only"
    return "has a fragment" if "#" in uri else None
