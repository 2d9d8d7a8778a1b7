"""The one file in this folder that Airflow scans: it declares what Bulkgrants adds to Airflow."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from bulkgrants_airflow.ui.lazily import consent_callback


class BulkgrantsPlugin(AirflowPlugin):
    """The page that admins land on; connection type and settings come from `provider`."""

    name = "bulkgrants"
    fastapi_apps = [  # noqa: RUF012 - as Airflow declares it
        {
            "app": consent_callback,
            "url_prefix": "/bulkgrants",
            "name": "Bulkgrants consent callback",
        }
    ]
