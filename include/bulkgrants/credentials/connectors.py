"""Makes sure that the application has the connector that a credential belongs to."""

from __future__ import annotations

from http import HTTPStatus

from bulkgrants.credentials.secrets import OAuthApp
from bulkgrants.errors import Misconfigured, RequestRefused, Unavailable
from bulkgrants.model import Provider
from bulkgrants.nylas.calls import Connector, create_connector, get_connector
from bulkgrants.nylas.sending import Sender


def ensure_connector(sender: Sender, provider: Provider, oauth_app: OAuthApp | None) -> Connector:
    """The provider's connector; if there is none, it is made from the OAuth app.

    Raises Misconfigured if it has to be made and no OAuth app is given.
    """
    found = _find(sender, provider)
    if found is not None:
        return found
    if oauth_app is None:
        raise Misconfigured(
            f"The Nylas application has no {provider} connector. Create it in the Nylas dashboard, "
            f"or set [bulkgrants] {provider}_connector_conn_id to an Airflow connection with the "
            f"client id and secret of a {provider} OAuth app."
        )
    try:
        return sender.send(
            create_connector(
                provider, oauth_app.client_id, oauth_app.client_secret, oauth_app.tenant
            )
        )
    except (Unavailable, RequestRefused):
        # It may exist anyway: this call or another process may have made it a moment ago.
        found = _find(sender, provider)
        if found is None:
            raise
        return found


def _find(sender: Sender, provider: Provider) -> Connector | None:
    try:
        return sender.send(get_connector(provider))
    except RequestRefused as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise
