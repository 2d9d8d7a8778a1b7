"""Checks the Azure app of a tenant before its admin is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from bulkgrants.credentials.manifest import MAX_BYTES, Manifest, read_manifest
from bulkgrants.credentials.manifest_rules import Weight, check_manifest
from bulkgrants.errors import Misconfigured
from bulkgrants.ledger.onboarding import read_onboarding
from bulkgrants.ports import utc_now
from bulkgrants_airflow.connections import nylas_connection
from bulkgrants_airflow.retries import saying_clearly
from bulkgrants_airflow.workbench import Workbench


class CheckManifestOperator(BaseOperator):
    """Reads the manifest that the tenant names, and says what to change in the Azure portal.

    What would make the consent fail, or the grants useless, ends the task; anything less is a
    warning in the log. Skips a tenant that names no manifest.
    """

    template_fields: Sequence[str] = ("tenant",)

    def __init__(self, *, tenant: str, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.tenant = tenant

    def execute(self, context: Context) -> int:  # noqa: ARG002 - Airflow's interface
        """How many findings there are, all of them warnings."""
        with saying_clearly():
            bench = Workbench.open()
            nylas = nylas_connection(bench.settings.nylas_conn_id)
            onboarding = read_onboarding(bench.ledger, nylas.client_id, self.tenant)
            if not onboarding.azure_manifest:
                raise AirflowSkipException(f"The tenant {self.tenant} names no Azure manifest.")
            findings = check_manifest(
                _manifest(bench.settings.manifests_folder, onboarding.azure_manifest),
                required=onboarding.required,
                base_url=nylas.base_url,
                now=utc_now(),
            )
            for finding in findings:
                self.log.warning("%s: %s %s", finding.weight, finding.what, finding.change)
            musts = [one for one in findings if one.weight is Weight.MUST]
            if musts:
                raise Misconfigured(
                    f"The Azure app of the tenant {self.tenant} is not ready for consent: "
                    + " ".join(f"{one.what} {one.change}" for one in musts[:5])
                )
        return len(findings)


def _manifest(folder: Path, name: str) -> Manifest:
    """The file. Its name is plain, as the tenants table was checked for."""
    try:
        with (folder / name).open(encoding="utf-8") as file:
            text = file.read(MAX_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"The Azure manifest {name} cannot be read in {folder} ({type(error).__name__}); put "
            "the exported file there, or correct `azure_manifest` in the tenants table."
        ) from None
    return read_manifest(text, name=name)
