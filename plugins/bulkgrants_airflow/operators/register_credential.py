"""Registers one credential at Nylas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context

from bulkgrants.credentials.connectors import ensure_connector
from bulkgrants.credentials.register import register
from bulkgrants.nylas.retrying import PatientSender
from bulkgrants.ports import utc_now
from bulkgrants.reconcile.pacing import PacedSender
from bulkgrants_airflow.connections import oauth_app
from bulkgrants_airflow.hooks.nylas import NylasHook
from bulkgrants_airflow.references import CredentialReference
from bulkgrants_airflow.retries import saying_clearly
from bulkgrants_airflow.workbench import Workbench


class RegisterCredentialOperator(BaseOperator):
    """Makes, keeps or rotates the credential that `credential` refers to.

    `credential` is a reference: `provider`, `name` (the credential's, at Nylas), `secret_conn_id`
    (the Airflow connection that holds the secret; may be empty for Microsoft) and, for Microsoft,
    `microsoft_tenant`. Pushed to XCom are ids and what was done, never the secret.
    """

    template_fields: Sequence[str] = ("credential",)

    def __init__(self, *, credential: Mapping[str, str], **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.credential = credential

    def execute(self, context: Context) -> dict[str, str]:  # noqa: ARG002 - Airflow's interface
        """`provider`, `name`, `credential_id`, and `registration`: created, kept or rotated."""
        with saying_clearly():
            reference = CredentialReference.read(self.credential)
            bench = Workbench.open()
            hook = NylasHook(bench.settings.nylas_conn_id)
            sender = PatientSender(PacedSender(hook, bench.budget(hook.nylas)))
            wanted = reference.wanted(hook.fingerprint_key())
            app_conn_id = bench.settings.connector_conn_id(reference.provider)
            app = oauth_app(app_conn_id) if app_conn_id else None
            ensure_connector(sender, reference.provider, app)
            application = hook.nylas.client_id
            done = register(
                sender, bench.ledger, application=application, wanted=wanted, clock=utc_now
            )
        registered = {"credential_id": done.credential_id, "registration": str(done.registration)}
        return {"provider": str(reference.provider), "name": reference.name, **registered}
