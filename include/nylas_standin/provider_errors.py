"""The refusals of Google and Microsoft, as the API passes them on."""

from dataclasses import dataclass

from nylas_standin.envelopes import ApiError
from nylas_standin.switches import Switches
from nylas_standin.wire import Json


@dataclass(frozen=True, slots=True)
class ProviderFailure:
    """What the provider said, and with which status of its own."""

    status: int
    provider_error: Json
    transient: bool = False


def _oauth(
    status: int, error: str, description: str, *, transient: bool = False
) -> ProviderFailure:
    answer: Json = {"error": error, "error_description": description}
    return ProviderFailure(status, answer, transient)


def _aadsts(code: int, error: str, description: str, *, status: int = 400) -> ProviderFailure:
    answer: Json = {
        "error": error,
        "error_description": f"AADSTS{code}: {description}",
        "error_codes": [code],
    }
    return ProviderFailure(status, answer)


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
    "mailbox_not_enabled": ProviderFailure(
        404,
        {
            "error": {
                "code": "MailboxNotEnabledForRESTAPI",
                "message": "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
            }
        },
    ),
    "consent_missing": _aadsts(
        65001,
        "invalid_grant",
        "The user or administrator has not consented to use the application.",
    ),
    "client_secret_invalid": _aadsts(
        7000215, "invalid_client", "Invalid client secret provided.", status=401
    ),
    "client_secret_expired": _aadsts(
        7000222, "invalid_client", "The provided client secret keys are expired.", status=401
    ),
    "tenant_not_found": _aadsts(90002, "invalid_request", "Tenant not found."),
    "application_not_in_tenant": _aadsts(
        700016, "unauthorized_client", "Application was not found in the directory."
    ),
    "grant_type_on_common": _aadsts(
        9001023, "invalid_request", "The grant type is not supported over the /common endpoint."
    ),
    "insufficient_privileges": ProviderFailure(
        403,
        {
            "error": {
                "code": "Authorization_RequestDenied",
                "message": "Insufficient privileges to complete the operation.",
            }
        },
    ),
}


def refused_by_provider(failure: ProviderFailure, switches: Switches) -> ApiError:
    """The API's answer to a provider's failure."""
    if failure.transient:
        message = "Provider request failed. Please try again."
        return ApiError(504, ".provider_error", message, provider_error=failure.provider_error)
    whole = failure.status == 404 or switches.provider_failure_status == "provider"  # noqa: PLR2004 - HTTP
    return ApiError(
        failure.status if whole else 400,
        ".not_found_error" if failure.status == 404 else switches.provider_failure_type,  # noqa: PLR2004 - HTTP
        "Authentication with the provider failed.",
        provider_error=failure.provider_error,
    )
