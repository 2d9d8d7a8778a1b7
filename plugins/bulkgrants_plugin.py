"""The one file in this folder that Airflow scans: it declares what Bulkgrants adds to Airflow."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from bulkgrants_airflow.provider import CALLBACK_PREFIX
from bulkgrants_airflow.ui.lazy_app import consent_callback


class BulkgrantsPlugin(AirflowPlugin):
    """The page for admins. The connection type and the settings come from `provider`."""

    name = "bulkgrants"
    fastapi_apps = [  # noqa: RUF012 - as Airflow declares it
        {
            "app": consent_callback,
            "url_prefix": CALLBACK_PREFIX,
            "name": "Bulkgrants consent callback",
        }
    ]
