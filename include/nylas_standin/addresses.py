"""The mailbox that a call is about, for faults and counts that go by mailbox."""

from urllib.parse import parse_qs

from nylas_standin.calls import Call
from nylas_standin.envelopes import ApiError
from nylas_standin.world import World


def address_of(world: World, call: Call) -> str | None:
    """The address in the body, in the query, or of the grant in the path."""
    grant = world.grants.get(call.params.get("grant_id", ""))
    if grant is not None:
        return grant.email
    if call.method == "GET":
        return next(iter(parse_qs(call.query_string).get("email", [])), None)
    return _address_in_body(call)


def _address_in_body(call: Call) -> str | None:
    try:
        body = call.json()
    except ApiError:
        return None
    settings = body.get("settings") if isinstance(body, dict) else None
    if not isinstance(settings, dict):
        return None
    found = settings.get("email_address", settings.get("email"))
    return found if isinstance(found, str) else None
