"""Google's side of a service account: its key, its delegation, and which mailboxes exist."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from nylas_standin.provider_errors import FAILURES, ProviderFailure
from nylas_standin.records import Credential

IDENTITY_SCOPES = (
    "openid",
    "https://www.googleapis.com/auth/userinfo.email",
    "https://www.googleapis.com/auth/userinfo.profile",
)


def _is_rsa_key(pem: str) -> bool:
    try:
        return isinstance(load_pem_private_key(pem.encode(), password=None), RSAPrivateKey)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


@dataclass(slots=True)
class Google:
    """Workspaces as the control plane set them up: what was not mentioned is allowed and exists."""

    delegations: dict[str, frozenset[str]] = field(default_factory=dict)
    directory: dict[str, frozenset[str]] = field(default_factory=dict)
    revoked_keys: set[str] = field(default_factory=set)
    _sound_keys: dict[str, bool] = field(default_factory=dict)
    """Whether a key parses, by the key: parsing costs more than all else in a request."""

    def refusal(
        self, credential: Credential, email: str, scopes: Iterable[str]
    ) -> ProviderFailure | None:
        """Why Google would not give this service account a token for that mailbox, if so."""
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
        """Whether the directory has that address; it serves Microsoft's tenants as well."""
        mailboxes = self.directory.get(email.rpartition("@")[2].lower())
        return mailboxes is None or email.lower() in mailboxes
