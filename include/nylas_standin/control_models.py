"""What the control plane takes, where a mistyped name is an error and not a no-op."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from nylas_standin.limiter import Policy
from nylas_standin.records import GrantStatus
from nylas_standin.seeding import BulkProvider, Crowd, ExactGrant


class Strict(BaseModel):
    """A body without unknown names."""

    model_config = ConfigDict(extra="forbid")


class SeedRequest(Strict):
    """How many grants of which kind, or exactly which."""

    grants: int | list[ExactGrant]
    domain: str | list[str] = "seeded.example"
    prefix: str = "user"
    start: int = 0
    provider: BulkProvider = "google"
    scopes: list[str] | None = None
    credential_id: str | None = None
    invalid_every: int | None = Field(default=None, ge=1)
    blocked_every: int | None = Field(default=None, ge=1)
    created_at: int | None = None
    created_step: int = Field(default=1, ge=0)

    def crowd(self, count: int) -> Crowd:
        """The request as a value of the stand-in."""
        scopes = {} if self.scopes is None else {"scopes": tuple(self.scopes)}
        return Crowd(
            count,
            domains=[self.domain] if isinstance(self.domain, str) else self.domain,
            prefix=self.prefix,
            start=self.start,
            provider=self.provider,
            credential_id=self.credential_id,
            invalid_every=self.invalid_every,
            blocked_every=self.blocked_every,
            created_at=self.created_at,
            created_step=self.created_step,
            **scopes,
        )


class ClockRequest(Strict):
    """A frozen moment, an offset from real time, or a step; frozen_at null lets time run again."""

    frozen_at: int | None = None
    offset: int | None = None
    advance: int | None = None


class LimiterRequest(Strict):
    """What changes about the limiter; its meters start from nothing."""

    policy: Policy | None = None
    per_second: int | None = Field(default=None, ge=1)
    burst: int | None = Field(default=None, ge=1)
    scope: Literal["application", "group"] | None = None


class GrantChange(Strict):
    """What happens to grants behind the client's back."""

    grant_status: GrantStatus | None = None
    blocked: bool | None = None


class GrantsChange(GrantChange):
    """The same for all that match."""

    email: str | None = None
    """A glob."""
    credential_id: str | None = None
