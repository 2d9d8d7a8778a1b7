"""The demo's one folder, fresh each time, and ports that nobody else uses."""

from __future__ import annotations

import fcntl
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.errors import DemoError

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = ROOT / ".demo"


@dataclass(frozen=True, slots=True)
class Folder:
    """Where the demo keeps everything that it writes."""

    path: Path

    @property
    def airflow_home(self) -> Path:
        """Airflow's own files: configuration, metadata database, logs."""
        return self.path / "airflow"

    @property
    def ledger(self) -> Path:
        """The ledger, where Bulkgrants puts it while nothing else is configured."""
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
    """The folder, emptied, for as long as nobody else may use it. Raises DemoError."""
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


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on; all are held at once, so that none repeats."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
