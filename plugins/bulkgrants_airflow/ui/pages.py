"""The pages of the consent callback: one for each verdict, and four for requests without one."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bulkgrants.onboarding.callback import Received, Verdict

_TEMPLATES = Path(__file__).parent / "templates"
_STYLE = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}
"""On every page: it loads nothing, runs nothing, and is not shown in a frame. No other site learns
its address, which holds the state."""

STATUS: Mapping[Verdict, int] = {
    Verdict.GIVEN: 200,
    Verdict.REFUSED: 200,  # the admin refused the consent; the request itself was in order
    Verdict.REPEATED: 200,
    Verdict.MALFORMED: 400,
    Verdict.TOO_LONG: 414,
    Verdict.UNKNOWN: 404,
    Verdict.USED: 409,
    Verdict.EXPIRED: 410,
    Verdict.STALE: 410,
    Verdict.MISMATCHED: 409,
    Verdict.PASSING: 200,
}


@dataclass(frozen=True, slots=True)
class Page:
    """An answer to a browser."""

    status: int
    html: str
    headers: Mapping[str, str]


def page_of(received: Received) -> Page:
    """The page that answers a redirect. It names the tenant only if the state is genuine.

    All text that came with the request is escaped, and comes below our own sentences.
    """
    error = received.error
    return _page(
        received.verdict,
        STATUS[received.verdict],
        tenant=received.tenant,
        recorded=received.status or "",
        answered=_moment(received.answered_at),
        known=error.known,
        fields=asdict(error),
    )


def _page(name: str, status: int, headers: Mapping[str, str] | None = None, **told: object) -> Page:
    html = _environment.get_template(f"{name}.html").render(style=_STYLE, **told)
    return Page(status, html, {**HEADERS, **(headers or {})})


def _moment(at: datetime | None) -> str:
    return f"{at.day} {at:%B %Y, %H:%M} UTC" if at else ""


_environment = Environment(
    loader=FileSystemLoader(_TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)

NOT_FOUND = _page("not_found", 404)
NOT_ALLOWED = _page("not_allowed", 405, {"Allow": "GET"})
BUSY = _page("busy", 429, {"Retry-After": "1"})
TROUBLE = _page("trouble", 503, {"Retry-After": "60"})
STRANGERS: Mapping[Verdict, Page] = {
    verdict: page_of(Received(verdict))
    for verdict in (Verdict.MALFORMED, Verdict.TOO_LONG, Verdict.UNKNOWN)
}
"""The pages for redirects that do not answer a link of ours, made once."""
