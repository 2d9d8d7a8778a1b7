"""Registers one credential at Nylas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context

from bulkgrants.credentials.connectors import ensure_connector
from bulkgrants.credentials.register import register_service_account
from bulkgrants.credentials.secrets import fingerprint
from bulkgrants.errors import Misconfigured
from bulkgrants.model import Provider
from bulkgrants.nylas.retrying import PatientSender
from bulkgrants.ports import utc_now
from bulkgrants.reconcile.pacing import PacedSender
from bulkgrants_airflow.connections import google_key, oauth_app
from bulkgrants_airflow.hooks.nylas import NylasHook
from bulkgrants_airflow.retries import saying_clearly
from bulkgrants_airflow.workbench import Workbench

_KEYS = ("provider", "name", "secret_conn_id")


class RegisterCredentialOperator(BaseOperator):
    """Makes, keeps or rotates the credential that `credential` refers to.

    `credential` is a reference: `provider`, `name` (the credential's, at Nylas) and
    `secret_conn_id`, the Airflow connection that holds the secret. Pushed to XCom are ids and what
    was done, never the secret.
    """

    template_fields: Sequence[str] = ("credential",)

    def __init__(self, *, credential: Mapping[str, str], **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.credential = credential

    def execute(self, context: Context) -> dict[str, str]:  # noqa: ARG002 - Airflow's interface
        """`provider`, `name`, `credential_id`, and `registration`: created, kept or rotated."""
        with saying_clearly():
            provider, name, secret_conn_id = self._reference()
            bench = Workbench.open()
            hook = NylasHook(bench.settings.nylas_conn_id)
            sender = PatientSender(PacedSender(hook, bench.budget(hook.nylas)))
            app_conn_id = bench.settings.google_connector_conn_id
            key = google_key(secret_conn_id)
            ensure_connector(sender, provider, oauth_app(app_conn_id) if app_conn_id else None)
            done = register_service_account(
                sender,
                bench.ledger,
                application=hook.nylas.client_id,
                name=name,
                key=key,
                fingerprint=fingerprint(key.credential_data, hook.fingerprint_key()),
                clock=utc_now,
            )
        registered = {"credential_id": done.credential_id, "registration": str(done.registration)}
        return {"provider": str(provider), "name": name, **registered}

    def _reference(self) -> tuple[Provider, str, str]:
        """The reference, checked."""
        values = [self.credential.get(key) for key in _KEYS]
        provider, name, secret_conn_id = (
            value if isinstance(value, str) else "" for value in values
        )
        if provider != Provider.GOOGLE or not name or not secret_conn_id:
            raise Misconfigured(
                f"A credential needs the provider '{Provider.GOOGLE}', a name and a "
                f"secret_conn_id, not '{provider}', '{name}' and '{secret_conn_id}'."
            )
        return Provider.GOOGLE, name, secret_conn_id
