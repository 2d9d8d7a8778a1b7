"""What each type of credential consists of; the values themselves never leave this process."""

from nylas_standin.checks import Fields
from nylas_standin.envelopes import invalid
from nylas_standin.records import Connector
from nylas_standin.switches import Switches

TYPES = frozenset({"serviceaccount", "adminconsent", "connector"})

_KEY_FILE = frozenset(
    {
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
        "universe_domain",
    }
)
_OAUTH_PROVIDERS = frozenset({"google", "microsoft", "yahoo", "zoom"})
_PROVIDERS = {
    "serviceaccount": frozenset({"google"}),
    "adminconsent": frozenset({"microsoft"}),
    "connector": _OAUTH_PROVIDERS,
}


def checked(
    kind: str, data: Fields, connector: Connector, switches: Switches, *, update: bool = False
) -> dict[str, str]:
    """The data of a credential, complete for its type and provider."""
    if kind not in TYPES:
        raise invalid(f"Field 'credential_type' must be one of: {', '.join(sorted(TYPES))}.")
    if connector.provider not in _PROVIDERS[kind]:
        raise invalid(f"A {connector.provider} connector takes no '{kind}' credential.")
    if kind == "serviceaccount":
        data = data.only(_KEY_FILE, switches)
        _check_key_file(data)
    elif kind == "adminconsent":
        data = data.only({"client_id", "client_secret", "tenant"}, switches)
        _check_consent(data, update=update)
    else:  # whatever a provider application needs beyond these two is the provider's business
        data.text("client_id")
        data.text("client_secret")
    return {key: data.text(key) for key in data.values}


def _check_key_file(data: Fields) -> None:
    for key in ("private_key_id", "private_key", "client_email"):
        data.text(key)
    if data.optional_text("type") not in {None, "service_account"}:
        raise invalid("Field 'credential_data.type' must be 'service_account'.")


def _check_consent(data: Fields, *, update: bool) -> None:
    """The application's id and secret go together; at creation the connector's may serve."""
    if update or "client_id" in data or "client_secret" in data:
        data.text("client_id")
        data.text("client_secret")
