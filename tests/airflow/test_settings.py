from __future__ import annotations

import pytest

from bulkgrants.errors import Misconfigured
from bulkgrants.model import Provider
from bulkgrants_airflow.provider import OPTIONS
from bulkgrants_airflow.settings import Settings, airflow_home, read_settings


@pytest.fixture
def setting(monkeypatch):
    def put(option, value):
        monkeypatch.setenv(f"AIRFLOW__BULKGRANTS__{option.upper()}", value)

    return put


def test_the_defaults_come_from_the_provider_info():
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
    )


def test_every_documented_option_is_a_setting_and_the_other_way_round():
    assert set(OPTIONS) == set(Settings.__dataclass_fields__)


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
    ],
)
def test_a_bad_setting_is_named(setting, option, value):
    setting(option, value)
    with pytest.raises(Misconfigured, match=rf"\[bulkgrants\] {option} .*AIRFLOW__BULKGRANTS__"):
        read_settings()


def test_airflows_home_is_where_the_environment_says(airflow_env):
    assert airflow_home() == airflow_env


def test_the_readme_names_every_setting_with_its_default():
    from pathlib import Path

    from bulkgrants_airflow.provider import OPTIONS

    readme = (Path(__file__).parents[2] / "README.md").read_text()
    rows = [line for line in readme.splitlines() if line.startswith("| `")]
    for name, option in OPTIONS.items():
        row = next(row for row in rows if f"`{name}`" in row)
        assert not option["default"] or f"`{option['default']}`" in row, name
