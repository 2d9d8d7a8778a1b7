"""The records of one application at the API, with the settings, the clock and the ids they use."""

import time
from dataclasses import dataclass, field
from random import Random

from nylas_standin.config import Config
from nylas_standin.world.faults import Faults
from nylas_standin.world.records import Connector, Credential, GrantStore
from nylas_standin.world.switches import Switches
from nylas_standin.world.traffic import Limiter, Limits, Stats


@dataclass(slots=True)
class Clock:
    """The time in records, in Unix seconds: real, shifted or frozen. Rate limits never use it."""

    frozen_at: int | None = None
    offset: int = 0

    def now(self) -> int:
        """The present, in whole seconds as the API writes them."""
        if self.frozen_at is not None:
            return self.frozen_at
        return int(time.time()) + self.offset

    def advance(self, seconds: int) -> None:
        """Moves the present, whether it is frozen or running."""
        if self.frozen_at is not None:
            self.frozen_at += seconds
        else:
            self.offset += seconds


def _uuid4(bits: int) -> str:
    # By hand: uuid.UUID costs several times as much, and seeding makes a million of these.
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[bits & 3]}{text[17:20]}-{text[20:]}"


class Ids:
    """Identifiers that look random and are the same on every run.

    Each kind has its own generator, so a request that only reads does not change later records.
    """

    def __init__(self, seed: int) -> None:
        self._records = Random(f"records {seed}")  # noqa: S311 - ids that repeat, not secrets
        self._requests = Random(f"requests {seed}")  # noqa: S311 - the same
        self._consents = Random(f"consents {seed}")  # noqa: S311 - the same
        self._flows = Random(f"flows {seed}")  # noqa: S311 - the same

    def record(self) -> str:
        """The id of a new credential or grant."""
        return _uuid4(self._records.getrandbits(128))

    def request(self, style: str) -> str:
        """The id of a request, in one of the two forms that the API has used."""
        bits = self._requests.getrandbits(128)
        if style == "numbered":
            return f"{bits % 9_000_000_000 + 1_000_000_000}-{_uuid4(bits)}"
        return _uuid4(bits)

    def consent(self) -> str:
        """The id of a consent link that was opened."""
        return _uuid4(self._consents.getrandbits(128))

    def flow(self) -> str:
        """The value of x-fastly-id."""
        return f"{self._flows.getrandbits(128):032x}"


@dataclass(slots=True)
class World:
    """All records and settings at one moment; a reset replaces the whole object."""

    config: Config
    ids: Ids
    faults: Faults
    switches: Switches = field(default_factory=Switches)
    clock: Clock = field(default_factory=Clock)
    limiter: Limiter = field(default_factory=lambda: Limiter(Limits()))
    stats: Stats = field(default_factory=Stats)
    connectors: dict[str, Connector] = field(default_factory=dict)
    """By provider."""
    credentials: dict[str, Credential] = field(default_factory=dict)
    """By id."""
    grants: GrantStore = field(default_factory=GrantStore)
    redirect_uris: tuple[str, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)
    """Primary addresses by alias, in lower case."""

    def invalidate(self, credential_id: str) -> None:
        """Makes every grant of a credential invalid."""
        found = [one for one in self.grants if one.shape.credential_id == credential_id]
        for grant in found:
            grant.status = "invalid"
        self.grants.changed(*found)


def new_world(config: Config) -> World:
    """A world without any record."""
    return World(
        config=config,
        ids=Ids(config.seed),
        faults=Faults(config.seed),
        redirect_uris=config.redirect_uris,
    )
