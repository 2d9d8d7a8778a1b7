"""What Airflow learns about Bulkgrants at start-up: its connection type and its settings."""

from __future__ import annotations

from typing import TypedDict


class Option(TypedDict):
    """One setting, in the form that Airflow's provider schema asks for."""

    description: str
    version_added: str
    type: str
    example: str | None
    default: str


def _option(description: str, default: str, *, kind: str = "string", example: str = "") -> Option:
    return Option(
        description=description,
        version_added="0.1.0",
        type=kind,
        example=example or None,
        default=default,
    )


OPTIONS: dict[str, Option] = {
    "nylas_conn_id": _option(
        "The Airflow connection of type `nylas` that names the Nylas application.",
        "nylas_default",
    ),
    "ledger_conn_id": _option(
        "The Airflow connection of the ledger: PostgreSQL, or SQLite for a small one. While the "
        "default connection does not exist, the ledger is a SQLite file in $AIRFLOW_HOME.",
        "bulkgrants_ledger",
    ),
    "warehouse_conn_id": _option(
        "The Airflow SQL connection from which the roster and the tenants are read.",
        "warehouse",
    ),
    "roster": _option(
        "The roster: the name of a table or view in the warehouse, or a query.",
        "roster",
        example="SELECT * FROM hr.roster WHERE wants_sync",
    ),
    "roster_columns": _option(
        "Which of the roster's columns is which, as a JSON object from our names to yours; what is "
        "left out has the same name.",
        "",
        example='{"email": "work_email"}',
    ),
    "tenants": _option(
        "The tenants: the name of a table or view in the warehouse, or a query.",
        "tenants",
        example="SELECT * FROM crm.tenants",
    ),
    "tenants_columns": _option(
        "Which of the tenants' columns is which, as a JSON object from our names to yours; what is "
        "left out has the same name.",
        "",
        example='{"tenant": "customer"}',
    ),
    "google_connector_conn_id": _option(
        "The Airflow connection with the client id (login) and client secret (password) of a "
        "Google OAuth application; needed only while the Nylas application has no Google "
        "connector.",
        "",
        example="google_oauth",
    ),
    "microsoft_connector_conn_id": _option(
        "The Airflow connection with the client id (login), client secret (password) and tenant "
        "(extra.tenantId) of an Azure application; needed only while the Nylas application has no "
        "Microsoft connector.",
        "",
        example="azure_oauth",
    ),
    "batch_size": _option(
        "How many changes one task applies.",
        "2000",
        kind="integer",
    ),
    "consent_redirect_uri": _option(
        "Where an admin lands after consenting, as it is registered at Nylas. Empty: "
        "/bulkgrants/consent under [api] base_url.",
        "",
        example="https://airflow.example.com/bulkgrants/consent",
    ),
    "consent_notifier": _option(
        "An Airflow notifier that brings consent links to people, as a JSON object with its class "
        "and its arguments. Templates may use consent_link, consent_tenant, consent_expires_at and "
        "consent_is_reminder.",
        "",
        example='{"class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier", "kwargs": '
        '{"to": "it@example.com", "subject": "{{ consent_tenant }}", '
        '"html_content": "{{ consent_link }}"}}',
    ),
    "consent_link_days": _option(
        "For how many days a consent link is good; then it is made anew.", "14", kind="float"
    ),
    "consent_reminder_days": _option(
        "How many days after the first link an admin is reminded with a fresh one; none if empty.",
        "3, 10",
    ),
    "consent_give_up_days": _option(
        "How many days after the first link nobody waits any longer.", "60", kind="float"
    ),
    "propagation_floor_seconds": _option(
        "How long after a consent nothing is asked of Microsoft, which keeps scopes for minutes.",
        "300",
        kind="float",
    ),
    "propagation_hours_microsoft": _option(
        "How many hours Microsoft has to honour a consent.", "2", kind="float"
    ),
    "propagation_hours_google": _option(
        "How many hours Google has to honour a delegation.", "24", kind="float"
    ),
    "manifests_folder": _option(
        "The folder with the Azure app manifests that tenants name. Empty: bulkgrants/manifests in "
        "$AIRFLOW_HOME.",
        "",
    ),
}

_NYLAS = {
    "connection-type": "nylas",
    "hook-class-name": "bulkgrants_airflow.hooks.nylas.NylasHook",
    "hook-name": "Nylas",
    "ui-field-behaviour": {
        "hidden-fields": ["login", "port", "schema"],
        "relabeling": {"host": "Region or base URL", "password": "API key"},
        "placeholders": {"host": "us, eu, or https://…", "password": "nyk_v0_…"},
    },
    "conn-fields": {
        "client_id": {
            "label": "Application id",
            "description": "The client id of the Nylas application, from the Nylas dashboard.",
            "schema": {"type": "string", "minLength": 1},
        },
        "rate_per_second": {
            "label": "Calls per second",
            "description": "What all tasks together may ask. Nylas allows 50; default: 40.",
            "schema": {"type": ["number", "null"], "default": 40, "minimum": 1, "maximum": 50},
        },
        "timeout": {
            "label": "Time-out in seconds",
            "description": "For one whole call. Default: 90, as a provider may take a minute.",
            "schema": {"type": ["number", "null"], "default": 90, "minimum": 1},
        },
    },
}


def get_provider_info() -> dict[str, object]:
    """The entry point `apache_airflow_provider`. Every process calls it: it imports nothing."""
    return {
        "package-name": "bulkgrants",
        "name": "Bulkgrants",
        "description": "Keeps Nylas bulk authentication grants equal to a roster.",
        "connection-types": [_NYLAS],
        "config": {
            "bulkgrants": {
                "description": "Where Bulkgrants finds what it works on.",
                "options": OPTIONS,
            },
        },
    }
