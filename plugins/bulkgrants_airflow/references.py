"""References to credentials, handed on by XCom: where each secret is, never the secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from bulkgrants.credentials.register import Wanted
from bulkgrants.credentials.secrets import admin_consent_data, fingerprint
from bulkgrants.errors import Misconfigured
from bulkgrants.model import CredentialType, Provider, Tenant
from bulkgrants.text import bounded
from bulkgrants_airflow.connections import google_key, oauth_app

_TYPES = {
    Provider.GOOGLE: CredentialType.SERVICE_ACCOUNT,
    Provider.MICROSOFT: CredentialType.ADMIN_CONSENT,
}


@dataclass(frozen=True, slots=True, order=True)
class CredentialReference:
    """A tenant's credential, as the tenants table names it."""

    provider: Provider
    name: str
    """Of the credential, at Nylas."""
    secret_conn_id: str
    """The Airflow connection that holds the secret; empty where the connector's own is used."""
    microsoft_tenant: str = ""
    """As `Tenant.microsoft_tenant`."""

    @classmethod
    def of(cls, tenant: Tenant) -> CredentialReference:
        """The credential that a tenant uses."""
        return cls(
            tenant.provider, tenant.credential, tenant.secret_conn_id, tenant.microsoft_tenant
        )

    @classmethod
    def read(cls, given: Mapping[str, object]) -> CredentialReference:
        """A reference as `shown` gave it. Raises Misconfigured where it lacks something."""
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
        """For XCom."""
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
