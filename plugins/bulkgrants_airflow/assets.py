"""What the DAGs tell one another."""

from __future__ import annotations

from airflow.sdk import Asset

TENANT_READY = Asset(name="bulkgrants_tenant_ready", uri="bulkgrants-tenant-ready")
"""An event for each tenant that has become ready; its extra holds the tenant's name (`tenant`)."""
