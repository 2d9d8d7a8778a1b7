"""Takes the redirect of an admin who has answered Microsoft: `GET /bulkgrants/consent`.

It is public, so it is built from nothing that does more than it must: no router that redirects or
parses, no cookie, no session. What the redirect is worth is `bulkgrants.consent.receiving`'s.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from fastapi.responses import HTMLResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Receive, Scope, Send

from bulkgrants.consent.receiving import Received, receive
from bulkgrants.consent.states import state_key
from bulkgrants.errors import BulkgrantsError
from bulkgrants.ports import utc_now
from bulkgrants.text import bounded
from bulkgrants_airflow.connections import nylas_connection
from bulkgrants_airflow.ui import pages
from bulkgrants_airflow.ui.pages import Page
from bulkgrants_airflow.ui.turnstile import Turnstile
from bulkgrants_airflow.workbench import Workbench

PATH = "/consent"
"""Below the prefix that the plugin declares."""
AT_ONCE = 8
"""How many redirects are in the ledger at a time."""
QUEUED = 40
"""How many more wait for that, where the ledger is slow."""
PER_SECOND = 20.0

_log = logging.getLogger(__name__)


class ConsentCallback:
    """The ASGI app; one for each process."""

    def __init__(self, turnstile: Turnstile | None = None) -> None:
        self._turnstile = turnstile or Turnstile(rate=PER_SECOND, inside=AT_ONCE + QUEUED)
        # Threads of its own: a ledger that hangs takes none from the API server's other work.
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="bulkgrants-consent")
        self._opening = Lock()
        self._workbench: Workbench | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One page for each request, whatever it is."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        query: bytes = scope["query_string"]
        # Airflow's access log is written from this, afterwards; it is to hold no state.
        scope["query_string"] = b""
        page = await self._page(scope, query)
        await HTMLResponse(page.html, page.status, page.headers)(scope, receive, send)

    async def _page(self, scope: Scope, query: bytes) -> Page:
        if scope["path"].removeprefix(scope.get("root_path", "")) != PATH:
            return pages.NOT_FOUND
        if scope["method"] != "GET":
            return pages.NOT_ALLOWED
        if not self._turnstile.enter():
            return pages.BUSY
        loop = asyncio.get_running_loop()
        try:
            received = await loop.run_in_executor(self._threads, self._receive, query)
            return pages.page_of(received)
        except Exception as error:  # noqa: BLE001 - the admin gets a page and the log a line, whatever it is
            _log.error("A redirect to the consent callback was not recorded: %s", _cause(error))
            return pages.TROUBLE
        finally:
            self._turnstile.leave()

    def _receive(self, query: bytes) -> Received:
        workbench = self._opened()
        # Looked up each time, so that another API key counts without a restart.
        nylas = nylas_connection(workbench.settings.nylas_conn_id)
        try:
            return receive(
                workbench.ledger,
                query.decode("ascii", errors="replace"),
                application=nylas.client_id,
                key=state_key(nylas.api_key),
                now=utc_now(),
            )
        except SQLAlchemyError:
            self._close(workbench)
            raise

    def _opened(self) -> Workbench:
        with self._opening:
            if self._workbench is None:
                self._workbench = Workbench.open()
            return self._workbench

    def _close(self, workbench: Workbench) -> None:
        """Have the next request open the ledger anew: its connection may have been changed."""
        with self._opening:
            if self._workbench is workbench:
                self._workbench = None
        workbench.ledger.dispose()


def _cause(error: Exception) -> str:
    """For the log: our own sentences as they are, of all others no word.

    They may quote what they were given, as a database's errors do.
    """
    if isinstance(error, BulkgrantsError):
        return bounded(error, 400)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}."
