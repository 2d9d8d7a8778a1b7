"""Which credentials are registered, by name."""

from __future__ import annotations

from sqlalchemy import Connection, select

from bulkgrants.ledger.tables import credentials


def credential_ids(connection: Connection, application: str) -> dict[tuple[str, str], str]:
    """The id at Nylas of each registered credential, by provider and name."""
    rows = connection.execute(
        select(credentials.c.provider, credentials.c.name, credentials.c.credential_id).where(
            credentials.c.application == application
        )
    )
    return {(provider, name): credential_id for provider, name, credential_id in rows}
