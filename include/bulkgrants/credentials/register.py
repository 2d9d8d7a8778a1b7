"""Registers a credential at Nylas: found by name, then made, kept or rotated.

Whatever happens in between, running it again ends in the same state. Where the process dies after
the call and before the record, the next run finds the credential by its name, does not know what it
holds, and gives it what it should hold.

Nylas takes new contents for an `adminconsent` credential only with a client id and secret in them.
One that uses the connector's own is asked for again instead: the same contents give the same one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus

from sqlalchemy import Engine

from bulkgrants.credentials import records
from bulkgrants.credentials.records import Record
from bulkgrants.errors import Misconfigured, RequestRefused, Unavailable
from bulkgrants.ledger.tenants import release_quarantine
from bulkgrants.model import CredentialType, Provider
from bulkgrants.nylas.calls import create_credential, list_credentials, update_credential
from bulkgrants.nylas.replies import Credential
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


@dataclass(frozen=True, slots=True)
class Wanted:
    """A credential as it should be at Nylas. Its repr shows nothing of the contents."""

    provider: Provider
    name: str
    credential_type: CredentialType
    credential_data: Mapping[str, str] = field(repr=False)
    """What is sent to Nylas."""
    fingerprint: str = field(repr=False)
    """`secrets.fingerprint` of `credential_data`."""

    @property
    def replaces(self) -> bool:
        """Whether Nylas would take the contents for a credential that it has."""
        consents = self.credential_type is CredentialType.ADMIN_CONSENT
        return not consents or "client_id" in self.credential_data


def register(
    sender: Sender, engine: Engine, *, application: str, wanted: Wanted, clock: Clock
) -> Registered:
    """Bring the credential to the contents that are wanted, and record it in the ledger.

    A credential with new contents also frees its tenants from quarantine. Raises Misconfigured
    where the name is taken: by a credential of another type, or by one that cannot be brought to
    these contents.
    """
    existing = find_credential(sender, wanted.provider, wanted.name)
    record = records.find(engine, application, wanted.provider, wanted.name)
    registration = decide(existing, record, wanted)
    if existing is None or (registration is Registration.ROTATED and not wanted.replaces):
        held = existing.credential_id if existing else None
        existing, registration = _ask(sender, wanted, held)
    elif registration is Registration.ROTATED:
        _rotate(sender, existing, wanted)
    if _knows(record, existing, wanted) and registration is not Registration.ROTATED:
        return Registered(existing.credential_id, Registration.KEPT)
    with engine.begin() as connection:
        release_quarantine(connection, application, wanted.provider, wanted.name)
    records.keep(
        engine,
        _record(record, existing.credential_id, registration, wanted, clock),
        application=application,
        provider=wanted.provider,
        name=wanted.name,
        credential_type=wanted.credential_type,
    )
    return Registered(existing.credential_id, registration)


def decide(existing: Credential | None, record: Record | None, wanted: Wanted) -> Registration:
    """What to do about a credential, from what Nylas has and what the ledger knows of it.

    A credential of unknown content is rotated: Nylas never says what it holds.
    """
    if existing is None:
        return Registration.CREATED
    if existing.credential_type not in {None, wanted.credential_type}:
        raise Misconfigured(
            f"The credential '{existing.name}' exists at Nylas with type "
            f"'{existing.credential_type}', not '{wanted.credential_type}'; "
            "give the tenant's credential another name."
        )
    return Registration.KEPT if _knows(record, existing, wanted) else Registration.ROTATED


def _knows(record: Record | None, existing: Credential, wanted: Wanted) -> bool:
    """Whether the ledger has it that this credential holds what is wanted."""
    known = (existing.credential_id, wanted.fingerprint)
    return record is not None and (record.credential_id, record.fingerprint) == known


def _record(
    before: Record | None,
    credential_id: str,
    registration: Registration,
    wanted: Wanted,
    clock: Clock,
) -> Record:
    now = clock()
    same = before if before is not None and before.credential_id == credential_id else None
    rotated_at = same.rotated_at if same else None
    return Record(
        credential_id=credential_id,
        fingerprint=wanted.fingerprint,
        registered_at=same.registered_at if same else now,
        rotated_at=now if registration is Registration.ROTATED else rotated_at,
    )


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


def _ask(sender: Sender, wanted: Wanted, held: str | None) -> tuple[Credential, Registration]:
    """The credential of these contents, made or given back; `held` is the id known by its name."""
    call = create_credential(
        wanted.provider, wanted.name, wanted.credential_type, wanted.credential_data
    )
    try:
        given = sender.send(call)
    except RequestRefused as error:
        if error.status not in {HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT}:
            raise
        # Names are unique: it holds something else, or somebody has made it since we looked.
        existing = find_credential(sender, wanted.provider, wanted.name)
        if existing is None:
            raise
        decide(existing, None, wanted)  # raises where it is of another type
        if not wanted.replaces:
            raise Misconfigured(
                f"The credential '{wanted.name}' exists at Nylas with other contents, and one that "
                "uses the connector's own client id and secret cannot be changed; give the "
                "tenant's credential another name, or name a connection in `secret_conn_id`."
            ) from error
        _rotate(sender, existing, wanted)
        return existing, Registration.ROTATED
    same = given.credential_id == held
    return given, Registration.KEPT if same else Registration.CREATED


def _rotate(sender: Sender, existing: Credential, wanted: Wanted) -> None:
    call = update_credential(wanted.provider, existing.credential_id, wanted.credential_data)
    sender.send(call)
