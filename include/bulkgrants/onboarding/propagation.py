"""Propagation: the wait until the provider honours an admin's consent or delegation.

A probe shows whether it does: an ordinary authentication of the tenant's canary, recorded as such.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bulkgrants.errors import Misconfigured, NotPropagated, Refused, Retriable, Superseded
from bulkgrants.ledger import onboarding as records
from bulkgrants.ledger.database import Ledger, reading
from bulkgrants.ledger.rights import keep_hold, writing
from bulkgrants.ledger.tenants import credential_ids
from bulkgrants.model import Actual, Awaiting, Grant, Onboarding, Probed, ProbeOutcome, Provider
from bulkgrants.nylas.answers import unlike_asked
from bulkgrants.nylas.calls import authenticate, list_grants
from bulkgrants.nylas.sending import Sender
from bulkgrants.onboarding.canary import Approach, approach, grants_of
from bulkgrants.ports import Chance, Clock
from bulkgrants.refusals import Concerns, Refusal
from bulkgrants.text import bounded

FIRST_WAIT = timedelta(seconds=10)
"""The shortest wait between two probes."""
LONGEST_WAIT = timedelta(minutes=15)
_GROWTH = 1 / 3
"""The wait between two probes, as a fraction of the time that has passed."""

HOPELESS = frozenset(
    {
        Refusal.SECRET_INVALID,
        Refusal.MAILBOX_UNKNOWN,
        Refusal.GRANT_BLOCKED,
        Refusal.TENANT_MISCONFIGURED,
    }
)
"""Refusals that waiting does not help: a person has to change something first."""
_WHERE = {
    Provider.MICROSOFT: (
        "Add them to the Azure app as application permissions of Microsoft Graph and have the "
        "admin open the same consent link again, or take them out of the tenant's `scopes`."
    ),
    Provider.GOOGLE: (
        "Delegate them to the service account in the customer's Google Admin console, or take "
        "them out of the tenant's `scopes`."
    ),
}
_SECOND = "%Y-%m-%d %H:%M:%S"
_ANEW = "Then trigger onboard_tenants with `tenants` set to {}, which begins the wait anew."


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to wait for one provider."""

    floor: timedelta
    """How long to wait before the first probe. Microsoft caches scopes for some minutes, and a
    probe that comes too early may make it keep the old ones longer (docs/nylas-api.md, Admin
    consent)."""
    deadline: timedelta
    """If it takes longer than this, something must be wrong."""

    def first_probe(self, since: datetime) -> datetime:
        """The earliest time for a probe."""
        return since + self.floor

    def next_probe(
        self, since: datetime, now: datetime, chance: Chance, rest: timedelta = timedelta()
    ) -> datetime:
        """The time of the next probe; the last one is due at the deadline itself.

        It is at least `rest` away, which is what the other side asked for. Waits grow with the time
        that has passed, so no count has to be kept: a task that continues the wait after a break
        goes on as if there had been none. Each wait is random within a range, so that tenants that
        began together are not all probed at the same time.
        """
        wait = min(max(FIRST_WAIT, (now - since) * _GROWTH), LONGEST_WAIT)
        at = now + max(wait * (0.75 + 0.5 * chance()), rest)
        end = since + self.deadline
        return min(at, end) if now < end else at

    def is_over(self, since: datetime, now: datetime) -> bool:
        """Whether the deadline has passed."""
        return now >= since + self.deadline


@dataclass(frozen=True, slots=True)
class Ready:
    """The canary's grant carries every required scope."""


@dataclass(frozen=True, slots=True)
class ProbeAgain:
    """Another probe is due at `until`."""

    until: datetime
    probed: Probed | None
    """What the latest probe has shown; None if it was too early for one."""


def advance(
    ledger: Ledger,
    sender: Sender,
    onboarding: Onboarding,
    pace: Pace,
    *,
    run_key: str,
    clock: Clock,
    chance: Chance,
) -> Ready | ProbeAgain:
    """Probe if a probe is due; returns what comes next.

    Raises NotPropagated once the deadline has passed, with the names of the missing scopes; if the
    canary says that the consent is missing, the tenant then awaits its admin again. Raises
    Misconfigured if waiting does not help, with what to do; Superseded if the tenant awaits its
    admin's consent, or was never taken up; and what `probe` raises.
    """
    if onboarding.awaiting is None:
        return Ready()
    if onboarding.awaiting is not Awaiting.PROPAGATION or onboarding.since is None:
        raise Superseded(
            f"The tenant {onboarding.tenant} awaits its admin's consent, or no run has taken it "
            "up; this run leaves it alone, and the next one takes it up."
        )
    first = pace.first_probe(onboarding.since)
    if clock() < first:
        return ProbeAgain(first, None)
    probed = probe(ledger, sender, onboarding, run_key=run_key, clock=clock)
    if probed.outcome is ProbeOutcome.GRANTED:
        return Ready()
    if probed.known is not None and probed.known.refusal in HOPELESS:
        raise Misconfigured(
            f"The canary {bounded(onboarding.canary, 120)} of the tenant {onboarding.tenant} was "
            f"refused, and waiting will not change that. {_advice(probed)}"
        )
    now = clock()
    if pace.is_over(onboarding.since, now):
        said = _overdue(ledger, onboarding, pace, probed)
        if wants_consent(onboarding, probed):
            with writing(ledger, onboarding.held_by(run_key), now) as write:
                said = f"{said} {_next_link(onboarding, asks=records.ask_again(write))}"
        raise NotPropagated(said)
    return ProbeAgain(pace.next_probe(onboarding.since, now, chance, probed.rest), probed)


def why_it_waits(onboarding: Onboarding, again: ProbeAgain, pace: Pace) -> str:
    """What the tenant waits for, and until when."""
    probed = again.probed
    if probed is None:
        why = "a probe right after the consent would come too early."
    elif probed.outcome is ProbeOutcome.UNSERVED:
        why = f"its canary's last probe was not answered. ({probed.message})"
    else:
        why = f"{_canary(onboarding)} lacks {_named(probed.missing)}."
        if probed.known is not None and wants_consent(onboarding, probed):
            # without the remedy: no new link is made before the wait ends
            why = f"{why} {probed.known.meaning} ({probed.message})"
        elif probed.message:
            why = f"{why} {_advice(probed)}"
    end = onboarding.since + pace.deadline if onboarding.since else again.until
    return (
        f"The tenant {onboarding.tenant} awaits propagation: {why} The next probe is due at "
        f"{again.until:{_SECOND}} UTC; the wait ends at {end:{_SECOND}} UTC."
    )


def probe(
    ledger: Ledger, sender: Sender, onboarding: Onboarding, *, run_key: str, clock: Clock
) -> Probed:
    """Look at the canary, authenticate it, and record the probe and the grant.

    If the grant carries every required scope, the tenant is ready. A grant that the probe makes is
    like any other: recorded, owned, and later an orphan if the roster does not name it. A grant of
    ours that is already there is authenticated too, as nothing else shows what the provider honours
    now. A process that dies between the call and the record loses nothing, because the next probe
    finds the same grant. Raises Misconfigured without a canary or a registered credential, or if
    the canary has a grant that must not be rewritten; Superseded if another run holds the tenant;
    and the Fatal errors of the sender.
    """
    credential_id = _credential_id(ledger, onboarding)
    keep_hold(ledger, onboarding.held_by(run_key), clock())
    before: Actual | None = None
    grant: Grant | None = None
    try:
        how = _look(ledger, sender, onboarding, credential_id)
        before = how.grant
        call = authenticate(onboarding.provider, how.address, credential_id, how.scopes)
        grant = sender.send(call)
    except Refused as error:
        probed = Probed.refused(onboarding.required, error, error.known)
    except Retriable as error:
        probed = Probed.unserved(onboarding.required, error, error.after)
    else:
        odd = unlike_asked(grant, onboarding, how.address, before)
        probed = Probed.granted(onboarding.required, grant.scopes, odd)
    # checked again: while the call was under way, another run may have taken over
    with writing(ledger, onboarding.held_by(run_key), clock()) as write:
        ours = grant is not None and grant.is_ours(before, onboarding.since)
        records.record_probe(write, onboarding, probed, grant, owned=ours)
        if probed.outcome is ProbeOutcome.GRANTED:
            records.ready(write)
    return probed


def require_probable(ledger: Ledger, sender: Sender, onboarding: Onboarding) -> None:
    """Make sure that the tenant has a canary that may be probed, before its admin is asked.

    Raises Misconfigured, as a probe would, and the errors of the sender. Whether the provider knows
    the mailbox only shows once there is a consent.
    """
    _look(ledger, sender, onboarding, _credential_id(ledger, onboarding))


def _look(ledger: Ledger, sender: Sender, onboarding: Onboarding, credential_id: str) -> Approach:
    """How to authenticate the canary, from what Nylas and the ledger have for it now."""
    call = list_grants(email=onboarding.canary, provider=onboarding.provider)
    listed = grants_of(onboarding.canary, onboarding.provider, sender.send(call).items)
    with reading(ledger) as connection:
        recorded, gone = records.recorded_canary(connection, onboarding) or (None, False)
        registered = credential_ids(connection, onboarding.application)
    return approach(
        onboarding,
        listed,
        recorded,
        gone=gone,
        credential_id=credential_id,
        registered=registered.values(),
    )


def wants_consent(onboarding: Onboarding, probed: Probed) -> bool:
    """Whether the canary says that there is no consent, whatever an admin's answer said."""
    known = probed.known
    missing = known is not None and known.refusal is Refusal.CONSENT_MISSING
    return missing and onboarding.provider is Provider.MICROSOFT


def _next_link(onboarding: Onboarding, *, asks: bool) -> str:
    if asks:
        return (
            "The recorded consent is worth nothing, so the tenant awaits its admin again; the next "
            "run of onboard_tenants makes a new link."
        )
    return (
        f"{records.MOST_UNHONOURED} consents in "
        f"{records.UNHONOURED_WITHIN.days} days were worth nothing, so the tenant rests. "
        "Correct the cause, make sure that only its admin has the links, then trigger "
        f"onboard_tenants with `tenants` set to {onboarding.tenant}, which makes a new link."
    )


def _credential_id(ledger: Ledger, onboarding: Onboarding) -> str:
    if not onboarding.canary:
        raise Misconfigured(
            f"The tenant {onboarding.tenant} does not name a canary; write the address of one of "
            "its mailboxes into the column `canary` of the tenants table."
        )
    with reading(ledger) as connection:
        known = credential_ids(connection, onboarding.application)
    credential_id = known.get((onboarding.provider, onboarding.credential))
    if credential_id is None:
        raise Misconfigured(
            f"The credential '{onboarding.credential}' of the tenant {onboarding.tenant} is not "
            "registered at Nylas; run the task `register` of this tenant first."
        )
    return credential_id


def _advice(probed: Probed) -> str:
    """What a refused probe means, what to do about it, and what was answered."""
    if probed.known is None:
        return probed.message
    known = probed.known
    another = known.concerns is Concerns.MAILBOX
    instead = " Or name another mailbox in the column `canary` of the tenants table."
    return f"{known.meaning} {known.remedy}{instead if another else ''} ({probed.message})"


def _canary(onboarding: Onboarding) -> str:
    return f"the grant of its canary {bounded(onboarding.canary, 120)}"


def _named(missing: Iterable[str]) -> str:
    return bounded(", ".join(missing), 600)


def _overdue(ledger: Ledger, onboarding: Onboarding, pace: Pace, probed: Probed) -> str:
    unserved = probed.outcome is ProbeOutcome.UNSERVED
    answered: Probed | None = probed
    if unserved:
        answered = records.last_answered_probe(
            ledger, onboarding.application, onboarding.tenant, onboarding.since
        )
    hours = pace.deadline.total_seconds() / 3600
    missing = _named((answered or probed).missing)
    head = (
        f"The tenant {onboarding.tenant} is not ready {hours:g} h after "
        f"{'its consent' if onboarding.provider is Provider.MICROSOFT else 'the first probe'}: "
    )
    canary = _canary(onboarding)
    if answered is None:
        return (
            f"{head}no probe was answered, so it is unknown whether {canary} carries "
            f"{missing}. Wait until the provider and Nylas answer again. "
            f"{_ANEW.format(onboarding.tenant)} ({probed.message})"
        )
    source = ", as the last answered probe shows" if unserved else ""
    head += f"{canary} lacks {missing}{source}."
    if answered.outcome is ProbeOutcome.PARTIAL:
        return f"{head} {_WHERE[onboarding.provider]} {_ANEW.format(onboarding.tenant)}"
    if not wants_consent(onboarding, answered):
        return f"{head} {_advice(answered)} {_ANEW.format(onboarding.tenant)}"
    once_more = (
        " The next run of onboard_tenants asks the canary once more; if it says the same, the "
        "tenant awaits its admin again, with a new link."
    )
    return f"{head} {_advice(answered)}{once_more if unserved else ''}"
