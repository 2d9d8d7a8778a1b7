"""Reads the `[bulkgrants]` section of Airflow's configuration; no other module does.

The defaults are in `provider.py`, from which Airflow takes them in every process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from airflow.sdk.configuration import conf, get_sdk_expansion_variables

from bulkgrants.errors import Misconfigured
from bulkgrants.model import Provider
from bulkgrants.onboarding.propagation import Pace
from bulkgrants.onboarding.waiting import Terms
from bulkgrants_airflow.provider import CALLBACK_PATH, CALLBACK_PREFIX

SECTION = "bulkgrants"
_LONGEST = 100_000
"""Seconds, hours or days: a larger number is a mistake."""


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
    consent_redirect_uri: str
    consent_notifier: Mapping[str, object]
    """Empty if there is none."""
    consent: Terms
    propagation: Mapping[Provider, Pace]
    manifests_folder: Path

    def connector_conn_id(self, provider: Provider) -> str | None:
        """The connection from which a missing connector of that provider is made, if any."""
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
        consent_redirect_uri=_text("consent_redirect_uri") or _redirect_uri(),
        consent_notifier=_object("consent_notifier"),
        consent=_terms(),
        propagation=_paces(),
        manifests_folder=_folder("manifests_folder", "manifests"),
    )


def airflow_home() -> Path:
    """The folder in which Airflow keeps its own files."""
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


def _number(option: str) -> float:
    text = _text(option)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= _LONGEST:
        raise _wrong(option, f"must be a number from 0 to {_LONGEST}")
    return number


def _object(option: str) -> Mapping[str, object]:
    text = _text(option)
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        raise _wrong(option, "is not JSON") from None
    if not isinstance(value, dict):
        raise _wrong(option, "must be a JSON object")
    return value


def _columns(option: str) -> Mapping[str, str]:
    names = {name: column for name, column in _object(option).items() if isinstance(column, str)}
    if len(names) < len(_object(option)):
        raise _wrong(option, 'must be a JSON object of names, such as {"email": "work_email"}')
    return names


def _terms() -> Terms:
    reminders = []
    for text in _text("consent_reminder_days").split(","):
        if text.strip():
            if not text.strip().isdecimal():
                raise _wrong("consent_reminder_days", 'must be numbers of days, such as "3, 10"')
            reminders.append(timedelta(days=int(text)))
    link, give_up = _number("consent_link_days"), _number("consent_give_up_days")
    for option, days in (("consent_link_days", link), ("consent_give_up_days", give_up)):
        if not days:
            raise _wrong(option, "must be more than 0")
    return Terms(timedelta(days=link), tuple(sorted(reminders)), timedelta(days=give_up))


def _paces() -> Mapping[Provider, Pace]:
    floor = timedelta(seconds=_number("propagation_floor_seconds"))
    microsoft = timedelta(hours=_number("propagation_hours_microsoft"))
    google = timedelta(hours=_number("propagation_hours_google"))
    return {Provider.MICROSOFT: Pace(floor, microsoft), Provider.GOOGLE: Pace(timedelta(), google)}


def _redirect_uri() -> str:
    base_url = conf.get("api", "base_url", fallback="").rstrip("/")
    return f"{base_url}{CALLBACK_PREFIX}{CALLBACK_PATH}"


def _folder(option: str, default: str) -> Path:
    return Path(_text(option) or airflow_home() / "bulkgrants" / default)


def _wrong(option: str, what: str) -> Misconfigured:
    return Misconfigured(
        f"The setting [{SECTION}] {option} {what}; correct it in airflow.cfg, or in "
        f"AIRFLOW__{SECTION.upper()}__{option.upper()}."
    )
