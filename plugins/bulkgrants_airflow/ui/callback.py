"""Receives the redirect of an admin who has answered Microsoft: `GET /bulkgrants/consent`.

The page is public, so it does only what it must: it has no router that redirects or parses, no
cookie and no session. `bulkgrants.onboarding.callback` judges the redirect. A redirect whose state
was not made here is answered at once, without a thread and without the ledger, so a flood of them
keeps no admin out.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Lock

from fastapi.responses import HTMLResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Receive, Scope, Send

from bulkgrants.errors import BulkgrantsError, Unavailable
from bulkgrants.onboarding.callback import Received, Redirect, Verdict, read_redirect, receive
from bulkgrants.onboarding.links import has_check, passes_check, state_key
from bulkgrants.ports import utc_now
from bulkgrants.text import bounded
from bulkgrants_airflow.connections import nylas_connection
from bulkgrants_airflow.provider import CALLBACK_PATH
from bulkgrants_airflow.settings import read_settings
from bulkgrants_airflow.ui import pages
from bulkgrants_airflow.ui.pages import Page
from bulkgrants_airflow.workspace import Workspace

AT_ONCE = 8
"""How many redirects may use the ledger at a time."""
QUEUED = 40
"""How many more may wait for that, if the ledger is slow."""
PER_SECOND = 20.0
"""How many redirects a second may use the ledger."""
OLD_AT_ONCE = 2
OLD_PER_SECOND = 2.0
"""The same for states without a check, which anybody can make: those of older links."""
LOOK_UPS_AT_ONCE = 2
LOOK_UPS_PER_SECOND = 5.0
"""How often the key is looked up because a state does not fit the known one."""
_LOG_EVERY = 60.0

_log = logging.getLogger(__name__)


class Turnstile:
    """Limits requests, so that a flood of them leaves room for the API server's other work.

    It is a token bucket with a ceiling on how many requests are inside, for use on one event loop.
    """

    def __init__(
        self, *, rate: float, inside: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`rate` requests a second (after a quiet second, all at once), `inside` at any moment."""
        self._rate = rate
        self._most_inside = inside
        self._clock = clock
        self._tokens = rate
        self._filled_at = clock()
        self._inside = 0

    def enter(self) -> bool:
        """Whether there is room. A request that was let in has to `leave`."""
        now = self._clock()
        self._tokens = min(self._rate, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1 or self._inside >= self._most_inside:
            return False
        self._tokens -= 1
        self._inside += 1
        return True

    def leave(self) -> None:
        """Make room for another request."""
        self._inside -= 1


class Gatekeeper:
    """Knows whether a state was made with the application's key, at the price of a hash.

    The key is looked up again if a state does not fit it, since it may have been changed. That is
    limited, so a flood of strangers costs a few look-ups a second. For use on one event loop.
    """

    def __init__(self) -> None:
        self._key: bytes | None = None
        self._look_ups = Turnstile(rate=LOOK_UPS_PER_SECOND, inside=LOOK_UPS_AT_ONCE)
        self._threads = ThreadPoolExecutor(LOOK_UPS_AT_ONCE, thread_name_prefix="bulkgrants-key")

    async def knows(self, state: str) -> bool | None:
        """Whether the state was made with the key; None if the key is not known at the moment.

        Raises what the look-up raises.
        """
        if self._key is not None and passes_check(state, self._key):
            return True
        if self._look_ups.enter():
            try:
                loop = asyncio.get_running_loop()
                self._key = await loop.run_in_executor(self._threads, _look_up_key)
            finally:
                self._look_ups.leave()
        return None if self._key is None else passes_check(state, self._key)

    def close(self) -> None:
        """End its threads."""
        self._threads.shutdown()


def _look_up_key() -> bytes:
    return state_key(nylas_connection(read_settings().nylas_conn_id).api_key)


class ConsentCallback:
    """The ASGI app; one for each process."""

    def __init__(self, turnstile: Turnstile | None = None) -> None:
        self._turnstile = turnstile or Turnstile(rate=PER_SECOND, inside=AT_ONCE + QUEUED)
        self._old_links = Turnstile(rate=OLD_PER_SECOND, inside=OLD_AT_ONCE)
        self._gatekeeper = Gatekeeper()
        # Its own threads, so that a ledger that hangs does not block the API server's other work.
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="bulkgrants-consent")
        self._opening = Lock()
        self._workspace: Workspace | None = None
        self._strangers = 0
        self._logged_at = -_LOG_EVERY

    def close(self) -> None:
        """End its threads, and close its ledger."""
        self._gatekeeper.close()
        self._threads.shutdown()
        if self._workspace is not None:
            self._workspace.ledger.dispose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer any request with one page."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        query: bytes = scope["query_string"]
        # Airflow's access log is written from this afterwards, and must not hold a state.
        scope["query_string"] = b""
        page = await self._page(scope, query)
        await HTMLResponse(page.html, page.status, page.headers)(scope, receive, send)

    async def _page(self, scope: Scope, query: bytes) -> Page:
        if scope["path"].removeprefix(scope.get("root_path", "")) != CALLBACK_PATH:
            return pages.NOT_FOUND
        if scope["method"] != "GET":
            return pages.NOT_ALLOWED
        text = query.decode("ascii", errors="replace")
        redirect = read_redirect(text)
        if isinstance(redirect, Verdict):
            return self._turn_away(redirect)
        try:
            return await self._answer(redirect, text)
        except Exception as error:  # noqa: BLE001 - the admin gets a page and the log a line, whatever it is
            _log.error("A redirect to the consent callback was not recorded: %s", _cause(error))
            return pages.TROUBLE

    async def _answer(self, redirect: Redirect, text: str) -> Page:
        turnstile = self._old_links
        if has_check(redirect.state):
            turnstile = self._turnstile
            known = await self._gatekeeper.knows(redirect.state)
            if known is None:
                return pages.BUSY
            if not known:
                return self._turn_away(Verdict.UNKNOWN)
        if not turnstile.enter():
            return pages.BUSY
        try:
            loop = asyncio.get_running_loop()
            received = await loop.run_in_executor(self._threads, self._receive, text)
            return pages.page_of(received)
        finally:
            turnstile.leave()

    def _turn_away(self, verdict: Verdict) -> Page:
        """The page for a redirect that does not answer a link of ours; they are logged in sums."""
        self._strangers += 1
        if time.monotonic() - self._logged_at >= _LOG_EVERY:
            self._logged_at = time.monotonic()
            _log.warning(
                "%d redirects to the consent callback did not answer a link of this application; "
                "the last one was %s",
                self._strangers,
                verdict,
            )
            self._strangers = 0
        return pages.STRANGERS[verdict]

    def _receive(self, query: str) -> Received:
        opened = self._opened()
        # A copy looks the Nylas connection up again, so a new API key counts without a restart.
        workspace = replace(opened)
        application, key = workspace.application, workspace.state_key
        try:
            return receive(
                workspace.ledger,
                query,
                application=application,
                key=key,
                now=utc_now(),
            )
        except (SQLAlchemyError, Unavailable):
            self._close(opened)
            raise

    def _opened(self) -> Workspace:
        with self._opening:
            if self._workspace is None:
                self._workspace = Workspace.open()
            return self._workspace

    def _close(self, workspace: Workspace) -> None:
        """Let the next request open the ledger again: its Airflow connection may have changed."""
        with self._opening:
            if self._workspace is workspace:
                self._workspace = None
        workspace.ledger.dispose()


def _cause(error: Exception) -> str:
    """The cause for the log: our own messages in full, but only class and place of other errors.

    Their messages may quote the data they were given, as a database's errors do.
    """
    if isinstance(error, BulkgrantsError):
        return bounded(error, 400)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}."
