"""Makes sure that the API key is that of the application under which the ledger keeps its records.

With the key of another application, all grants in the ledger would look gone, and every mailbox of
the roster would get a second grant in that application.
"""

from __future__ import annotations

from http import HTTPStatus

from bulkgrants.errors import ApiKeyRefused, Misconfigured, RequestRefused
from bulkgrants.ledger.database import Ledger
from bulkgrants.ledger.staging import known_grants
from bulkgrants.nylas.calls import find_grant, get_application
from bulkgrants.nylas.sending import Sender
from bulkgrants.text import quoted

_ASKED = 5
"""Grants to look for. Fewer may all have been deleted since the last night."""


def require_application(
    sender: Sender, ledger: Ledger, *, application: str, connection: str
) -> None:
    """Compare the key's application with `application`; `connection` is how a sentence names it.

    If the key may not read its application, look for some grants that the ledger knows. Raises
    Misconfigured if they differ, and what the sender raises if Nylas cannot answer. If nothing
    tells the application, as with a new ledger, nothing is raised.
    """
    if not confirm_application(sender, application=application, connection=connection):
        _require_known_grants(sender, ledger, application, connection)


def confirm_application(sender: Sender, *, application: str, connection: str) -> bool:
    """Whether Nylas says that the key is the application's; False if it does not tell.

    Raises Misconfigured if it is another application's.
    """
    try:
        found = sender.send(get_application())
    except (ApiKeyRefused, RequestRefused):
        return False  # a key that is refused everywhere says so at the next call
    if found is not None and found.strip().lower() != application.strip().lower():
        raise Misconfigured(
            f"The API key of the {connection} belongs to the application {quoted(found)}, but its "
            f"field `client_id` says {quoted(application)}; correct one of them. Nothing was "
            "written to Nylas."
        )
    return found is not None


def _require_known_grants(
    sender: Sender, ledger: Ledger, application: str, connection: str
) -> None:
    known = known_grants(ledger, application, _ASKED)
    if len(known) < _ASKED:
        return
    for grant_id in known:
        try:
            sender.send(find_grant(grant_id))
        except RequestRefused as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        else:
            return
    raise Misconfigured(
        f"The API key of the {connection} may not read its application, and of {len(known)} "
        f"grants that the ledger knows of application {quoted(application)} it sees none; it is "
        "probably the key of another application. Correct the key or the field `client_id`, or "
        "use a key that may read its application. Nothing was written to Nylas."
    )
