from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from bulkgrants.errors import Misconfigured
from bulkgrants.model import Provider
from bulkgrants.onboarding.propagation import Pace
from bulkgrants.onboarding.waiting import Terms
from bulkgrants_airflow.provider import OPTIONS
from bulkgrants_airflow.settings import Settings, airflow_home, read_settings


@pytest.fixture
def setting(monkeypatch):
    def put(option, value):
        monkeypatch.setenv(f"AIRFLOW__BULKGRANTS__{option.upper()}", value)

    return put


def test_the_defaults_come_from_the_provider_info(airflow_env, monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://localhost:8080")
    assert read_settings() == Settings(
        nylas_conn_id="nylas_default",
        ledger_conn_id="bulkgrants_ledger",
        warehouse_conn_id="warehouse",
        roster="roster",
        roster_columns={},
        tenants="tenants",
        tenants_columns={},
        google_connector_conn_id=None,
        microsoft_connector_conn_id=None,
        batch_size=2000,
        consent_redirect_uri="http://localhost:8080/bulkgrants/consent",
        consent_notifier={},
        consent=Terms(
            link=timedelta(days=14),
            reminders=(timedelta(days=3), timedelta(days=10)),
            give_up=timedelta(days=60),
        ),
        propagation={
            Provider.MICROSOFT: Pace(timedelta(seconds=300), timedelta(hours=2)),
            Provider.GOOGLE: Pace(timedelta(), timedelta(hours=24)),
        },
        manifests_folder=airflow_env / "bulkgrants" / "manifests",
    )


TOGETHER = {
    "consent": {"consent_link_days", "consent_reminder_days", "consent_give_up_days"},
    "propagation": {
        "propagation_floor_seconds",
        "propagation_hours_microsoft",
        "propagation_hours_google",
    },
}
"""Settings that are made of several options."""


def test_every_documented_option_is_a_setting_and_the_other_way_round():
    alone = set(Settings.__dataclass_fields__) - set(TOGETHER)
    assert set(OPTIONS) == alone.union(*TOGETHER.values())


def test_the_terms_of_a_consent_and_the_pace_are_read_from_several_options(setting):
    setting("consent_link_days", "0.5")
    setting("consent_reminder_days", "9, 2,")
    setting("consent_give_up_days", "12")
    setting("propagation_floor_seconds", "0")
    setting("propagation_hours_microsoft", "1.5")
    setting("propagation_hours_google", "48")
    settings = read_settings()
    assert settings.consent == Terms(
        timedelta(hours=12), (timedelta(days=2), timedelta(days=9)), timedelta(days=12)
    )
    assert settings.propagation[Provider.MICROSOFT] == Pace(timedelta(), timedelta(hours=1.5))
    assert settings.propagation[Provider.GOOGLE] == Pace(timedelta(), timedelta(days=2))


def test_an_admin_lands_under_the_base_url_unless_the_setting_says_otherwise(setting, monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/team/")
    landing = "https://airflow.example.com/team/bulkgrants/consent"
    assert read_settings().consent_redirect_uri == landing
    setting("consent_redirect_uri", "https://consent.example.com/bulkgrants/consent")
    landing = "https://consent.example.com/bulkgrants/consent"
    assert read_settings().consent_redirect_uri == landing


def test_a_notifier_and_a_folder_of_manifests_are_read(setting):
    setting("consent_notifier", '{"class": "some.Notifier", "kwargs": {"to": "it@example.com"}}')
    setting("manifests_folder", "/srv/manifests")
    settings = read_settings()
    assert settings.consent_notifier == {
        "class": "some.Notifier",
        "kwargs": {"to": "it@example.com"},
    }
    assert settings.manifests_folder == Path("/srv/manifests")


def test_settings_are_read_at_run_time(setting):
    setting("roster", " hr.roster ")
    setting("roster_columns", '{"email": "work_email"}')
    setting("tenants", "SELECT a, '100%' FROM t")
    setting("batch_size", "500")
    setting("google_connector_conn_id", "google_oauth")
    setting("microsoft_connector_conn_id", "azure_oauth")
    settings = read_settings()
    assert settings.roster == "hr.roster"
    assert settings.roster_columns == {"email": "work_email"}
    assert settings.tenants == "SELECT a, '100%' FROM t"
    assert settings.batch_size == 500
    assert settings.connector_conn_id(Provider.GOOGLE) == "google_oauth"
    assert settings.connector_conn_id(Provider.MICROSOFT) == "azure_oauth"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("nylas_conn_id", " "),
        ("roster", " "),
        ("batch_size", "0"),
        ("batch_size", "-5"),
        ("batch_size", "1.5"),
        ("batch_size", "many"),
        ("batch_size", "\u0661"),
        ("roster_columns", "email=work_email"),
        ("roster_columns", '["email"]'),
        ("tenants_columns", '{"tenant": 7}'),
        ("consent_notifier", "some.Notifier"),
        ("consent_notifier", '["some.Notifier"]'),
        ("consent_link_days", "0"),
        ("consent_link_days", "two weeks"),
        ("consent_reminder_days", "3; 10"),
        ("consent_reminder_days", "-3"),
        ("consent_give_up_days", "0"),
        ("consent_give_up_days", "nan"),
        ("propagation_floor_seconds", "-1"),
        ("propagation_hours_microsoft", "inf"),
        ("propagation_hours_google", "1000000"),
    ],
)
def test_a_bad_setting_is_named(setting, option, value):
    setting(option, value)
    with pytest.raises(Misconfigured, match=rf"\[bulkgrants\] {option} .*AIRFLOW__BULKGRANTS__"):
        read_settings()


def test_airflows_home_is_where_the_environment_says(airflow_env):
    assert airflow_home() == airflow_env
