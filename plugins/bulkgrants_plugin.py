"""The one file in this folder that Airflow scans: it declares what Bulkgrants adds to Airflow."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class BulkgrantsPlugin(AirflowPlugin):
    """The project's name; connection type and settings come from `bulkgrants_airflow.provider`."""

    name = "bulkgrants"
