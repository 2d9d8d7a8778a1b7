"""Small servers that misbehave in ways the stand-in cannot, and keep the requests they got."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

ANSWER = b'{"request_id": "r", "data": [], "limit": 1}'


@dataclass
class Listener:
    """The raw requests that came in, in order, and the number of connections."""

    base_url: str
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    def headers(self, number: int = -1) -> dict[str, str]:
        """The headers of one request, names in lower case."""
        head = self.requests[number].split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        pairs = (line.split(": ", 1) for line in head)
        return {name.lower(): value for name, value in pairs}

    def body(self, number: int = -1) -> bytes:
        """The body of one request."""
        return self.requests[number].split(b"\r\n\r\n", 1)[1]


Answer = Callable[[socket.socket], None]


def plain(body: bytes = ANSWER, status: str = "200 OK", headers: str = "") -> Answer:
    """Send an ordinary answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode()
    return lambda client: client.sendall(head + body)


def silent(client: socket.socket) -> None:
    """Do not answer within any reasonable time."""
    time.sleep(2)


def dripping(client: socket.socket) -> None:
    """Send a body one byte at a time, always just before a read would time out."""
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n")
    for _ in range(60):
        time.sleep(0.05)
        client.sendall(b" ")


def reset(client: socket.socket) -> None:
    """Drop the connection instead of answering."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


def endless(client: socket.socket) -> None:
    """Send a body that is longer than any reasonable answer."""
    client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    for _ in range(64):
        client.sendall(piece)


def gibberish(client: socket.socket) -> None:
    """Send bytes that are not HTTP."""
    client.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
    client.shutdown(socket.SHUT_RDWR)


def _read_request(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += (more := client.recv(65536))
        if not more:
            return b""
        if data[:1] == b"\x16":  # the first byte of a TLS handshake, which has no blank line
            return data
    head, body = data.split(b"\r\n\r\n", 1)
    lengths = [
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    ]
    while lengths and len(body) < lengths[0]:
        body += client.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def listening(answer: Answer) -> Iterator[Listener]:
    """A server on loopback that treats every request in the same way."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = Listener(f"http://127.0.0.1:{server.getsockname()[1]}")
        accept = threading.Thread(target=_accept, args=(server, listener, answer), daemon=True)
        accept.start()
        yield listener


def _accept(server: socket.socket, listener: Listener, answer: Answer) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        listener.connections += 1
        serve = threading.Thread(target=_serve, args=(client, listener, answer), daemon=True)
        serve.start()


def _serve(client: socket.socket, listener: Listener, answer: Answer) -> None:
    with client:
        try:
            while request := _read_request(client):
                listener.requests.append(request)
                answer(client)
                if answer not in {silent, dripping, endless, gibberish, reset}:
                    continue
                return
        except OSError:
            return


@dataclass
class Stall:
    """A socket in whose middle everything stops, and whether that has happened."""

    folder: str
    happened: threading.Event = field(default_factory=threading.Event)


@contextmanager
def stalling(server: str, after: int) -> Iterator[Stall]:
    """A way to PostgreSQL's socket in a folder, on which only the first bytes of a client arrive.

    The server cannot tell this from a client that is frozen while it sends.
    """
    name = ".s.PGSQL.5432"
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as door:
        door.bind(str(Path(folder) / name))
        door.listen()
        stall, clients = Stall(folder), list[socket.socket]()

        def relay() -> None:
            client, _ = door.accept()
            clients.append(client)
            with client, socket.socket(socket.AF_UNIX) as behind, suppress(OSError):
                behind.connect(str(Path(server) / name))
                sending = threading.Thread(target=pass_on, args=(client, behind), daemon=True)
                sending.start()
                while answer := behind.recv(65536):
                    client.sendall(answer)

        def pass_on(client: socket.socket, behind: socket.socket) -> None:
            left = after
            while left and (data := client.recv(min(left, 65536))):
                behind.sendall(data)
                left -= len(data)
            stall.happened.set()

        threading.Thread(target=relay, daemon=True).start()
        try:
            yield stall
        finally:
            for client in clients:
                with suppress(OSError):  # it has ended
                    client.shutdown(socket.SHUT_RDWR)
