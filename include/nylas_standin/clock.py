"""The time that records carry: real, shifted or frozen, and never used to limit rates."""

import time
from dataclasses import dataclass


@dataclass(slots=True)
class Clock:
    """Unix seconds as the stand-in sees them."""

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
