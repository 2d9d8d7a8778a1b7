"""The demo's folder, its secrets, and the search that proves that the folder has none of them."""

from __future__ import annotations

import fcntl
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from demo.terminal import DemoError
from nylas_standin.keys import google_key_file

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = ROOT / ".demo"
KeyFile = dict[str, str]


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder for everything that the demo writes."""

    path: Path

    @property
    def airflow_home(self) -> Path:
        """Airflow's own files: configuration, metadata database, logs."""
        return self.path / "airflow"

    @property
    def ledger(self) -> Path:
        """The ledger, where Bulkgrants puts it by default."""
        return self.airflow_home / "bulkgrants" / "ledger.db"

    @property
    def warehouse(self) -> Path:
        """The database with the roster and the tenants."""
        return self.path / "warehouse.db"

    @property
    def passwords(self) -> Path:
        """The passwords of Airflow's users."""
        return self.path / "passwords.json"

    @property
    def airflow_output(self) -> Path:
        """What Airflow's components print."""
        return self.path / "airflow.log"


@contextmanager
def fresh(path: Path) -> Iterator[Folder]:
    """An empty folder, locked for the length of the block.

    Raises DemoError if another demo holds the lock.
    """
    path.mkdir(parents=True, exist_ok=True)
    with (path / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"Another demo is running in {path}; end it first.") from None
        for child in path.iterdir():
            if child.name == "lock":
                continue
            if child.is_dir():
                shutil.rmtree(child)
            else:
                child.unlink()
        folder = Folder(path)
        folder.airflow_home.mkdir()
        yield folder


@dataclass(frozen=True, slots=True)
class Secrets:
    """Secrets that live in memory and in environments, and must never be written to a file."""

    api_key: str = field(repr=False)
    oauth_secret: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    password: str = field(repr=False)
    """The password of Airflow's user. It is shown, because people need it to log in."""
    key_files: Mapping[str, KeyFile] = field(repr=False)
    """Google service account keys, by the Airflow connection that holds each."""

    def traces(self) -> dict[str, list[bytes]]:
        """The bytes that reveal each secret: of a key every line, however the lines are joined."""
        found = {
            "the API key": [self.api_key],
            "the OAuth app's secret": [self.oauth_secret],
            "the secret that signs Airflow's tokens": [self.jwt_secret],
        }
        for conn_id, key_file in self.key_files.items():
            lines = key_file["private_key"].splitlines()
            found[f"the private key of {conn_id}"] = lines[1:-1]
        return {name: [text.encode() for text in texts] for name, texts in found.items()}


def make_secrets(google_conn_ids: Iterable[str]) -> Secrets:
    """New secrets for one demo."""
    return Secrets(
        api_key=f"nyk_v0_{secrets.token_urlsafe(40)}",
        oauth_secret=secrets.token_urlsafe(32),
        jwt_secret=secrets.token_urlsafe(64),
        password=secrets.token_urlsafe(12),
        key_files={conn_id: _key_file(conn_id) for conn_id in google_conn_ids},
    )


def _key_file(conn_id: str) -> KeyFile:
    """A service account's key file, as Google Cloud makes it."""
    project = conn_id.replace("_", "-")
    return google_key_file(project, account="bulkgrants", key_id=secrets.token_hex(20)) | {
        "client_id": "".join(secrets.choice("0123456789") for _ in range(21)),
        "token_uri": "https://oauth2.googleapis.com/token",
    }


def leaks(made: Secrets, folder: Path, said: str) -> tuple[list[str], int]:
    """A sentence for each place that holds a secret, and the number of places searched.

    Files are searched byte for byte: logs, both databases with their journals, configuration.
    """
    places = {"the terminal": said.encode()}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            places[str(path.relative_to(folder))] = path.read_bytes()
    found = [
        f"{place} holds {secret}."
        for place, content in places.items()
        for secret, marks in made.traces().items()
        if any(mark in content for mark in marks)
    ]
    return found, len(places)
