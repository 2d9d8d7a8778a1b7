"""Every error that the project raises, classed by what the caller does next.

```
BulkgrantsError
├── Fatal                stop: neither a retry nor the next row can succeed
│   ├── Misconfigured    a person must change a setting, connection, table or key file
│   ├── ApiKeyRefused    Nylas does not accept the API key
│   │   └── KeyDoubted    or it means only this mailbox; a second call tells
│   ├── RequestRefused   Nylas refused a call that is not about a single mailbox
│   ├── Superseded       another process has taken over this run, batch or tenant
│   ├── ConsentRefused   the admin said no; a person must ask again
│   ├── ConsentExpired   the admin did not answer in time; a person must ask again
│   └── NotPropagated    the provider did not honour the admin's consent in time
├── Retriable            the same call may succeed after `after` seconds
│   ├── RateLimited      Nylas or the provider reports too many calls
│   ├── Unavailable      a time-out, a lost connection, or a 5xx; a lock that was not released
│   └── LeaseHeld        another run of the same application is active
└── Refused              this mailbox only; the next row may well succeed
```

A message is written for the person who reads the log. It says what is wrong and what to do, and
never contains a secret. Text from outside is made short and printable before it gets here
(`bulkgrants.text.bounded`).
"""

from __future__ import annotations

from enum import StrEnum

from bulkgrants.refusals import KnownError


class BulkgrantsError(Exception):
    """The base class of all errors; never raised itself."""


class Fatal(BulkgrantsError):
    """Nothing can succeed until a person acts."""


class Misconfigured(Fatal):
    """A setting, connection, table or key file is wrong; the message says which and how."""


class ApiKeyRefused(Fatal):
    """Nylas answered 401 for the application itself."""


class KeyDoubted(ApiKeyRefused):
    """Nylas answered a call about one mailbox with what may also mean the API key.

    Paced senders ask with the same key for something else. Then they raise `refusal` if Nylas
    accepts the key, and ApiKeyRefused if it does not.
    """

    def __init__(self, message: str, *, refusal: Refused) -> None:
        super().__init__(message)
        self.refusal = refusal
        """The error to raise if Nylas accepts the key."""


class RequestRefused(Fatal):
    """Nylas refused a call that is not about a single mailbox, and would refuse it again."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status, 0 if there was none."""


class Superseded(Fatal):
    """Another process now holds the run's lease, the batch or the tenant; stop writing."""


class ConsentRefused(Fatal):
    """The tenant's admin declined, or Microsoft refused the consent before the admin could act."""


class ConsentExpired(Fatal):
    """The tenant's admin did not answer any of the consent links in time."""


class NotPropagated(Fatal):
    """The canary's grant still lacks scopes at the deadline; the message names them."""


class Retriable(BulkgrantsError):
    """The same call may succeed later."""

    def __init__(self, message: str, *, after: float | None = None, status: int = 0) -> None:
        super().__init__(message)
        self.after = after
        """The seconds that the other side asked us to wait, or None if it did not say."""
        self.status = status
        """The HTTP status, 0 if there was none."""


class Throttle(StrEnum):
    """Whose rate limit was reached."""

    NYLAS = "nylas"
    PROVIDER = "provider"


class RateLimited(Retriable):
    """A 429. If Nylas' limit was reached, every call slows down; if the provider's, one tenant."""

    def __init__(self, message: str, *, throttle: Throttle, after: float | None = None) -> None:
        super().__init__(message, after=after, status=429)
        self.throttle = throttle


class Unavailable(Retriable):
    """A time-out, a lost connection, or a 5xx. It is unknown whether the call took effect.

    Of the ledger: also a lock that was not released, or a transaction that the database ended.
    """


class LeaseHeld(Retriable):
    """Another run of the same application holds the lease."""


class Refused(BulkgrantsError):
    """Nylas or the provider refused this mailbox; `known` says what that means."""

    def __init__(self, said: str, *, known: KnownError, status: int = 0) -> None:
        """`said` names the call and its answer, without a full stop."""
        super().__init__(f"{known.meaning.removesuffix('.')} ({said}).")
        self.known = known
        self.status = status
        """The HTTP status, 0 if there was none."""
