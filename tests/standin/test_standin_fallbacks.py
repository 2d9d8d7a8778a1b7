"""Without the faster parsers the stand-in is slower and otherwise the same."""

import sys

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nylas_standin.api import envelopes
from nylas_standin.api.calls import decode
from nylas_standin.server import serve_in_thread

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(deadline=None)  # how busy the machine is, is not the question
@given(JSON)
def test_both_encoders_say_the_same(value):
    assert decode(envelopes.encode(value)) == decode(envelopes._encode(value)) == value


def test_connections_break_under_the_pure_python_protocol_too(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn.protocols.http.httptools_impl", None)
    with serve_in_thread() as running, httpx.Client(base_url=running.base_url) as client:
        client.headers["Authorization"] = f"Bearer {running.api_key}"
        assert client.get("/v3/grants").json()["data"] == []
        for kind, error in (
            ("reset_after_commit", httpx.NetworkError),
            ("cut_body", httpx.RemoteProtocolError),
        ):
            client.post("/_standin/faults", json={"kind": kind, "times": 1})
            with pytest.raises(error):
                client.get("/v3/grants")
            assert client.get("/v3/grants").status_code == 200
