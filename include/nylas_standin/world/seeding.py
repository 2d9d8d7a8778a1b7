"""Grants made at once, without requests: many that are alike, or an exact list."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import JsonValue

from nylas_standin.world.records import IDENTITY_SCOPES, Grant, GrantStatus, Shape
from nylas_standin.world.world import World

_GMAIL = "https://www.googleapis.com/auth/gmail.readonly"
BulkProvider = Literal["google", "microsoft"]


@dataclass(frozen=True, slots=True)
class ExactGrant:
    """One grant to make; ids and times that are None are made up."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    email: str
    provider: BulkProvider = "google"
    scopes: tuple[str, ...] = (_GMAIL,)
    credential_id: str | None = None
    grant_status: GrantStatus = "valid"
    blocked: bool = False
    created_at: int | None = None
    updated_at: int | None = None
    id: str | None = None
    shown: dict[str, JsonValue] | None = None
    """Fields that replies show with other values, or leave out if the value is null."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Many grants whose addresses are numbered: prefix0000000@domain and so on."""

    grants: int
    domains: Sequence[str] = ("seeded.example",)
    """Used in turn, one for each grant."""
    prefix: str = "user"
    start: int = 0
    provider: BulkProvider = "google"
    scopes: Sequence[str] = (_GMAIL,)
    credential_id: str | None = None
    invalid_every: int | None = None
    blocked_every: int | None = None
    created_at: int | None = None
    """The time of the first grant; None puts the last one at the present."""
    created_step: int = 1


@dataclass(frozen=True, slots=True)
class Seeded:
    """The grants that a seeding made."""

    grants: int
    credential_id: str | None
    first_id: str | None = None
    last_id: str | None = None
    ids: list[str] = field(default_factory=list)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Stops garbage collection, which would walk through a million new grants again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


def shape_of(provider: str, scopes: Sequence[str], credential_id: str) -> Shape:
    """The shape of a grant that custom authentication would have made."""
    settings: dict[str, JsonValue] = {"app_permission": True}
    if provider == "google":
        scope: list[JsonValue] = [*dict.fromkeys([*IDENTITY_SCOPES, *scopes])]
        settings |= {"credential_id": credential_id, "credential_type": "serviceaccount"}
        settings["scopes"] = [*scopes]
    else:
        scope = [*scopes]
        settings["app_permission_scopes"] = [*scopes]
        settings |= {"credential_id": credential_id, "credential_type": "adminconsent"}
    return Shape(provider, scope, settings, credential_id, "127.0.0.1", "nylas-standin-seed")


def _put(world: World, grant: Grant) -> None:
    """Adds a grant, in place of the one that the mailbox may have."""
    known = world.grants.find(grant.shape.provider, grant.email)
    if known is not None:
        world.grants.remove(known)
    world.grants.add(grant)


def seed_crowd(world: World, crowd: Crowd) -> Seeded:
    """Makes the grants of a crowd."""
    credential_id = crowd.credential_id or world.ids.record()
    shape = world.grants.shared(shape_of(crowd.provider, crowd.scopes, credential_id))
    first = crowd.created_at
    if first is None:
        first = world.clock.now() - max(0, crowd.grants - 1) * crowd.created_step
    domains, record = crowd.domains, world.ids.record
    ids: tuple[str, str] | None = None
    with _no_collections():
        for turn in range(crowd.grants):
            number = crowd.start + turn
            domain = domains[turn % len(domains)]
            at = first + turn * crowd.created_step
            grant = Grant(record(), f"{crowd.prefix}{number:07d}@{domain}", shape, at, at)
            if crowd.invalid_every and (turn + 1) % crowd.invalid_every == 0:
                grant.status = "invalid"
            grant.blocked = bool(crowd.blocked_every and (turn + 1) % crowd.blocked_every == 0)
            _put(world, grant)
            ids = (ids[0] if ids else grant.id, grant.id)
    first_id, last_id = ids or (None, None)
    return Seeded(crowd.grants, credential_id, first_id, last_id)


def seed_exact(world: World, wanted: Sequence[ExactGrant]) -> Seeded:
    """Makes exactly these grants."""
    ids: list[str] = []
    for one in wanted:
        credential_id = one.credential_id or world.ids.record()
        shape = world.grants.shared(shape_of(one.provider, one.scopes, credential_id))
        made = world.clock.now() if one.created_at is None else one.created_at
        grant = Grant(
            id=one.id or world.ids.record(),
            email=one.email,
            shape=shape,
            created_at=made,
            updated_at=made if one.updated_at is None else one.updated_at,
            status=one.grant_status,
            blocked=one.blocked,
            shown=one.shown,
        )
        _put(world, grant)
        ids.append(grant.id)
    return Seeded(len(ids), None, ids[0] if ids else None, ids[-1] if ids else None, ids)
