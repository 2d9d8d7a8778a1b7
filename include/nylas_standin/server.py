"""The stand-in behind a real socket, in this process or in a thread of it."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

import uvicorn

from nylas_standin.app import create_app, http_protocol
from nylas_standin.config import Config
from nylas_standin.standin import Standin


class _Server(uvicorn.Server):
    """A server that calls back when it accepts connections."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts as usual, and then calls back."""
        await super().startup(sockets)
        self._on_ready()


@dataclass(frozen=True, slots=True)
class Running:
    """A stand-in that accepts connections."""

    base_url: str
    standin: Standin

    @property
    def api_key(self) -> str:
        """The API key of its application."""
        return self.standin.config.api_key


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


def _base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(standin: Standin, on_ready: Callable[[], None]) -> _Server:
    config = uvicorn.Config(
        create_app(standin=standin),
        http=http_protocol(),
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        # Seconds. A latency may last minutes, and the end of the process must not wait for it.
        timeout_graceful_shutdown=1,
    )
    return _Server(config, on_ready)


def serve(config: Config, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serves until a signal ends the process; calls `on_ready` with the base URL."""
    with _listen(host, port) as listener:
        url = _base_url(listener)
        _server(Standin(config), lambda: on_ready(url)).run(sockets=[listener])


@contextmanager
def serve_in_thread(config: Config | None = None, host: str = "127.0.0.1") -> Iterator[Running]:
    """A stand-in at a free port until the block ends; raises TimeoutError if it does not start."""
    standin = Standin(config or Config())
    ready = Event()
    with _listen(host, 0) as listener:
        server = _server(standin, ready.set)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        if not ready.wait(timeout=30):
            raise TimeoutError("The stand-in did not start within 30 s.")
        try:
            yield Running(_base_url(listener), standin)
        finally:
            server.should_exit = True
            thread.join(timeout=30)
