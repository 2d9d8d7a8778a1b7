"""What the routes of the control plane share: the stand-in, strict bodies, fast answers."""

from typing import Annotated

from fastapi import Depends, Request, Response
from pydantic import BaseModel, ConfigDict, JsonValue

from nylas_standin.api.envelopes import encode
from nylas_standin.standin import Scene, Standin


class Strict(BaseModel):
    """A body in which an unknown name is an error."""

    model_config = ConfigDict(extra="forbid")


def as_json(value: JsonValue) -> Response:
    """An answer that skips pydantic, which would look at every value of a long list."""
    return Response(encode(value), media_type="application/json")


def _standin(request: Request) -> Standin:
    found = request.app.state.standin
    if not isinstance(found, Standin):
        raise TypeError("The control plane was made without a stand-in.")
    return found


def _scene(request: Request) -> Scene:
    return _standin(request).scene


TheStandin = Annotated[Standin, Depends(_standin)]
TheScene = Annotated[Scene, Depends(_scene)]
