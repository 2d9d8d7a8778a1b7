"""Makes sure that the application has the connector to which a credential belongs."""

from __future__ import annotations

from http import HTTPStatus

from bulkgrants.credentials.secrets import OAuthApp
from bulkgrants.errors import Misconfigured, RequestRefused, Unavailable
from bulkgrants.model import Provider
from bulkgrants.nylas.calls import Connector, create_connector, get_connector
from bulkgrants.nylas.sending import Sender


def ensure_connector(sender: Sender, provider: Provider, oauth_app: OAuthApp | None) -> Connector:
    """The provider's connector; made from the OAuth application where there is none.

    Raises Misconfigured where one has to be made and no OAuth application is given.
    """
    found = _find(sender, provider)
    if found is not None:
        return found
    if oauth_app is None:
        raise Misconfigured(
            f"The Nylas application has no {provider} connector. Create it in the Nylas dashboard, "
            f"or name an Airflow connection with the client id and secret of a {provider} OAuth "
            f"application in [bulkgrants] {provider}_connector_conn_id."
        )
    try:
        return sender.send(
            create_connector(
                provider, oauth_app.client_id, oauth_app.client_secret, oauth_app.tenant
            )
        )
    except (Unavailable, RequestRefused):
        # It may exist all the same: made by this call, or by another process a moment earlier.
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
