"""Every guess about the real API, as a value that the control plane can change."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Switches:
    """The guesses; the README of the stand-in describes each."""

    unknown_fields: Literal["refuse", "ignore"] = "refuse"
    unknown_query: Literal["ignore", "refuse"] = "ignore"
    charset: Literal["accept", "refuse"] = "accept"

    unauthorized_status: int = 401
    unauthorized_type: str = "token.unauthorized_access"
    unauthorized_code: bool = True
    error_type_prefix: str = "api."
    rate_limit_type: str = "nylas_rate_limit_exceeded"
    rate_limit_retry_after: int | None = None
    request_id_style: Literal["uuid", "numbered"] = "uuid"
    latency_seconds: float = 0.0

    limit_default: int = 10
    limit_max: int = 200
    limit_outside: Literal["clamp", "refuse"] = "clamp"

    application_status: Literal[200, 401, 403, 404] = 200
    application_in_list: bool = False

    duplicate_connector_status: int = 400
    connector_put: Literal["update", "refuse"] = "update"
    partial_settings: Literal["drop", "refuse"] = "drop"
    connector_delete_grants: Literal["invalidate", "remove"] = "invalidate"

    credential_not_found_status: int = 404
    credential_type_echoed: bool = True
    credential_dedupe: Literal["data", "name_and_data", "off"] = "data"
    credential_dedupe_status: int = 201
    credential_name_scope: Literal["connector", "application"] = "connector"
    credential_name_taken_status: int = 400
    credential_in_use_status: int = 400
    credential_delete_invalidates: bool = True
    credential_patch_revives: bool = False

    bulk_enabled: bool = True
    unusable_credential_status: int = 400
    reauth_status: int = 201
    email_match: Literal["insensitive", "exact"] = "insensitive"
    email_stored: Literal["as_sent", "lower"] = "as_sent"
    other_provider: Literal["separate", "refuse"] = "separate"
    failed_reauth_invalidates: bool = False
    identity_scopes_need_delegation: bool = False
    provider_failure_status: Literal["400", "provider"] = "400"
    provider_failure_type: str = "grant.invalid_authentication"

    redirect_refused_type: Literal["invalid_query_params", "grant.callback_uri_not_allowed"] = (
        "invalid_query_params"
    )
    connect_auth_limited: bool = False
    consent_without_credential: Literal["refuse", "active"] = "refuse"
    consent_scope_omitted: Literal["connector", "application"] = "connector"
    consent_scope_with_common: Literal["refuse", "ignore"] = "refuse"
    consent_scope_override: Literal["application", "configured", "delegated"] = "application"
    consent_obstacle: Literal["page", "redirect"] = "page"
    consent_success_form: Literal["nylas", "microsoft"] = "nylas"
    consent_declined_error: Literal["access_denied", "consent_required", "permission_denied"] = (
        "access_denied"
    )
    consent_error_uri: bool = True
    consent_error_code: bool = False
    consent_error_admin_consent: bool = False
    consent_again: Literal["adds", "replaces"] = "adds"
    consent_missing_error: Literal["consent_missing", "application_not_in_tenant"] = (
        "consent_missing"
    )
    consent_withdrawn_invalidates: bool = True
    secret_expired_invalidates: bool = True
    common_tenant: Literal["domain", "consent", "refuse"] = "domain"
    propagation_none: Literal["empty", "refuse"] = "empty"
    user_lookup_needs_scope: bool = False

    grant_credential_id_top_level: bool = True
    grant_found_by_email: bool = False
    listing_lag_seconds: int = 0
    listing_ties: Literal["stable", "shuffled"] = "stable"
