"""What keeps an admin from consenting: Microsoft's errors as they come back with the redirect."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class ConsentError:
    """An OAuth error."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    error: str
    error_description: str
    error_uri: str | None = None
    error_code: str = "45002"
    """The API's own number for what a provider refused; shown only if the switch says so."""


def _aadsts(code: int, error: str, description: str) -> ConsentError:
    uri = f"https://login.microsoftonline.com/error?code={code}"
    return ConsentError(error, f"AADSTS{code}: {description}", uri)


DECLINED = "declined"

CONSENT_ERRORS: dict[str, ConsentError] = {
    DECLINED: _aadsts(65004, "access_denied", "The admin declined to consent to the application."),
    "redirect_uri_mismatch": _aadsts(
        50011, "invalid_request", "The redirect URI is not among those of the application."
    ),
    "user_not_in_tenant": _aadsts(
        50020, "invalid_request", "The account is of another tenant than the one asked for."
    ),
    "not_multi_tenant": _aadsts(
        50194, "invalid_request", "The application is not configured as a multi-tenant one."
    ),
    "mfa_required": _aadsts(
        50076, "interaction_required", "The admin has to use multi-factor authentication."
    ),
    "conditional_access": _aadsts(
        53003, "access_denied", "Access is blocked by a policy of Conditional Access."
    ),
    "principal_exists": _aadsts(
        650051, "invalid_client", "The service principal is present already or still being made."
    ),
    "resource_missing": _aadsts(
        650052, "invalid_resource", "The organisation lacks a service that the application needs."
    ),
    "misconfigured": _aadsts(
        650056, "invalid_client", "The permissions of the application are misconfigured."
    ),
    "application_not_in_tenant": _aadsts(
        700016, "unauthorized_client", "Application was not found in the directory."
    ),
    "tenant_not_found": _aadsts(90002, "invalid_request", "Tenant not found."),
    "admin_required": _aadsts(
        90094, "access_denied", "An admin's permission is required for this application."
    ),
}
