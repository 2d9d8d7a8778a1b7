"""Sends requests that a normal HTTP client would not send, and takes the answered page apart."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.client import HTTPResponse
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def page(self) -> Outline:
        return Outline.of(self.body)

    @property
    def everything(self) -> str:
        return f"{self.headers}{self.body}"


@dataclass
class Outline(HTMLParser):
    """A page's elements with their attributes, in order, and its text."""

    elements: list[tuple[str, tuple[tuple[str, str | None], ...]]] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    """The texts, by the element that contains them."""

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = [""]

    @classmethod
    def of(cls, html: str) -> Outline:
        outline = cls()
        outline.feed(html)
        outline.close()
        return outline

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(sorted(attrs))))
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open[-1], []).append(data)

    def handle_comment(self, data: str) -> None:
        self.elements.append(("<!--", ((data, None),)))

    @property
    def heading(self) -> str:
        return " ".join("".join(self.texts["h1"]).split())

    @property
    def words(self) -> str:
        """All text that a reader sees, without the style sheet."""
        said = [text for tag, texts in self.texts.items() if tag != "style" for text in texts]
        return " ".join(" ".join(said).split())


Ask = Callable[..., Answer]


def asker(base_url: str) -> Ask:
    """`ask(query)` for the callback; `ask(target=…, method=…, headers=[…])` for anything."""
    where = urlsplit(base_url)

    def ask(
        query: str | bytes | None = None,
        *,
        target: str | bytes = "/bulkgrants/consent",
        method: str = "GET",
        headers: tuple[str, ...] = (),
        body: bytes = b"",
    ) -> Answer:
        line = [method.encode(), b" ", _bytes(target)]
        line += [] if query is None else [b"?", _bytes(query)]
        head = [b"".join(line) + b" HTTP/1.1", *(_bytes(one) for one in headers)]
        if not any(one.lower().startswith("host:") for one in headers):
            head.append(f"Host: {where.netloc}".encode())
        if body:
            head.append(f"Content-Length: {len(body)}".encode())
        with socket.create_connection((where.hostname, where.port), timeout=60) as sock:
            sock.sendall(b"\r\n".join([*head, b"Connection: close", b"", body]))
            with HTTPResponse(sock, method=method) as response:
                response.begin()
                text = response.read().decode()
            names = {name.lower(): value for name, value in response.getheaders()}
            assert len(names) == len(response.getheaders()), "a header came twice"
            return Answer(response.status, names, text)

    return ask


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
