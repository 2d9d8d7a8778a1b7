"""The link that a Microsoft admin opens to consent (nylas-api.md §4.1)."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlencode, urlsplit

from bulkgrants.errors import Misconfigured
from bulkgrants.text import bounded

COMMON = "common"
"""The credential's tenant that lets the admins of every organisation consent."""


def consent_link(
    *,
    base_url: str,
    client_id: str,
    credential_id: str,
    redirect_uri: str,
    state: str,
    microsoft_tenant: str = COMMON,
    scopes: str = "",
) -> str:
    """The URL for the admin; `scopes` overrides those of the Azure app, separated by blanks.

    Without `scopes` the admin is asked for what the Azure app is configured for, and that is the
    default for a reason: Microsoft takes scopes named in a link for *delegated* permissions, and
    bulk grants need application permissions (nylas-api.md §4.1, first trap).

    Raises Misconfigured for scopes with `common`, where Microsoft takes those of the app alone.
    """
    if scopes and microsoft_tenant in {"", COMMON}:
        raise Misconfigured(
            "The consent link cannot ask for scopes of its own while the tenant is `common`: "
            "Microsoft then gives what the Azure app is configured for. Leave `consent_scopes` "
            "empty, or write the customer's tenant id into `microsoft_tenant`."
        )
    query = {
        "client_id": client_id,
        "provider": "microsoft",
        "response_type": "adminconsent",
        "redirect_uri": redirect_uri,
        "credential_id": credential_id,
        "state": state,
        **({"scope": scopes} if scopes else {}),
    }
    return f"{base_url}/v3/connect/auth?{urlencode(query)}"


def checked_redirect_uri(uri: str) -> str:
    """The redirect URI as it must stand at Nylas, letter for letter. Raises Misconfigured.

    It carries no query and no fragment, and is https; http is for this machine alone, as at Nylas.
    """
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
        sound = bool(host) and parts.port != 0 and not (parts.query or parts.fragment)
    except ValueError:
        sound, host = False, ""
    secure = sound and (parts.scheme == "https" or (parts.scheme == "http" and _is_here(host)))
    if not secure or "@" in uri or uri != bounded(uri, 400) or not uri.isascii():
        raise Misconfigured(
            f"[bulkgrants] consent_redirect_uri is {bounded(uri, 80)!r}; write the public address "
            "of this Airflow with /bulkgrants/consent behind it, as https://…/bulkgrants/consent, "
            "and register the same address at Nylas as a callback URI."
        )
    return uri


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
