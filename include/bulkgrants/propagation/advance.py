"""Takes a tenant one step further through propagation: a probe that is due, or a wait."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from bulkgrants.consent.explanations import explain_refusal
from bulkgrants.errors import Misconfigured, NotPropagated, Refusal, Superseded
from bulkgrants.ledger.onboarding import Onboarding
from bulkgrants.model import Awaiting, Provider
from bulkgrants.ports import Chance, Clock, Sender
from bulkgrants.propagation.pace import Pace
from bulkgrants.propagation.probe import Probed, ProbeOutcome, last_answer, probe
from bulkgrants.text import bounded


@dataclass(frozen=True, slots=True)
class Ready:
    """The canary's grant carries every scope it must."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The next probe is due at a moment."""

    until: datetime
    probed: Probed | None
    """What was seen just now; None where it was too early to ask."""


def advance(
    engine: Engine,
    sender: Sender,
    onboarding: Onboarding,
    pace: Pace,
    *,
    run_key: str,
    clock: Clock,
    chance: Chance,
) -> Ready | Wait:
    """Probe if a probe is due; gives what comes next.

    Raises NotPropagated once the deadline has passed, with the scopes still missing by name;
    Misconfigured for what no waiting mends, with what to do; Superseded where the tenant awaits its
    admin's consent, or was never taken up; and what `probe` raises.
    """
    if onboarding.awaiting is None:
        return Ready()
    if onboarding.awaiting is not Awaiting.PROPAGATION or onboarding.since is None:
        raise Superseded(
            f"The tenant {onboarding.tenant} awaits its admin's consent, or was taken up by no "
            "run; this run leaves it alone, and the next one takes it up."
        )
    first = pace.first_probe(onboarding.since)
    if clock() < first:
        return Wait(first, None)
    probed = probe(engine, sender, onboarding, run_key=run_key, clock=clock)
    if probed.outcome is ProbeOutcome.GRANTED:
        return Ready()
    if probed.hopeless:
        explanation = explain_refusal(probed.message)
        raise Misconfigured(
            f"The canary {bounded(onboarding.canary, 120)} of the tenant {onboarding.tenant} was "
            f"refused, and waiting will not change that. {explanation.meaning} "
            f"{explanation.remedy}{_another(probed)} ({probed.message})"
        )
    now = clock()
    if pace.is_over(onboarding.since, now):
        raise NotPropagated(_overdue(engine, onboarding, pace, probed))
    return Wait(pace.next_probe(onboarding.since, now, chance, probed.rest), probed)


def _another(probed: Probed) -> str:
    if probed.refusal in {Refusal.MAILBOX_UNKNOWN, Refusal.GRANT_BLOCKED}:
        return " Or name another mailbox in the column `canary` of the tenants table."
    return ""


def _overdue(engine: Engine, onboarding: Onboarding, pace: Pace, probed: Probed) -> str:
    unserved = probed.outcome is ProbeOutcome.UNSERVED
    known = last_answer(engine, onboarding) if unserved else probed
    hours = pace.deadline.total_seconds() / 3600
    missing = bounded(", ".join((known or probed).missing), 600)
    head = (
        f"The tenant {onboarding.tenant} is not ready {hours:g} h after "
        f"{'its consent' if onboarding.provider is Provider.MICROSOFT else 'the first probe'}: "
    )
    canary = f"the grant of its canary {bounded(onboarding.canary, 120)}"
    if known is None:
        return (
            f"{head}no probe was answered, so nobody knows whether {canary} carries "
            f"{missing}. Start the onboarding of this tenant by its name once the provider and "
            f"Nylas answer again. ({probed.message})"
        )
    source = ", as the last probe shows that was answered" if unserved else ""
    head += f"{canary} lacks {missing}{source}."
    if known.outcome is ProbeOutcome.PARTIAL:
        return f"{head} {_WHERE[onboarding.provider]}"
    explanation = explain_refusal(known.message)
    return f"{head} {explanation.meaning} {explanation.remedy} ({known.message})"


_WHERE = {
    Provider.MICROSOFT: (
        "Add them to the Azure app as application permissions of Microsoft Graph, have the admin "
        "consent again, or take them out of the tenant's `scopes`."
    ),
    Provider.GOOGLE: (
        "Delegate them to the service account in the customer's Google Admin console, or take "
        "them out of the tenant's `scopes`."
    ),
}
