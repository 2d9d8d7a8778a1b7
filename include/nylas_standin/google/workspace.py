"""Google's side: keys of service accounts, delegated scopes, mailboxes and refresh tokens."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from nylas_standin.world.records import IDENTITY_SCOPES, Credential, ProviderFailure


def _oauth(
    status: int, error: str, description: str, *, transient: bool = False
) -> ProviderFailure:
    answer = {"error": error, "error_description": description}
    return ProviderFailure(status, {**answer}, transient)


FAILURES: dict[str, ProviderFailure] = {
    "unknown_mailbox": _oauth(400, "invalid_grant", "Invalid email or User ID"),
    "not_a_valid_email": _oauth(400, "invalid_grant", "Not a valid email"),
    "invalid_jwt": _oauth(400, "invalid_grant", "Invalid JWT: Failed audience check"),
    "invalid_jwt_signature": _oauth(400, "invalid_grant", "Invalid JWT Signature."),
    "unauthorized_client": _oauth(
        401,
        "unauthorized_client",
        "Client is unauthorized to retrieve access tokens using this method, "
        "or client not authorized for any of the scopes requested.",
    ),
    "access_denied": _oauth(403, "access_denied", "Requested client not authorized."),
    "internal_failure": _oauth(503, "internal_failure", "Backend Error", transient=True),
    "bad_refresh_token": ProviderFailure(
        400, {"error": "invalid_grant", "provider_error": "Bad Request"}
    ),
}


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """The mailbox that a refresh token opens, and its scopes."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    email: str
    scopes: tuple[str, ...]

    def identifies(self, provider: str) -> bool:
        """Whether the API can learn the owner's address; Google needs the identity scopes."""
        return provider != "google" or set(self.scopes).issuperset(IDENTITY_SCOPES)


@dataclass(slots=True)
class RefreshTokens:
    """The refresh tokens that the control plane gave out, for every provider; others fail."""

    _owners: dict[str, TokenOwner] = field(default_factory=dict, repr=False)

    def owner(self, token: str) -> TokenOwner | None:
        """The owner of a token, if the token exists."""
        return self._owners.get(token)

    def put(self, owners: Mapping[str, TokenOwner | None]) -> int:
        """Adds tokens, removes those whose owner is None, and returns how many there are."""
        for token, owner in owners.items():
            if owner is None:
                self._owners.pop(token, None)
            else:
                self._owners[token] = owner
        return len(self._owners)


def _is_rsa_key(pem: str) -> bool:
    try:
        return isinstance(load_pem_private_key(pem.encode(), password=None), RSAPrivateKey)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


@dataclass(slots=True)
class Google:
    """The workspaces; what the control plane does not mention exists and is allowed."""

    delegations: dict[str, frozenset[str]] = field(default_factory=dict)
    """The delegated scopes, by `client_email`."""
    directory: dict[str, frozenset[str]] = field(default_factory=dict)
    """The addresses that exist, by domain."""
    revoked_keys: set[str] = field(default_factory=set)
    """The `private_key_id`s that Google no longer accepts."""
    refresh_tokens: RefreshTokens = field(default_factory=RefreshTokens)
    _sound_keys: dict[str, bool] = field(default_factory=dict, repr=False)
    """Whether a key parses, by the key: parsing costs more than the rest of a request."""

    def refusal(
        self, credential: Credential, email: str, scopes: Iterable[str]
    ) -> ProviderFailure | None:
        """Why Google refuses this service account a token for that mailbox; None if it does not."""
        pem = credential.data["private_key"]
        if pem not in self._sound_keys:
            self._sound_keys[pem] = _is_rsa_key(pem)
        if not self._sound_keys[pem] or credential.data["private_key_id"] in self.revoked_keys:
            return FAILURES["invalid_jwt_signature"]
        delegated = self.delegations.get(credential.data["client_email"])
        if delegated is not None and not delegated.issuperset(scopes):
            return FAILURES["unauthorized_client"]
        return None if self.has_mailbox(email) else FAILURES["unknown_mailbox"]

    def has_mailbox(self, email: str) -> bool:
        """Whether the directory has that address; Microsoft's tenants use the same directory."""
        mailboxes = self.directory.get(email.rpartition("@")[2].lower())
        return mailboxes is None or email.lower() in mailboxes
