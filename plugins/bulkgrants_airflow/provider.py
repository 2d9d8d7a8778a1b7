"""What Airflow learns about Bulkgrants at start-up: its connection type and its settings."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

CALLBACK_PREFIX = "/bulkgrants"
"""The path under which Airflow's API server serves the consent callback."""
CALLBACK_PATH = "/consent"
"""The callback's only page, below the prefix."""


class Limits(NamedTuple):
    """A number in a connection's extra: its name, its default, and its bounds."""

    name: str
    default: float
    low: float
    high: float


RATE_PER_SECOND = Limits("rate_per_second", default=40.0, low=1.0, high=50.0)
"""Nylas allows 50 (`docs/nylas-api.md`, Rate limits)."""
TIMEOUT = Limits("timeout", default=90.0, low=0.001, high=3600.0)
"""Seconds; 90, because a provider may take a minute."""


class Option(TypedDict):
    """One setting, in the form of Airflow's provider schema."""

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
        "The Airflow connection of type `nylas` with the Nylas application.",
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
        "The names of the roster's columns, as a JSON object from our names to yours. Only "
        "columns whose names differ from ours need an entry.",
        "",
        example='{"email": "work_email"}',
    ),
    "tenants": _option(
        "The tenants: the name of a table or view in the warehouse, or a query.",
        "tenants",
        example="SELECT * FROM crm.tenants",
    ),
    "tenants_columns": _option(
        "The names of the tenants' columns, as a JSON object from our names to yours. Only "
        "columns whose names differ from ours need an entry.",
        "",
        example='{"tenant": "customer"}',
    ),
    "google_connector_conn_id": _option(
        "The Airflow connection with the client id (login) and client secret (password) of a "
        "Google OAuth app. It is needed only while the Nylas application has no Google "
        "connector.",
        "",
        example="google_oauth",
    ),
    "microsoft_connector_conn_id": _option(
        "The Airflow connection with the client id (login), client secret (password) and tenant "
        "(extra.tenantId) of an Azure app. It is needed only while the Nylas application has no "
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
        "The address to which an admin returns after consenting, as it is registered at Nylas. If "
        "empty: /bulkgrants/consent under [api] base_url.",
        "",
        example="https://airflow.example.com/bulkgrants/consent",
    ),
    "consent_notifier": _option(
        "The Airflow notifier that sends consent links, as a JSON object with its class and its "
        "arguments. Templates may use consent_link, consent_tenant, consent_expires_at and "
        "consent_is_reminder.",
        "",
        example='{"class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier", "kwargs": '
        '{"to": "it@example.com", "subject": "{{ consent_tenant }}", '
        '"html_content": "{{ consent_link }}"}}',
    ),
    "consent_link_days": _option(
        "How many days a consent link is valid; then a new one is made.", "14", kind="float"
    ),
    "consent_reminder_days": _option(
        "How many days after the first link an admin is reminded with a new one. If empty: never.",
        "3, 10",
    ),
    "consent_give_up_days": _option(
        "How many days after the first link the task stops waiting.", "60", kind="float"
    ),
    "propagation_floor_seconds": _option(
        "How many seconds after a consent to wait before the first probe at Microsoft, which "
        "caches scopes for some minutes.",
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
        "The folder with the Azure app manifests that tenants name. If empty: bulkgrants/manifests "
        "in $AIRFLOW_HOME.",
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
            "description": "For all tasks together. Nylas allows 50; default: 40.",
            "schema": {
                "type": ["number", "null"],
                "default": RATE_PER_SECOND.default,
                "minimum": RATE_PER_SECOND.low,
                "maximum": RATE_PER_SECOND.high,
            },
        },
        "timeout": {
            "label": "Time-out in seconds",
            "description": "For one whole call. Default: 90, as a provider may take a minute.",
            "schema": {"type": ["number", "null"], "default": TIMEOUT.default, "minimum": 1},
        },
    },
}


def get_provider_info() -> dict[str, object]:
    """The entry point `apache_airflow_provider`; every process calls it, so it imports nothing."""
    return {
        "package-name": "bulkgrants",
        "name": "Bulkgrants",
        "description": "Keeps Nylas bulk authentication grants equal to a roster.",
        "connection-types": [_NYLAS],
        "config": {
            "bulkgrants": {
                "description": "Where Bulkgrants finds its data, and how long it waits.",
                "options": OPTIONS,
            },
        },
    }
