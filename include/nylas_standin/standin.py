"""One stand-in: the scene it shows now, and how a reset begins a new one."""

from dataclasses import dataclass

from nylas_standin.config import Config
from nylas_standin.google.workspace import Google
from nylas_standin.microsoft.tokens import Microsoft
from nylas_standin.world.seeding import Crowd, seed_crowd
from nylas_standin.world.world import World, new_world


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything from one reset to the next; a request keeps the scene in which it arrived."""

    world: World
    google: Google
    microsoft: Microsoft


class Standin:
    """Holds the present scene, so that a reset can replace it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.scene = self._begun()

    @property
    def world(self) -> World:
        """The records and settings of the present scene."""
        return self.scene.world

    def reset(self) -> None:
        """Makes everything as it was at the start, including the ids that come next."""
        self.scene = self._begun()

    def _begun(self) -> Scene:
        world = new_world(self.config)
        if self.config.seed_grants:
            seed_crowd(world, Crowd(self.config.seed_grants))
        return Scene(world, Google(), Microsoft(world))
