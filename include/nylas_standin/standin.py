"""One stand-in: the world it shows now, and how it is begun again."""

from nylas_standin.config import Config
from nylas_standin.seeding import Crowd, seed_crowd
from nylas_standin.world import World, new_world


class Standin:
    """Holds the world, so that a reset can put a new one in its place."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.world = self._begun()

    def reset(self) -> None:
        """Everything is as it was at the start, ids included."""
        self.world = self._begun()

    def _begun(self) -> World:
        world = new_world(self.config)
        if self.config.seed_grants:
            seed_crowd(world, Crowd(self.config.seed_grants))
        return world
