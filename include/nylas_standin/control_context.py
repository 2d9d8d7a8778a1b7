"""What every call of the control plane starts from: the stand-in of its server."""

from typing import Annotated

from fastapi import Depends, Request

from nylas_standin.standin import Standin
from nylas_standin.world import World


def _standin(request: Request) -> Standin:
    found = request.app.state.standin
    if not isinstance(found, Standin):
        raise TypeError("The control plane was made without a stand-in.")
    return found


def _world(request: Request) -> World:
    return _standin(request).world


TheStandin = Annotated[Standin, Depends(_standin)]
TheWorld = Annotated[World, Depends(_world)]
