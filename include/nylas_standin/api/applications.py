"""/v3/applications: the application that the key belongs to."""

from pydantic import JsonValue

from nylas_standin.api.calls import Call
from nylas_standin.api.envelopes import ApiError, Reply, not_found, unauthorized
from nylas_standin.standin import Scene


def get(scene: Scene, call: Call) -> Reply:  # noqa: ARG001 - every handler has the same form
    """GET /v3/applications, or a refusal of a key that may not read it."""
    world = scene.world
    status = world.switches.application_status
    match status:
        case 401:
            raise unauthorized(world.switches)
        case 403:
            raise ApiError(403, ".forbidden", "The API key may not read its application.")
        case 404:
            raise not_found("There is no such route.")
    uris: list[JsonValue] = [
        {"id": f"uri-{number}", "platform": "web", "url": uri}
        for number, uri in enumerate(world.redirect_uris, start=1)
    ]
    application: dict[str, JsonValue] = {
        "application_id": world.config.client_id,
        "organization_id": "standin-organization",
        "region": "us",
        "environment": "sandbox",
        "branding": {"name": "Stand-in"},
        "callback_uris": uris,
    }
    return Reply(200, [application] if world.switches.application_in_list else application)
