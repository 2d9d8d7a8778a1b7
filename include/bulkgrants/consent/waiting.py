"""What a consent that was asked for waits for next: decided from what is recorded, and the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bulkgrants.ledger.consents import Consent, ConsentStatus, OAuthError


@dataclass(frozen=True, slots=True)
class Terms:
    """How long an admin is waited for."""

    link: timedelta
    """How long one link is good for."""
    reminders: tuple[timedelta, ...]
    """How long after the first link the admin is reminded with a fresh one; ascending."""
    give_up: timedelta
    """How long after the first link nobody waits any longer."""


@dataclass(frozen=True, slots=True)
class Given:
    """The admin has consented."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The admin, or Microsoft, has said no."""

    error: OAuthError


@dataclass(frozen=True, slots=True)
class Expired:
    """Nobody answered within the terms."""

    after: timedelta


@dataclass(frozen=True, slots=True)
class Ask:
    """A link has to be made: the first one, or a fresh one."""

    reminder: bool
    """Whether links were sent before."""


@dataclass(frozen=True, slots=True)
class Wait:
    """There is a link that can be answered; nothing else is due before `until`."""

    until: datetime


Step = Given | Refused | Expired | Ask | Wait


def next_step(asked: Sequence[Consent], terms: Terms, now: datetime) -> Step:
    """What comes next, given the consents that were asked for since the wait began, oldest first.

    Several links may be open at once, as a reminder brings a fresh one and leaves the older ones
    good for as long as they said. One yes decides, whatever came of the others.
    """
    if not asked:
        return Ask(reminder=False)
    if any(one.status is ConsentStatus.GIVEN for one in asked):
        return Given()
    refused = [one for one in asked if one.status is ConsentStatus.REFUSED]
    if refused:
        return Refused(refused[-1].error)
    first, last = asked[0], asked[-1]
    give_up_at = first.requested_at + terms.give_up
    if now >= give_up_at:
        return Expired(terms.give_up)
    reminders = (first.requested_at + after for after in terms.reminders)
    due = min(
        (at for at in (*reminders, last.expires_at) if at > last.requested_at), default=give_up_at
    )
    return Ask(reminder=True) if now >= due else Wait(min(due, give_up_at))
