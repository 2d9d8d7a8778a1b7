"""Connectors, credentials and grants, in memory.

Grants are small, because a million of them have to fit, and are kept in the order of their
creation, so a page costs no more than its length wherever it begins.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from random import Random
from typing import Literal

from pydantic import JsonValue

IDENTITY_SCOPES = (
    "openid",
    "https://www.googleapis.com/auth/userinfo.email",
    "https://www.googleapis.com/auth/userinfo.profile",
)
"""Every Google grant has these, whatever scopes were requested for it."""

SortBy = Literal["created_at", "updated_at"]
GrantStatus = Literal["valid", "invalid"]

PROVIDERS = frozenset(
    {"google", "microsoft", "imap", "icloud", "yahoo", "ews", "virtual-calendar", "zoom", "nylas"}
)


@dataclass(slots=True)
class Connector:
    """The application's configuration for one provider."""

    provider: str
    name: str
    settings: dict[str, JsonValue]
    scope: list[str]
    active_credential_id: str | None


@dataclass(slots=True)
class Credential:
    """What a connector uses to act.

    The data stay in this process: replies and texts of errors never contain them.
    """

    id: str
    provider: str
    name: str
    type: str
    data: Mapping[str, str]
    created_at: int
    updated_at: int

    def __repr__(self) -> str:
        return f"Credential({self.id}, {self.provider}, {self.type})"


@dataclass(frozen=True, slots=True)
class Shape:
    """The part that all grants of a tenant have in common, and which is kept once."""

    provider: str
    scope: list[JsonValue]
    settings: dict[str, JsonValue]
    credential_id: str | None
    ip: str
    user_agent: str


@dataclass(slots=True, eq=False)
class Grant:
    """Permission for one mailbox."""

    id: str
    email: str
    shape: Shape
    created_at: int
    updated_at: int
    status: GrantStatus = "valid"
    blocked: bool = False
    state: str | None = None
    number: int = 0
    """Counts the grants made, and so orders those of the same second."""
    shown: Mapping[str, JsonValue] | None = None
    """Fields that replies show with other values, or leave out if the value is null."""


@dataclass(frozen=True, slots=True)
class ProviderFailure:
    """What Google or Microsoft says when it refuses, and its own HTTP status."""

    status: int
    provider_error: JsonValue
    transient: bool = False


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a list; None lets every grant pass."""

    provider: str | None = None
    status: GrantStatus | None = None
    ip: str | None = None
    email: str | None = None
    since: int | None = None
    before: int | None = None

    def accepts(self, grant: Grant) -> bool:
        """Whether a grant passes all filters but `email`, for which there is an index."""
        return (
            (self.provider is None or grant.shape.provider == self.provider)
            and (self.status is None or grant.status == self.status)
            and (self.ip is None or grant.shape.ip == self.ip)
            and (self.since is None or grant.created_at >= self.since)
            and (self.before is None or grant.created_at <= self.before)
        )


def _created(grant: Grant) -> tuple[int, int]:
    return grant.created_at, grant.number


def _updated(grant: Grant) -> tuple[int, int]:
    return grant.updated_at, grant.number


def _made_at(grant: Grant) -> int:
    return grant.created_at


def _authenticated_at(grant: Grant) -> int:
    return grant.updated_at


class GrantStore:
    """All grants of the application."""

    def __init__(self) -> None:
        self._ordered: list[Grant] = []
        self._by_id: dict[str, Grant] = {}
        self._by_email: dict[str, dict[str, Grant]] = {}
        self._fold: Callable[[str], str] = str.lower
        self._shapes: dict[str, Shape] = {}
        self._views: dict[tuple[Filters, SortBy], list[Grant]] = {}
        self._made = 0
        self._now: Callable[[], int] = lambda: 0
        self._lag = 0
        self._journal: list[tuple[int, str, Grant | None]] = []
        """When a grant changed, and what it was before; None if it was not there."""
        self._as_listed: dict[str, Grant] = {}
        """While listings lag: a copy of each grant as of its last change."""
        self._ties: Random | None = None

    def __len__(self) -> int:
        return len(self._ordered)

    def __iter__(self) -> Iterator[Grant]:
        return iter(self._ordered)

    def match_emails(self, *, exactly: bool) -> None:
        """Changes how addresses are compared, also for existing grants."""
        self._fold = str if exactly else str.lower
        self._by_email = {}
        for grant in self._ordered:
            self._by_email.setdefault(grant.shape.provider, {})[self._fold(grant.email)] = grant

    def lag(self, seconds: int, now: Callable[[], int]) -> None:
        """Lets listings show what there was so many seconds ago; changes from now on count."""
        self._lag, self._now, self._journal = seconds, now, []
        self._as_listed = {one.id: replace(one) for one in self._ordered} if seconds else {}

    def shuffle_ties(self, random: Random | None) -> None:
        """Lets the order of grants with equal times differ from one listing to the next."""
        self._ties = random

    def _note(self, *touched: Grant) -> None:
        """Keeps what these grants were before they were added, removed or changed."""
        if not self._lag:
            return
        for grant in touched:
            self._journal.append((self._now(), grant.id, self._as_listed.get(grant.id)))
            if grant.id in self._by_id:
                self._as_listed[grant.id] = replace(grant)
            else:
                self._as_listed.pop(grant.id, None)

    def _past(self) -> list[Grant]:
        """All grants as they were when the lag began, oldest first."""
        found: dict[str, Grant] = {one.id: one for one in self._ordered}
        since = self._now() - self._lag
        for moment, grant_id, before in reversed(self._journal):
            if moment <= since:
                break
            if before is None:
                found.pop(grant_id, None)
            else:
                found[grant_id] = before
        return sorted(found.values(), key=_created)

    def shared(self, shape: Shape) -> Shape:
        """The one copy of a shape that all grants with the same values use."""
        return self._shapes.setdefault(repr(shape), shape)

    def add(self, grant: Grant) -> None:
        """Adds a new grant."""
        self._made += 1
        grant.number = self._made
        if self._ordered and grant.created_at < self._ordered[-1].created_at:
            insort(self._ordered, grant, key=_created)
        else:
            self._ordered.append(grant)
        self._by_id[grant.id] = grant
        self._by_email.setdefault(grant.shape.provider, {})[self._fold(grant.email)] = grant
        self._views.clear()
        self._note(grant)

    def remove(self, grant: Grant) -> None:
        """Removes a grant for good."""
        del self._ordered[bisect_left(self._ordered, _created(grant), key=_created)]
        del self._by_id[grant.id]
        emails = self._by_email[grant.shape.provider]
        if emails.get(self._fold(grant.email)) is grant:
            del emails[self._fold(grant.email)]
        self._views.clear()
        self._note(grant)

    def remove_provider(self, provider: str) -> None:
        """Removes all grants of a provider, in one pass."""
        removed = [one for one in self._ordered if one.shape.provider == provider]
        self._ordered = [one for one in self._ordered if one.shape.provider != provider]
        self._by_id = {one.id: one for one in self._ordered}
        self._by_email.pop(provider, None)
        self._views.clear()
        self._note(*removed)

    def changed(self, *grants: Grant) -> None:
        """Must be called after a change to the status, time or shape of these grants."""
        self._views.clear()
        self._note(*grants)

    def get(self, grant_id: str) -> Grant | None:
        """The grant with that id."""
        return self._by_id.get(grant_id)

    def find(self, provider: str, email: str) -> Grant | None:
        """The grant of a mailbox."""
        return self._by_email.get(provider, {}).get(self._fold(email))

    def find_all(self, email: str) -> list[Grant]:
        """The grants of an address with any provider, oldest first."""
        key = self._fold(email)
        found = [emails[key] for emails in self._by_email.values() if key in emails]
        return sorted(found, key=_created)

    def select(
        self, filters: Filters, sort_by: SortBy, *, descending: bool, offset: int, limit: int
    ) -> list[Grant]:
        """One page of the grants that pass the filters."""
        view = self._view(filters, sort_by)
        low, high = 0, len(view)
        if sort_by == "created_at":
            if filters.since is not None:
                low = bisect_left(view, filters.since, key=lambda grant: grant.created_at)
            if filters.before is not None:
                high = bisect_right(view, filters.before, key=lambda grant: grant.created_at)
        if descending:
            end = max(low, high - offset)
            first, last = max(low, end - limit), end
        else:
            first, last = min(high, low + offset), min(high, low + offset + limit)
        page = self._tied(view, sort_by, first, last, low, high)
        return page[::-1] if descending else page

    def _tied(
        self, view: list[Grant], sort_by: SortBy, first: int, last: int, low: int, high: int
    ) -> list[Grant]:
        """The part of the view from `first` to `last`, with its ties in the order of this call."""
        if self._ties is None or first >= last:
            return view[first:last]
        place = {"created_at": _made_at, "updated_at": _authenticated_at}[sort_by]
        begin = max(low, bisect_left(view, place(view[first]), key=place))
        end = min(high, bisect_right(view, place(view[last - 1]), key=place))
        found: list[Grant] = []
        for _, group in groupby(view[begin:end], key=place):
            tied = [*group]
            self._ties.shuffle(tied)
            found += tied
        return found[first - begin : last - begin]

    def _view(self, filters: Filters, sort_by: SortBy) -> list[Grant]:
        """All grants that pass, in order; kept until a change, as clients read page after page."""
        if self._lag:
            key = _created if sort_by == "created_at" else _updated
            past = (one for one in self._past() if filters.accepts(one))
            named = None if filters.email is None else self._fold(filters.email)
            return sorted(
                (one for one in past if named is None or self._fold(one.email) == named), key=key
            )
        if filters.email is not None:
            found = [grant for grant in self.find_all(filters.email) if filters.accepts(grant)]
            return sorted(found, key=_created if sort_by == "created_at" else _updated)
        if sort_by == "created_at":  # bisection does since and before
            filters = Filters(filters.provider, filters.status, filters.ip)
            if filters == Filters():
                return self._ordered
        kept = (filters, sort_by)
        view = self._views.get(kept)
        if view is None:
            view = [grant for grant in self._ordered if filters.accepts(grant)]
            if sort_by == "updated_at":
                view.sort(key=_updated)
            self._views[kept] = view
        return view
