"""Registers a credential at Nylas: looks for it by name, then creates, keeps or rotates it.

It is safe to repeat at any point. If the process dies between the call and the record, the next run
finds the credential by its name, does not know its contents, and sends the ones it should have.

Nylas accepts new contents for an `adminconsent` credential only if they have a client id and secret
of their own. A credential that uses the connector's is created again instead: for the same contents
Nylas returns the same credential.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus

from bulkgrants.errors import Misconfigured, RequestRefused, Unavailable
from bulkgrants.ledger import tenants as records
from bulkgrants.ledger.database import Ledger
from bulkgrants.model import CredentialType, Provider, RegisteredCredential
from bulkgrants.nylas.calls import (
    Credential,
    create_credential,
    list_credentials,
    update_credential,
)
from bulkgrants.nylas.sending import Sender
from bulkgrants.ports import Clock


class Registration(StrEnum):
    """What was done to register a credential."""

    CREATED = "created"
    KEPT = "kept"
    ROTATED = "rotated"


@dataclass(frozen=True, slots=True)
class Registered:
    """A credential at Nylas that holds the secret of its connection."""

    credential_id: str
    registration: Registration


@dataclass(frozen=True, slots=True)
class Wanted:
    """A credential as it should be at Nylas. Its repr does not show the contents."""

    provider: Provider
    name: str
    credential_type: CredentialType
    credential_data: Mapping[str, str] = field(repr=False)
    """What is sent to Nylas."""
    fingerprint: str = field(repr=False)
    """`secrets.fingerprint` of `credential_data`."""

    @property
    def replaces(self) -> bool:
        """Whether Nylas accepts these contents for a credential that already exists."""
        consents = self.credential_type is CredentialType.ADMIN_CONSENT
        return not consents or "client_id" in self.credential_data


def register(
    sender: Sender, ledger: Ledger, *, application: str, wanted: Wanted, clock: Clock
) -> Registered:
    """Make sure that the credential has the wanted contents, and record it in the ledger.

    New contents also free the credential's tenants from quarantine. Raises Misconfigured if the
    name is taken by a credential of another type, or by one whose contents cannot be changed.
    """
    existing = find_credential(sender, wanted.provider, wanted.name)
    record = records.find_credential(ledger, application, wanted.provider, wanted.name)
    registration = decide(existing, record, wanted)
    if existing is None or (registration is Registration.ROTATED and not wanted.replaces):
        held = existing.credential_id if existing else None
        existing, registration = _ask(sender, wanted, held)
    elif registration is Registration.ROTATED:
        _rotate(sender, existing, wanted)
    if _knows(record, existing, wanted) and registration is not Registration.ROTATED:
        return Registered(existing.credential_id, Registration.KEPT)
    records.record_credential(
        ledger,
        _record(record, existing.credential_id, registration, wanted, clock),
        application=application,
        provider=wanted.provider,
        name=wanted.name,
        credential_type=wanted.credential_type,
    )
    return Registered(existing.credential_id, registration)


def decide(
    existing: Credential | None, record: RegisteredCredential | None, wanted: Wanted
) -> Registration:
    """What to do about a credential, given what Nylas has and what the ledger knows.

    A credential with unknown contents is rotated, because Nylas never shows what it holds. Raises
    Misconfigured if the existing one is of another type.
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


def _knows(record: RegisteredCredential | None, existing: Credential, wanted: Wanted) -> bool:
    """Whether the ledger says that this credential already has the wanted contents."""
    known = (existing.credential_id, wanted.fingerprint)
    return record is not None and (record.credential_id, record.fingerprint) == known


def _record(
    before: RegisteredCredential | None,
    credential_id: str,
    registration: Registration,
    wanted: Wanted,
    clock: Clock,
) -> RegisteredCredential:
    now = clock()
    same = before if before is not None and before.credential_id == credential_id else None
    rotated_at = same.rotated_at if same else None
    return RegisteredCredential(
        credential_id=credential_id,
        fingerprint=wanted.fingerprint,
        registered_at=same.registered_at if same else now,
        rotated_at=now if registration is Registration.ROTATED else rotated_at,
    )


def find_credential(sender: Sender, provider: Provider, name: str) -> Credential | None:
    """The connector's credential with that name, or None; reads as many pages as it takes."""
    return next((one for one in _credentials(sender, provider) if one.name == name), None)


def _credentials(sender: Sender, provider: Provider) -> Iterator[Credential]:
    seen: set[str] = set()
    while True:
        page = sender.send(list_credentials(provider, offset=len(seen)))
        fresh = [one for one in page.items if one.credential_id not in seen]
        yield from fresh
        if not fresh:
            # a page in the middle may be short by mistake, and a second credential cannot be undone
            if page.is_short:
                return
            raise Unavailable(
                f"Nylas returned a page of {provider} credentials that it had returned before; "
                "the listing cannot be read to the end."
            )
        seen |= {one.credential_id for one in fresh}


def _ask(sender: Sender, wanted: Wanted, held: str | None) -> tuple[Credential, Registration]:
    """Create the credential, or get the one with the same contents.

    `held` is the id of the credential that has this name now.
    """
    call = create_credential(
        wanted.provider, wanted.name, wanted.credential_type, wanted.credential_data
    )
    try:
        given = sender.send(call)
    except RequestRefused as error:
        if error.status not in {HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT}:
            raise
        # Names are unique, so it has other contents, or another process made it a moment ago.
        existing = find_credential(sender, wanted.provider, wanted.name)
        if existing is None:
            raise
        decide(existing, None, wanted)  # raises if it is of another type
        if not wanted.replaces:
            raise Misconfigured(
                f"The credential '{wanted.name}' exists at Nylas with other contents, and a "
                "credential that uses the connector's client id and secret cannot be changed; give "
                "the tenant's credential another name, or set `secret_conn_id` to a connection."
            ) from error
        _rotate(sender, existing, wanted)
        return existing, Registration.ROTATED
    same = given.credential_id == held
    return given, Registration.KEPT if same else Registration.CREATED


def _rotate(sender: Sender, existing: Credential, wanted: Wanted) -> None:
    call = update_credential(wanted.provider, existing.credential_id, wanted.credential_data)
    sender.send(call)
