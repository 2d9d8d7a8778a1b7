"""Decides what comes next for a consent that was asked for, from the ledger and the time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bulkgrants.errors import Superseded
from bulkgrants.ledger import consents
from bulkgrants.ledger.database import Ledger, reading
from bulkgrants.ledger.onboarding import hold_needs_attention
from bulkgrants.ledger.rights import HOLD_TERM, keep_hold
from bulkgrants.ledger.tenants import credential_ids
from bulkgrants.model import Consent, ConsentStatus, Hold, OAuthError, Onboarding


@dataclass(frozen=True, slots=True)
class Terms:
    """How long to wait for an admin."""

    link: timedelta
    """How long one link is valid."""
    reminders: tuple[timedelta, ...]
    """How long after the first link the admin is reminded with a new one; ascending."""
    give_up: timedelta
    """How long after the first link the wait ends."""


@dataclass(frozen=True, slots=True)
class Given:
    """The admin has consented."""


@dataclass(frozen=True, slots=True)
class Declined:
    """The admin or Microsoft has said no."""

    error: OAuthError


@dataclass(frozen=True, slots=True)
class Expired:
    """The admin did not answer in time."""

    after: timedelta


@dataclass(frozen=True, slots=True)
class MakeLink:
    """A link has to be made: the first one, or another one."""

    is_reminder: bool
    """Whether links were sent before."""


@dataclass(frozen=True, slots=True)
class AwaitAnswer:
    """There is a link that can be answered; nothing else is due before `until`."""

    until: datetime
    asked_by: str = field(default="", compare=False)
    """The run that made the newest link; empty if it is not known."""


Step = Given | Declined | Expired | MakeLink | AwaitAnswer


def step_of(
    ledger: Ledger,
    onboarding: Onboarding,
    terms: Terms,
    now: datetime,
    key_id: str | None = None,
) -> Step:
    """What comes next for the tenant's consent.

    `key_id` is that of the key with which states are signed now (`links.key_id`); None if it is not
    known. Raises Superseded if no run has taken the tenant up since its wait began anew.
    """
    if onboarding.since is None:
        raise not_taken_up(onboarding)
    asked = consents.asked_consents(
        ledger, onboarding.application, onboarding.tenant, onboarding.since
    )
    with reading(ledger) as connection:
        known = credential_ids(connection, onboarding.application)
    credential_id = known.get((onboarding.provider, onboarding.credential))
    return next_step(without_stale(asked, credential_id, key_id), terms, now)


def without_stale(
    asked: Iterable[Consent], credential_id: str | None, key_id: str | None
) -> list[Consent]:
    """The consents, with each link as expired that the callback would no longer accept.

    That is a link for another credential than the tenant's present one, or one that was signed with
    another key, which the API key decides. What is not known makes no link stale.
    """

    def is_stale(one: Consent) -> bool:
        other_credential = credential_id is not None and one.credential_id != credential_id
        other_key = key_id is not None and one.key_id not in {"", key_id}
        return one.status is ConsentStatus.PENDING and (other_credential or other_key)

    return [replace(one, status=ConsentStatus.EXPIRED) if is_stale(one) else one for one in asked]


def not_taken_up(onboarding: Onboarding) -> Superseded:
    """The error for a run whose tenant has to be taken up again before anything is done for it."""
    return Superseded(
        f"The onboarding of the tenant {onboarding.tenant} has begun anew, because its row in the "
        "tenants table has changed or its consent was lost; this run leaves it alone, and the next "
        "one takes it up."
    )


def next_step(asked: Sequence[Consent], terms: Terms, now: datetime) -> Step:
    """What comes next; `asked` are the consents since the wait began, oldest first.

    Several links may be open at once: a reminder has a new one, and the older ones stay valid until
    they expire. One yes is enough, whatever the other answers are.
    """
    if not asked:
        return MakeLink(is_reminder=False)
    if any(one.status is ConsentStatus.GIVEN for one in asked):
        return Given()
    refused = [one for one in asked if one.status is ConsentStatus.REFUSED]
    if refused:
        return Declined(refused[-1].error)
    first, last = asked[0], asked[-1]
    give_up_at = first.requested_at + terms.give_up
    if now >= give_up_at:
        return Expired(terms.give_up)
    valid_until = [one.expires_at for one in asked if one.status is ConsentStatus.PENDING]
    if not valid_until or now >= max(valid_until):
        return MakeLink(is_reminder=True)
    # Those that fell due before the last link was made are skipped: one message is enough.
    reminders = (first.requested_at + after for after in terms.reminders)
    due = min(at for at in (*reminders, max(valid_until)) if at > last.requested_at)
    if now >= due:
        return MakeLink(is_reminder=True)
    return AwaitAnswer(min(due, give_up_at), last.asked_by)


def needs_attention(ledger: Ledger, hold: Hold, now: datetime, key_id: str | None = None) -> bool:
    """Whether the waiting run should look at the tenant again.

    It should after an answer, when another run has taken over, when the tenant is gone, or when its
    links have become stale. This is called every few seconds and is cheap. It renews the run's hold
    on the tenant when half of the term is over, and does not write anything else.
    """
    moved_on, held_until = hold_needs_attention(ledger, hold, key_id)
    if moved_on or held_until is None:
        return True
    if held_until - now < HOLD_TERM / 2:
        try:
            keep_hold(ledger, hold, now)
        except Superseded:
            return True
    return False
