"""The work against the stand-in over HTTP, without Airflow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nylas_standin.keys import google_key_file
from nylas_standin.server import serve_in_thread
from support.senders import HttpxSender


@pytest.fixture(scope="session")
def _served():
    with serve_in_thread() as running:
        yield running


@pytest.fixture
def sender(_served) -> Iterator[HttpxSender]:
    """A sender to a stand-in that has just been reset."""
    one = HttpxSender(_served.base_url, _served.api_key)
    one.control.reset()
    yield one
    one.close()


@pytest.fixture(scope="session")
def key_files() -> list[dict[str, str]]:
    """Two key files of one service account: before and after a rotation."""
    return [google_key_file("p", key_id=key_id) for key_id in ("key-1", "key-2")]
