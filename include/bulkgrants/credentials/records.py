"""What the ledger knows of the credentials registered at Nylas."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, select
from sqlalchemy.dialects import postgresql, sqlite

from bulkgrants.ledger.engine import reading
from bulkgrants.ledger.tables import credentials
from bulkgrants.model import CredentialType, Provider


@dataclass(frozen=True, slots=True)
class Record:
    """One registered credential."""

    credential_id: str
    fingerprint: str
    """Of the secret that Nylas holds; see `secrets.fingerprint`."""
    registered_at: datetime
    rotated_at: datetime | None


def find(engine: Engine, application: str, provider: Provider, name: str) -> Record | None:
    """The record of a credential, or None."""
    statement = select(
        credentials.c.credential_id,
        credentials.c.fingerprint,
        credentials.c.registered_at,
        credentials.c.rotated_at,
    ).where(
        credentials.c.application == application,
        credentials.c.provider == str(provider),
        credentials.c.name == name,
    )
    with reading(engine).connect() as connection:
        row = connection.execute(statement).one_or_none()
    return None if row is None else Record(*row)


def keep(
    engine: Engine,
    record: Record,
    *,
    application: str,
    provider: Provider,
    name: str,
    credential_type: CredentialType,
) -> None:
    """Write the record, over an older one where there is one."""
    dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
    written = {
        "credential_type": str(credential_type),
        "credential_id": record.credential_id,
        "fingerprint": record.fingerprint,
        "registered_at": record.registered_at,
        "rotated_at": record.rotated_at,
    }
    key = {"application": application, "provider": str(provider), "name": name}
    statement = dialect.insert(credentials).values(**key, **written)
    statement = statement.on_conflict_do_update(index_elements=list(key), set_=written)
    with engine.begin() as connection:
        connection.execute(statement)
