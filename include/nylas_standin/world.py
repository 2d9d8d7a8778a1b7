"""Everything the stand-in knows at one moment; a reset makes it anew."""

from dataclasses import dataclass, field

from nylas_standin.clock import Clock
from nylas_standin.config import Config
from nylas_standin.faults import Faults
from nylas_standin.google import Google
from nylas_standin.grant_store import GrantStore
from nylas_standin.ids import Ids
from nylas_standin.limiter import Limiter, Limits
from nylas_standin.microsoft import Microsoft
from nylas_standin.records import Connector, Credential
from nylas_standin.refresh_tokens import RefreshTokens
from nylas_standin.stats import Stats
from nylas_standin.switches import Switches


@dataclass(slots=True)
class World:
    """One application at the API, the providers behind it, and the machinery that steers them."""

    config: Config
    ids: Ids
    faults: Faults
    switches: Switches = field(default_factory=Switches)
    clock: Clock = field(default_factory=Clock)
    limiter: Limiter = field(default_factory=lambda: Limiter(Limits()))
    stats: Stats = field(default_factory=Stats)
    connectors: dict[str, Connector] = field(default_factory=dict)
    credentials: dict[str, Credential] = field(default_factory=dict)
    grants: GrantStore = field(default_factory=GrantStore)
    google: Google = field(default_factory=Google)
    microsoft: Microsoft = field(default_factory=Microsoft)
    refresh_tokens: RefreshTokens = field(default_factory=RefreshTokens)
    redirect_uris: tuple[str, ...] = ()

    def invalidate(self, credential_id: str) -> None:
        """Every grant of a credential stops working."""
        for grant in self.grants:
            if grant.shape.credential_id == credential_id:
                grant.status = "invalid"
        self.grants.changed()


def new_world(config: Config) -> World:
    """A world without any record."""
    return World(
        config=config,
        ids=Ids(config.seed),
        faults=Faults(config.seed),
        redirect_uris=config.redirect_uris,
    )
