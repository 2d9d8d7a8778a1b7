"""Probes a tenant with its canary: one ordinary authentication, recorded as what it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, Engine, insert, select

from bulkgrants.errors import Misconfigured, Refusal, Refused, Retriable
from bulkgrants.ledger import onboarding as steps
from bulkgrants.ledger.credentials import credential_ids
from bulkgrants.ledger.engine import reading
from bulkgrants.ledger.grants import Owned, own
from bulkgrants.ledger.onboarding import Onboarding
from bulkgrants.ledger.tables import probes
from bulkgrants.model import Grant
from bulkgrants.nylas.calls import authenticate
from bulkgrants.ports import Clock, Sender
from bulkgrants.scopes import split
from bulkgrants.text import bounded

HOPELESS = frozenset(
    {
        Refusal.SECRET_INVALID,
        Refusal.MAILBOX_UNKNOWN,
        Refusal.GRANT_BLOCKED,
        Refusal.TENANT_MISCONFIGURED,
    }
)
"""Refusals that no waiting mends: a person has to change something first."""
_LONGEST_MESSAGE = 1000
"""Characters: all that an error of ours has to say, the request id at its end included."""


class ProbeOutcome(StrEnum):
    """What a probe showed."""

    GRANTED = "granted"
    """The canary's grant carries every scope it must."""
    PARTIAL = "partial"
    """There is a grant, and scopes are missing."""
    REFUSED = "refused"
    UNSERVED = "unserved"
    """Nylas or the provider could not answer; nothing is known."""


@dataclass(frozen=True, slots=True)
class Probed:
    """One probe."""

    outcome: ProbeOutcome
    missing: tuple[str, ...]
    """The scopes that the canary's grant does not carry; all of them while there is no grant."""
    message: str = ""
    """What was answered instead of a grant."""
    refusal: Refusal | None = None
    rest: timedelta = timedelta()
    """How long the other side has asked to be left alone."""

    @property
    def hopeless(self) -> bool:
        """Whether waiting any longer is in vain."""
        return self.refusal in HOPELESS


def probe(
    engine: Engine, sender: Sender, onboarding: Onboarding, *, run_key: str, clock: Clock
) -> Probed:
    """Authenticate the canary, and record the probe and the grant; what is complete is ready.

    The canary's grant is a grant like any other: recorded, owned, and an orphan some day where the
    roster does not name it. Dying between the call and the record loses nothing: the next probe
    finds the same grant. Raises Misconfigured without a canary or a registered credential,
    Superseded where the tenant is another run's, and the Fatal errors of the sender.
    """
    credential_id = _credential_id(engine, onboarding)
    with engine.begin() as connection:
        steps.keep_claim(connection, onboarding.application, onboarding.tenant, run_key, clock())
    call = authenticate(onboarding.provider, onboarding.canary, credential_id, onboarding.scopes)
    every = tuple(split(onboarding.required))
    try:
        grant = sender.send(call)
    except Refused as error:
        message = bounded(error, _LONGEST_MESSAGE)
        probed = Probed(ProbeOutcome.REFUSED, every, message, error.refusal)
        return _record(engine, onboarding, probed, run_key, clock())
    except Retriable as error:
        message, rest = bounded(error, _LONGEST_MESSAGE), timedelta(seconds=error.after or 0)
        probed = Probed(ProbeOutcome.UNSERVED, every, message, rest=rest)
        return _record(engine, onboarding, probed, run_key, clock())
    missing = missing_scopes(onboarding.required, grant.scopes)
    outcome = ProbeOutcome.PARTIAL if missing else ProbeOutcome.GRANTED
    return _record(engine, onboarding, Probed(outcome, missing), run_key, clock(), grant)


def last_answer(engine: Engine, onboarding: Onboarding) -> Probed | None:
    """The latest probe of this wait that was answered, as it is recorded, or None.

    It tells no `refusal`: the ledger keeps the message alone.
    """
    statement = (
        select(probes.c.outcome, probes.c.missing, probes.c.message)
        .where(
            probes.c.application == onboarding.application,
            probes.c.tenant == onboarding.tenant,
            probes.c.at >= onboarding.since,
            probes.c.outcome != ProbeOutcome.UNSERVED,
        )
        .order_by(probes.c.id.desc())
        .limit(1)
    )
    with reading(engine).connect() as connection:
        row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    return Probed(ProbeOutcome(row.outcome), tuple(split(row.missing)), row.message)


def missing_scopes(required: str, carried: str) -> tuple[str, ...]:
    """The required scopes that a grant does not carry; both canonical, case does not matter."""
    there = {scope.casefold() for scope in split(carried)}
    return tuple(scope for scope in split(required) if scope.casefold() not in there)


def _credential_id(engine: Engine, onboarding: Onboarding) -> str:
    if not onboarding.canary:
        raise Misconfigured(
            f"The tenant {onboarding.tenant} names no canary; write the address of one of its "
            "mailboxes into the column `canary` of the tenants table."
        )
    with reading(engine).connect() as connection:
        known = credential_ids(connection, onboarding.application)
    credential_id = known.get((onboarding.provider, onboarding.credential))
    if credential_id is None:
        raise Misconfigured(
            f"The credential '{onboarding.credential}' of the tenant {onboarding.tenant} is not "
            "registered at Nylas; run the task `register` of this tenant first."
        )
    return credential_id


def _record(
    engine: Engine,
    onboarding: Onboarding,
    probed: Probed,
    run_key: str,
    now: datetime,
    grant: Grant | None = None,
) -> Probed:
    with engine.begin() as connection:
        # again: the exchange may have taken as long as another run needed to take over
        steps.keep_claim(connection, onboarding.application, onboarding.tenant, run_key, now)
        connection.execute(
            insert(probes).values(
                application=onboarding.application,
                tenant=onboarding.tenant,
                email=onboarding.canary,
                at=now,
                outcome=probed.outcome,
                missing=" ".join(probed.missing),
                reason=probed.refusal or "",
                message=probed.message,
            )
        )
        if grant is not None:
            _keep(connection, onboarding, grant)
        if probed.outcome is ProbeOutcome.GRANTED:
            steps.ready(connection, onboarding.application, onboarding.tenant, now)
    return probed


def _keep(connection: Connection, onboarding: Onboarding, grant: Grant) -> None:
    mailbox = Owned(onboarding.provider, onboarding.canary, onboarding.tenant, grant)
    own(connection, onboarding.application, [mailbox])
