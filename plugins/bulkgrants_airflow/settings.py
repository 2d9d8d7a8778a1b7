"""Reads the `[bulkgrants]` section of Airflow's configuration; nothing else does.

The defaults stand in `provider.py`, from where Airflow takes them in every process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from airflow.sdk.configuration import conf, get_sdk_expansion_variables

from bulkgrants.errors import Misconfigured
from bulkgrants.model import Provider

SECTION = "bulkgrants"
DEFAULT_LEDGER_CONN_ID = "bulkgrants_ledger"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one deployment, checked. `provider.OPTIONS` says what each means."""

    nylas_conn_id: str
    ledger_conn_id: str
    warehouse_conn_id: str
    roster: str
    roster_columns: Mapping[str, str]
    tenants: str
    tenants_columns: Mapping[str, str]
    google_connector_conn_id: str | None
    microsoft_connector_conn_id: str | None
    batch_size: int

    def connector_conn_id(self, provider: Provider) -> str | None:
        """The connection from which a missing connector of that provider is made, if there is."""
        match provider:
            case Provider.GOOGLE:
                return self.google_connector_conn_id
            case Provider.MICROSOFT:
                return self.microsoft_connector_conn_id


def read_settings() -> Settings:
    """The settings as they are now. Raises Misconfigured, which names the option that is wrong."""
    return Settings(
        nylas_conn_id=_required("nylas_conn_id"),
        ledger_conn_id=_required("ledger_conn_id"),
        warehouse_conn_id=_required("warehouse_conn_id"),
        roster=_required("roster"),
        roster_columns=_columns("roster_columns"),
        tenants=_required("tenants"),
        tenants_columns=_columns("tenants_columns"),
        google_connector_conn_id=_text("google_connector_conn_id") or None,
        microsoft_connector_conn_id=_text("microsoft_connector_conn_id") or None,
        batch_size=_positive("batch_size"),
    )


def airflow_home() -> Path:
    """The folder that Airflow keeps its own files in."""
    return Path(get_sdk_expansion_variables()["AIRFLOW_HOME"])


def _text(option: str) -> str:
    return (conf.get(SECTION, option, fallback=None) or "").strip()


def _required(option: str) -> str:
    value = _text(option)
    if not value:
        raise _wrong(option, "is empty")
    return value


def _positive(option: str) -> int:
    value = _text(option)
    if not (value.isascii() and value.isdecimal() and int(value) > 0):
        raise _wrong(option, "must be a whole number above 0")
    return int(value)


def _columns(option: str) -> Mapping[str, str]:
    text = _text(option)
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        raise _wrong(option, "is no JSON") from None
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value.values()):
        raise _wrong(option, 'must be a JSON object from name to name, as {"email": "work_email"}')
    return value


def _wrong(option: str, what: str) -> Misconfigured:
    return Misconfigured(
        f"The setting [{SECTION}] {option} {what}; correct it in airflow.cfg, or in "
        f"AIRFLOW__{SECTION.upper()}__{option.upper()}."
    )
