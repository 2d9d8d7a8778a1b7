"""What a stand-in is told when it is started."""

from dataclasses import dataclass, field

from nylas_standin.redirect_uris import checked


@dataclass(frozen=True, slots=True)
class Config:
    """The fixed part of a stand-in: everything else can be steered while it runs."""

    api_key: str = field(default="standin-key", repr=False)
    client_id: str = "standin-application"
    seed: int = 1
    """All ids come from generators seeded with this: the same story gives the same ids."""
    seed_grants: int = 0
    """So many grants exist from the start, and again after every reset."""
    redirect_uris: tuple[str, ...] = ()
    """Where the application may be led back to."""

    def __post_init__(self) -> None:
        checked(self.redirect_uris)
