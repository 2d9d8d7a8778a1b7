"""Registers credentials at Nylas, from references that say where each secret is.

References and results go through XCom. They hold names and ids, never a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from airflow.sdk import BaseOperator, Context

from bulkgrants.credentials.connectors import ensure_connector
from bulkgrants.credentials.register import Wanted, register
from bulkgrants.credentials.secrets import admin_consent_data, fingerprint
from bulkgrants.errors import Misconfigured
from bulkgrants.model import CredentialType, Provider, Tenant
from bulkgrants.ports import utc_now
from bulkgrants.text import bounded
from bulkgrants_airflow.connections import google_key, oauth_app
from bulkgrants_airflow.operators.base import saying_clearly
from bulkgrants_airflow.workspace import Workspace

_TYPES = {
    Provider.GOOGLE: CredentialType.SERVICE_ACCOUNT,
    Provider.MICROSOFT: CredentialType.ADMIN_CONSENT,
}


@dataclass(frozen=True, slots=True, order=True)
class CredentialReference:
    """A tenant's credential, as the tenants table names it."""

    provider: Provider
    name: str
    """The credential's name at Nylas."""
    secret_conn_id: str
    """The Airflow connection that holds the secret; empty if the connector's own is used."""
    microsoft_tenant: str = ""
    """As in `Tenant.microsoft_tenant`."""

    @classmethod
    def of(cls, tenant: Tenant) -> CredentialReference:
        """The credential that a tenant uses."""
        return cls(
            tenant.provider, tenant.credential, tenant.secret_conn_id, tenant.microsoft_tenant
        )

    @classmethod
    def read(cls, given: Mapping[str, object]) -> CredentialReference:
        """A reference that `shown` wrote. Raises Misconfigured if a part is missing or wrong."""
        names = ("provider", "name", "secret_conn_id", "microsoft_tenant")
        texts = [given.get(name) or "" for name in names]
        provider, name, secret_conn_id, microsoft_tenant = (
            text if isinstance(text, str) else "" for text in texts
        )
        needs_secret = provider != Provider.MICROSOFT
        if provider not in set(Provider) or not name or (needs_secret and not secret_conn_id):
            raise Misconfigured(
                "A credential needs the provider google or microsoft, a name and, for google, a "
                f"secret_conn_id, not '{bounded(provider, 80)}', '{bounded(name, 80)}' and "
                f"'{bounded(secret_conn_id, 80)}'."
            )
        return cls(Provider(provider), name, secret_conn_id, microsoft_tenant)

    def shown(self) -> dict[str, str]:
        """The reference as XCom holds it."""
        return {**asdict(self), "provider": str(self.provider)}

    def wanted(self, fingerprint_key: bytes) -> Wanted:
        """The credential with its secret, read from its connection. Raises Misconfigured."""
        data = self._data()
        credential_type = _TYPES[self.provider]
        digest = fingerprint(data, fingerprint_key)
        return Wanted(self.provider, self.name, credential_type, data, digest)

    def _data(self) -> Mapping[str, str]:
        if self.provider is Provider.GOOGLE:
            return google_key(self.secret_conn_id).credential_data
        app = oauth_app(self.secret_conn_id) if self.secret_conn_id else None
        return admin_consent_data(app, self.microsoft_tenant)


class ListCredentialsOperator(BaseOperator):
    """Reads the tenants table, and lists each credential that an enabled row names.

    Fails if the API key is that of another application than its connection names.
    """

    def execute(self, context: Context) -> list[dict[str, str]]:  # noqa: ARG002 - Airflow's interface
        """References `{"provider", "name", "secret_conn_id", "microsoft_tenant"}`, each once."""
        from bulkgrants.rosters.tenants import read_tenants  # noqa: PLC0415 - imports pandas

        with saying_clearly():
            workspace = Workspace.open()
            tenants = read_tenants(workspace.warehouse(), workspace.tenants())
            workspace.require_application()
        wanted = {CredentialReference.of(tenant) for tenant in tenants if tenant.enabled}
        return [reference.shown() for reference in sorted(wanted)]


class RegisterCredentialOperator(BaseOperator):
    """Makes, keeps or rotates one credential at Nylas.

    `credential` is a reference as `ListCredentialsOperator` returns it: `provider`, `name` (at
    Nylas), `secret_conn_id` (the Airflow connection that holds the secret; may be empty for
    Microsoft) and, for Microsoft, `microsoft_tenant`.
    """

    template_fields: Sequence[str] = ("credential",)

    def __init__(self, *, credential: Mapping[str, str], **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(**kwargs)
        self.credential = credential

    def execute(self, context: Context) -> dict[str, str]:  # noqa: ARG002 - Airflow's interface
        """`provider`, `name`, `credential_id`, and `registration`: created, kept or rotated."""
        with saying_clearly():
            reference = CredentialReference.read(self.credential)
            workspace = Workspace.open()
            sender = workspace.patient_sender()
            wanted = reference.wanted(workspace.fingerprint_key)
            app_conn_id = workspace.settings.connector_conn_id(reference.provider)
            app = oauth_app(app_conn_id) if app_conn_id else None
            ensure_connector(sender, reference.provider, app)
            done = register(
                sender,
                workspace.ledger,
                application=workspace.application,
                wanted=wanted,
                clock=utc_now,
            )
        registered = {"credential_id": done.credential_id, "registration": str(done.registration)}
        return {"provider": str(reference.provider), "name": reference.name, **registered}
