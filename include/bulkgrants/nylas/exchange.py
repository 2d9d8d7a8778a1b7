"""What one exchange led to: the parsed answer, or the error to raise. Every sender ends here."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from typing import TypeVar

from bulkgrants.errors import Unavailable
from bulkgrants.nylas.calls import Call
from bulkgrants.nylas.redaction import redacted
from bulkgrants.nylas.refusals import error_for
from bulkgrants.nylas.replies import Malformed
from bulkgrants.nylas.wire import Reply, decode
from bulkgrants.ports import Clock

T = TypeVar("T")


def understand(
    call: Call[T], reply: Reply, *, clock: Clock, connection: str, secrets: Collection[str] = ()
) -> T:
    """The call's value from a successful answer.

    Raises the error of `refusals.error_for` for any other status, and Unavailable for a successful
    answer that cannot be read: the call took effect, and reading it again may well work.
    """
    if not HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
        raise error_for(call, reply, clock=clock, connection=connection, secrets=secrets)
    answer = decode(reply.body)
    try:
        if answer is None:
            raise Malformed("it is no JSON object")  # noqa: TRY301 - one sentence for both cases
        return call.parse(answer)
    except Malformed as error:
        request_id = redacted(reply.headers.get("x-request-id", ""), secrets, 80) or "unknown"
        raise Unavailable(
            f"Nylas answered {call.label} with something unreadable: {error} "
            f"(request id {request_id}).",
            status=reply.status,
        ) from None
