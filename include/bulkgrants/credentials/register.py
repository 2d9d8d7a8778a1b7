"""Registers a Google service account at Nylas: found by name, then made, kept or rotated.

Whatever happens in between, running it again ends in the same state. Where the process dies after
the call and before the record, the next run finds the credential by its name, does not know what it
holds, and rotates it to the secret it already has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from sqlalchemy import Engine

from bulkgrants.credentials import records
from bulkgrants.credentials.records import Record
from bulkgrants.credentials.secrets import ServiceAccountKey
from bulkgrants.errors import Misconfigured, RequestRefused, Unavailable
from bulkgrants.ledger.tenants import release_quarantine
from bulkgrants.model import CredentialType, Provider
from bulkgrants.nylas.calls import create_credential, list_credentials, update_credential
from bulkgrants.nylas.replies import Credential
from bulkgrants.nylas.wire import JsonObject
from bulkgrants.ports import Clock, Sender


class Registration(StrEnum):
    """What registering a credential came to."""

    CREATED = "created"
    KEPT = "kept"
    ROTATED = "rotated"


@dataclass(frozen=True, slots=True)
class Registered:
    """A credential that Nylas has, with the secret that we have."""

    credential_id: str
    registration: Registration


def register_service_account(
    sender: Sender,
    engine: Engine,
    *,
    application: str,
    name: str,
    key: ServiceAccountKey,
    fingerprint: str,
    clock: Clock,
) -> Registered:
    """Bring the Google credential called `name` to this key, and record it in the ledger.

    A credential with new contents also frees its tenants from quarantine. `fingerprint` is
    `secrets.fingerprint` of the key. Raises Misconfigured where Nylas holds a
    credential of another type under that name.
    """
    existing = find_credential(sender, Provider.GOOGLE, name)
    record = records.find(engine, application, Provider.GOOGLE, name)
    registration = decide(existing, record, fingerprint)
    if existing is None:
        existing, registration = _create(sender, name, key.credential_data)
    elif registration is Registration.ROTATED:
        _rotate(sender, existing, key.credential_data)
    if record is None or registration is not Registration.KEPT:
        with engine.begin() as connection:
            release_quarantine(connection, application, Provider.GOOGLE, name)
        now = clock()
        same = record is not None and record.credential_id == existing.credential_id
        written = Record(
            credential_id=existing.credential_id,
            fingerprint=fingerprint,
            registered_at=record.registered_at if same and record is not None else now,
            rotated_at=now if registration is Registration.ROTATED else None,
        )
        records.keep(
            engine,
            written,
            application=application,
            provider=Provider.GOOGLE,
            name=name,
            credential_type=CredentialType.SERVICE_ACCOUNT,
        )
    return Registered(existing.credential_id, registration)


def decide(existing: Credential | None, record: Record | None, fingerprint: str) -> Registration:
    """What to do about a credential, from what Nylas has and what the ledger knows of it.

    A credential of unknown content is rotated: Nylas never says what it holds.
    """
    if existing is None:
        return Registration.CREATED
    if existing.credential_type not in {None, CredentialType.SERVICE_ACCOUNT}:
        raise Misconfigured(
            f"The credential '{existing.name}' exists at Nylas with type "
            f"'{existing.credential_type}', not '{CredentialType.SERVICE_ACCOUNT}'; "
            "give the tenant's credential another name."
        )
    known = record is not None and record.credential_id == existing.credential_id
    if known and record is not None and record.fingerprint == fingerprint:
        return Registration.KEPT
    return Registration.ROTATED


def find_credential(sender: Sender, provider: Provider, name: str) -> Credential | None:
    """The connector's credential of that name, or None; reads as many pages as it takes."""
    return next((one for one in _credentials(sender, provider) if one.name == name), None)


def _credentials(sender: Sender, provider: Provider) -> Iterator[Credential]:
    seen: set[str] = set()
    while True:
        page = sender.send(list_credentials(provider, offset=len(seen)))
        fresh = [one for one in page.items if one.credential_id not in seen]
        yield from fresh
        if page.is_last:
            return
        if not fresh:
            raise Unavailable(
                f"Nylas gave a page of {provider} credentials that it had given before; "
                "its listing cannot be read to the end."
            )
        seen |= {one.credential_id for one in fresh}


def _create(
    sender: Sender, name: str, credential_data: JsonObject
) -> tuple[Credential, Registration]:
    call = create_credential(Provider.GOOGLE, name, CredentialType.SERVICE_ACCOUNT, credential_data)
    try:
        return sender.send(call), Registration.CREATED
    except RequestRefused as error:
        if error.status not in {HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT}:
            raise
        # Names are unique: somebody else may have made it since we looked.
        existing = find_credential(sender, Provider.GOOGLE, name)
        if existing is None:
            raise
        decide(existing, None, "")  # raises where it is of another type
        _rotate(sender, existing, credential_data)
        return existing, Registration.ROTATED


def _rotate(sender: Sender, existing: Credential, credential_data: JsonObject) -> None:
    sender.send(update_credential(Provider.GOOGLE, existing.credential_id, credential_data))
