"""Every error the project raises, classed by what the caller does next.

```
BulkgrantsError
├── Fatal                stop: neither a retry nor a later row can succeed
│   ├── Misconfigured    a person must change a setting, connection, table or key file
│   ├── ApiKeyRefused    Nylas does not accept the API key
│   ├── RequestRefused   Nylas refused a call that concerns no single mailbox
│   ├── Superseded       another process has taken over this run, batch or tenant
│   ├── ConsentRefused   the admin said no; a person must ask again
│   ├── ConsentExpired   the admin said nothing for too long; a person must ask again
│   └── NotPropagated    the provider has not honoured in time what the admin gave
├── Retriable            the same call may succeed after `after` seconds
│   ├── RateLimited      too many calls, says Nylas or the provider
│   ├── Unavailable      time-out, lost connection, or a 5xx
│   └── LeaseHeld        another run of the same application is active
└── Refused              this mailbox only; the next row may well succeed
```

A message is one sentence for the person who reads the log, and names the way out. It never holds
a secret, and text that came from outside is bounded and printable before it gets here
(`bulkgrants.text.bounded`).
"""

from __future__ import annotations

from enum import StrEnum

from bulkgrants.refusals import KnownError


class BulkgrantsError(Exception):
    """The root; never raised itself."""


class Fatal(BulkgrantsError):
    """Nothing that follows can succeed until a person acts."""


class Misconfigured(Fatal):
    """A setting, connection, table or key file is wrong; the message says which and how."""


class ApiKeyRefused(Fatal):
    """Nylas answered 401 for the application itself."""


class RequestRefused(Fatal):
    """Nylas refused a call that concerns no single mailbox, and would refuse it again."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status, 0 where there was none."""


class Superseded(Fatal):
    """Another process holds the run's lease, the batch or the tenant; write no more."""


class ConsentRefused(Fatal):
    """The tenant's admin, or Microsoft on the way, has refused the consent."""


class ConsentExpired(Fatal):
    """The tenant's admin did not answer the consent links in time."""


class NotPropagated(Fatal):
    """At the deadline the canary's grant still lacks scopes; the message names them."""


class Retriable(BulkgrantsError):
    """The same call may succeed later."""

    def __init__(self, message: str, *, after: float | None = None, status: int = 0) -> None:
        super().__init__(message)
        self.after = after
        """Seconds to wait as the other side asked, or None where it said nothing."""
        self.status = status
        """The HTTP status, 0 where there was none."""


class Throttle(StrEnum):
    """Whose limit a 429 is about."""

    NYLAS = "nylas"
    PROVIDER = "provider"


class RateLimited(Retriable):
    """A 429; `throttle` tells whether everything slows down or only one tenant."""

    def __init__(self, message: str, *, throttle: Throttle, after: float | None = None) -> None:
        super().__init__(message, after=after, status=429)
        self.throttle = throttle


class Unavailable(Retriable):
    """A time-out, a lost connection, or a 5xx. Whether the call took effect is unknown."""


class LeaseHeld(Retriable):
    """Another run of the same application holds the lease."""


class Refused(BulkgrantsError):
    """Nylas or the provider refused this mailbox; `known` says what that means."""

    def __init__(self, said: str, *, known: KnownError, status: int = 0) -> None:
        """`said` is what was answered to which call, without a full stop."""
        super().__init__(f"{known.meaning.removesuffix('.')} ({said}).")
        self.known = known
        self.status = status
        """The HTTP status, 0 where there was none."""
