"""A real server for each module of tests, which is reset before each test."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from nylas_standin.config import Config
from nylas_standin.keys import private_key
from nylas_standin.server import Running, serve_in_thread

READONLY = "https://www.googleapis.com/auth/gmail.readonly"
REDIRECT = "https://app.example/callback?from=nylas"


@pytest.fixture(scope="session")
def pem() -> str:
    """A throw-away key, of the kind that Google's key files hold."""
    return private_key()


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serve_in_thread(Config(api_key="test-key", seed=7)) as running:
        yield running


@pytest.fixture
def control(server: Running) -> Iterator[httpx.Client]:
    """The control plane, after a reset and without a rate limit."""
    with httpx.Client(base_url=f"{server.base_url}/_standin") as client:
        assert client.post("/reset").status_code == 200
        assert client.put("/limiter", json={"policy": "none"}).status_code == 200
        yield client


@pytest.fixture
def api(server: Running, control: httpx.Client) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {server.api_key}"}
    with httpx.Client(base_url=server.base_url, headers=headers) as client:
        yield client


@pytest.fixture
def browser(server: Running, control: httpx.Client) -> Iterator[httpx.Client]:
    """A client without the key, which does not follow redirects."""
    with httpx.Client(base_url=server.base_url) as client:
        yield client


@pytest.fixture
def key_file(pem: str) -> dict[str, str]:
    return {
        "type": "service_account",
        "project_id": "acme",
        "private_key_id": "key-1",
        "private_key": pem,
        "client_email": "robot@acme.iam.gserviceaccount.com",
    }


@pytest.fixture
def google(api: httpx.Client) -> dict[str, object]:
    """A Google connector."""
    body = {
        "provider": "google",
        "settings": {"client_id": "id", "client_secret": "very-secret", "topic_name": "t"},
        "scope": [READONLY],
    }
    answer = api.post("/v3/connectors", json=body)
    assert answer.status_code == 201
    return answer.json()["data"]


@pytest.fixture
def credential_id(api: httpx.Client, google: dict[str, object], key_file: dict[str, str]) -> str:
    """A service account of that connector."""
    body = {"name": "acme", "credential_type": "serviceaccount", "credential_data": key_file}
    answer = api.post("/v3/connectors/google/creds", json=body)
    assert answer.status_code == 201
    return answer.json()["data"]["id"]


@pytest.fixture
def authenticate(api: httpx.Client, credential_id: str) -> Callable[..., httpx.Response]:
    """Custom authentication of a mailbox with that service account."""

    def post(email: str, scopes: tuple[str, ...] = (READONLY,), **settings) -> httpx.Response:
        settings = {"credential_id": credential_id, "scopes": list(scopes)} | settings
        body = {"provider": "google", "settings": settings | {"email_address": email}}
        return api.post("/v3/connect/custom", json=body)

    return post


@pytest.fixture
def consent_credential(api, control):
    """Makes an adminconsent credential."""
    control.put("/redirect-uris", json=[REDIRECT])
    settings = {"client_id": "azure-app", "client_secret": "hidden"}
    api.post("/v3/connectors", json={"provider": "microsoft", "settings": settings})

    def make(**data) -> str:
        body = {"name": f"m{data}", "credential_type": "adminconsent", "credential_data": data}
        answer = api.post("/v3/connectors/microsoft/creds", json=body)
        assert answer.status_code == 201
        return answer.json()["data"]["id"]

    return make


@pytest.fixture
def link(server, consent_credential, browser):
    """Opens a link to the consent screen; None leaves a parameter out."""

    def follow(data=None, **changes):
        query = {
            "client_id": server.standin.config.client_id,
            "redirect_uri": REDIRECT,
            "response_type": "adminconsent",
            "provider": "microsoft",
            "state": "s-1",
        } | changes
        if "credential_id" not in query:
            query["credential_id"] = consent_credential(**(data or {}))
        return browser.get(
            "/v3/connect/auth", params={k: v for k, v in query.items() if v is not None}
        )

    return follow
