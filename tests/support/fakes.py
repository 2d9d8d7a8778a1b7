"""Nylas in memory: an AsyncSender with the two calls that reconciling makes."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from bulkgrants.errors import RequestRefused
from bulkgrants.refusals import UNKNOWN_REFUSAL, Concerns, Refusal

Grant = dict[str, object]
MAILBOX_UNKNOWN = replace(
    UNKNOWN_REFUSAL, refusal=Refusal.MAILBOX_UNKNOWN, concerns=Concerns.MAILBOX
)


@dataclass
class FakeNylas:
    """Grants by mailbox, in order of creation."""

    grants: dict[str, Grant] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    limit_max: int = 200
    before: Callable[[object], None] = lambda call: None
    """Called before each call; may change the fake, or raise what the sender should raise."""
    after: Callable[[object], None] = lambda call: None
    """The same, after the call has done its work."""
    cut: Callable[[int], int | None] = lambda offset: None
    """How many items a page at this offset shows instead of all; None for all."""
    hidden: set[str] = field(default_factory=set)
    """Mailboxes whose grants no listing shows, although they exist."""
    clock: Iterator[int] = field(default_factory=lambda: itertools.count(1_700_000_000))

    def has(self, email: str, **changed) -> Grant:
        """Seed one grant."""
        moment = next(self.clock)
        grant = {
            "id": f"grant-{moment}",
            "provider": "google",
            "email": email,
            "grant_status": "valid",
            "scope": [],
            "settings": {"credential_id": "cred-1", "scopes": []},
            "credential_id": "cred-1",
            "blocked": False,
            "created_at": moment,
            "updated_at": moment,
        }
        scopes = changed.pop("scopes", None)
        if scopes is not None:
            grant["settings"] = {"credential_id": "cred-1", "scopes": scopes}
        key = changed.pop("key", email)
        self.grants[key] = grant | changed
        return self.grants[key]

    async def send(self, call):
        await asyncio.sleep(0)
        return self.answer(call)

    def answer(self, call):
        """What a blocking sender would return."""
        self.calls[call.label] += 1
        self.before(call)
        answer = self._answer(call)
        self.after(call)
        return call.parse(json.dumps(answer).encode())

    def _answer(self, call):
        if call.method == "POST":
            return self._authenticate(call)
        if call.path == "/v3/grants":
            return self._list(call)
        wanted = call.path.removeprefix("/v3/grants/")
        for one in self.grants.values():
            if one["id"] == wanted:
                return {"data": dict(one)}
        raise RequestRefused("there is no such grant", status=404)

    def _authenticate(self, call):
        settings = call.body["settings"]
        email = settings["email_address"]
        self.calls[email] += 1
        known = (key for key, one in self.grants.items() if one["email"].lower() == email.lower())
        email = next(known, email)
        if email not in self.grants:
            self.has(email)
        self.grants[email] |= {
            "grant_status": "valid",
            "updated_at": next(self.clock),
            "settings": dict(settings),
            "credential_id": settings["credential_id"],
        }
        return {"data": dict(self.grants[email])}

    def _list(self, call):
        query = call.query
        found = [
            dict(one)
            for key, one in self.grants.items()
            if key not in self.hidden
            if "email" not in query or query["email"] == one["email"]
        ]
        found.sort(key=lambda one: (one[query["sort_by"]], one["id"]))
        if query["order_by"] == "desc":
            found.reverse()
        found = [one | one.pop("shown", {}) for one in found]
        limit, offset = min(int(query["limit"]), self.limit_max), int(query["offset"])
        page = found[offset : offset + limit][: self.cut(offset)]
        return {"data": page, "limit": limit, "offset": offset}
