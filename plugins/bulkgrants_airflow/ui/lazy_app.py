"""The callback's app as the plugin declares it: the real one is built when the first request comes.

Airflow loads plugins in every process, but only the API server serves HTTP. The other processes
need neither the framework nor the templates, so this module imports nothing heavy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_log = logging.getLogger(__name__)
_SORRY = b"This page cannot be shown at the moment, but nothing is lost: reload it in a minute.\n"


class LazyApp:
    """An ASGI app that builds another one at the first request, once, off the event loop.

    If that fails, the answer to the request is 503, and the next request tries again.
    """

    def __init__(self, build: Callable[[], ASGIApp]) -> None:
        self._build = build
        self._lock = Lock()
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on to the real app."""
        app = self._app
        if app is None:
            try:
                app = await asyncio.to_thread(self._built)
            except Exception as error:  # noqa: BLE001 - a page without a stack trace, whatever it is
                _log.error("The page of Bulkgrants cannot be built (%s).", type(error).__name__)
                await _apologise(scope, send)
                return
        await app(scope, receive, send)

    def _built(self) -> ASGIApp:
        with self._lock:
            if self._app is None:
                self._app = self._build()
            return self._app


async def _apologise(scope: Scope, send: Send) -> None:
    scope["query_string"] = b""  # no state for the access log, as in `callback`
    if scope["type"] != "http":
        return
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(_SORRY)).encode()),
        (b"cache-control", b"no-store"),
        (b"retry-after", b"60"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": _SORRY})


def _build_callback() -> ASGIApp:
    from bulkgrants_airflow.ui.callback import ConsentCallback  # noqa: PLC0415 - the reason for this module

    return ConsentCallback()


consent_callback = LazyApp(_build_callback)
"""The app that the plugin declares."""
