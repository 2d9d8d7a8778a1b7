"""Everything that a stranger, a broken proxy or an impatient admin may send to the callback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

import pytest
from sqlalchemy import update

from bulkgrants.ledger.tables import credentials
from bulkgrants.onboarding.callback import Verdict
from bulkgrants.ports import utc_now
from support.browsing import Answer
from support.consents import GUID, OTHER_GUID, Link, recorded, send_links
from support.ledgers import rows

PLAIN = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "strong", "bdi"),
    *("details", "summary", "dl", "dt", "dd", "footer"),
}
HEADERS = {
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex",
    "content-type": "text/html; charset=utf-8",
}


def require_sound(answer: Answer, *secrets: str) -> None:
    """What holds for every page, whatever was asked."""
    assert HEADERS.items() <= answer.headers.items()
    policy = answer.headers["content-security-policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert policy[1].startswith("style-src 'sha256-")
    assert policy[2:] == ["frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"]
    assert not {"set-cookie", "location", "refresh", "link"} & answer.headers.keys()
    assert "Traceback" not in answer.body
    for secret in secrets:
        assert secret not in answer.everything
    if answer.body:
        page = answer.page
        assert {tag for tag, _ in page.elements} <= PLAIN
        assert {name for _, attributes in page.elements for name, _ in attributes} <= {
            *("lang", "charset", "name", "content", "class", "dir")
        }
        assert page.heading in " ".join("".join(page.texts["title"]).split())


@dataclass(frozen=True, slots=True)
class Links:
    """One of each kind that can come back."""

    acme: Link
    """Waits for its answer, asked of the organisation `GUID`."""
    given: Link
    refused: Link
    swapped: Link
    """Its tenant has another credential by now."""
    late: Link
    foreign: Link
    """Signed by another deployment."""
    other: Link
    """Of another application in the same ledger."""


@pytest.fixture
def links(small) -> Links:
    now = utc_now()
    (other,) = send_links(small.ledger, "other", application="app-2", now=now)
    (foreign,) = send_links(small.ledger, "foreign", api_key="nyk_foreign", now=now)
    (late,) = send_links(small.ledger, "late", now=now - timedelta(days=15))
    names = ("acme", "given", "refused", "swapped", "late", "foreign")
    acme, _, given, _, refused, swapped = send_links(
        small.ledger, *names, now=now, microsoft_tenant=GUID
    )
    with small.ledger.begin() as connection:
        connection.execute(
            update(credentials)
            .where(credentials.c.name == "credential of swapped")
            .values(credential_id="another")
        )
    assert small.ask(given.approved()).status == small.ask(refused.declined()).status == 200
    return Links(acme, given, refused, swapped, late, foreign, other)


Query = Callable[[Links], str | bytes | None]


def acme(rest: str) -> Query:
    return lambda links: f"state={links.acme.state}&{rest}"


def flipped(links: Links) -> str:
    last = "B" if links.acme.state[-1] != "B" else "C"
    return f"state={links.acme.state[:-1]}{last}&admin_consent=true"


def forged(links: Links) -> str:
    chance, signature, check = links.acme.state.split(".")
    return f"state={chance}.{signature[::-1]}.{check}&admin_consent=true"


def unchecked(links: Links) -> str:
    """In the form of an older link, which anybody can make."""
    return f"state={links.acme.state.rsplit('.', 1)[0]}&admin_consent=true"


def crossed(links: Links) -> str:
    mine, theirs = links.acme.state.split("."), links.given.state.split(".")
    return f"state={mine[0]}.{theirs[1]}.{mine[2]}&admin_consent=true"


MALFORMED: dict[str, Query] = {
    "no query": lambda _: None,
    "an empty query": lambda _: "",
    "ampersands alone": lambda _: "&&&&",
    "no state": lambda _: "admin_consent=true",
    "an empty state": lambda _: "state=&admin_consent=true",
    "a short state": lambda links: f"state={links.acme.state[:-1]}&admin_consent=true",
    "a long state": lambda links: f"state={links.acme.state}A&admin_consent=true",
    "a state of 5,000": lambda _: f"state={'A' * 5000}&admin_consent=true",
    "a state in quotes": lambda links: f"state=%22{links.acme.state}%22&admin_consent=true",
    "SQL for a state": lambda _: "state='%20OR%20''%3D'&admin_consent=true",
    "a blank behind the state": lambda links: f"admin_consent=true&state={links.acme.state}%20",
    "a line behind the state": lambda links: f"admin_consent=true&state={links.acme.state}%0A",
    "state twice": lambda links: f"{links.acme.approved()}&state={links.acme.state}",
    "two states": lambda links: f"{links.acme.approved()}&state={links.given.state}",
    "error twice": acme("error=a&error=b"),
    "admin_consent twice": acme("admin_consent=true&admin_consent=true"),
    "no and yes": acme("admin_consent=false&admin_consent=true"),
    "a name that is encoded a second time": acme("admin_consent=true&admin%5Fconsent=true"),
    "nothing but the state": lambda links: f"state={links.acme.state}",
    "admin_consent=false": acme("admin_consent=false"),
    "admin_consent=1": acme("admin_consent=1"),
    "admin_consent=yes": acme("admin_consent=yes"),
    "an empty admin_consent": acme("admin_consent="),
    "an admin_consent without a value": acme("admin_consent"),
    "wide letters for true": acme("admin_consent=" + quote("\uff54\uff52\uff55\uff45")),
    "digits of another script": acme("admin_consent=" + quote("\u0661")),
    "a list for admin_consent": acme("admin_consent[]=true"),
    "a semicolon between": lambda links: f"state={links.acme.state};admin_consent=true",
    "a semicolon behind": acme("admin_consent=true;x=1"),
    "an encoded ampersand": acme("x=1%26admin_consent%3Dtrue"),
    "encoded twice": lambda links: quote(links.acme.approved()),
    "a description alone": acme("error_description=something"),
    "NUL for an error": acme("admin_consent=true&error=%00"),
    "nothing to see for an error": acme("admin_consent=true&error=%E2%80%8B%E2%80%AE"),
    "a blank error code": acme("admin_consent=true&error_code=%20"),
    "a lone surrogate": acme("error=%ED%A0%80"),
    "overlong UTF-8": acme("error=%C0%BCscript%C0%BE"),
    "Latin-1": acme("error=caf%E9"),
    "a cut UTF-8 sequence": acme("error=x%E2%82"),
    "thousands of parameters": acme("admin_consent=true" + "&x" * 4000),
}
OTHERS: dict[str, tuple[Query, Verdict]] = {
    "a state with its last letter changed": (flipped, Verdict.UNKNOWN),
    "a forged signature": (forged, Verdict.UNKNOWN),
    "a signature of another state": (crossed, Verdict.UNKNOWN),
    "a state that was never made": (
        lambda _: f"state={'A' * 43}.{'A' * 43}.{'A' * 22}&admin_consent=true",
        Verdict.UNKNOWN,
    ),
    "an older state that was never made": (
        lambda _: f"state={'A' * 43}.{'A' * 43}&admin_consent=true",
        Verdict.UNKNOWN,
    ),
    "a state without its check": (unchecked, Verdict.UNKNOWN),
    "another deployment's state": (lambda links: links.foreign.approved(), Verdict.UNKNOWN),
    "another application's state": (lambda links: links.other.approved(), Verdict.UNKNOWN),
    "an expired yes": (lambda links: links.late.approved(), Verdict.EXPIRED),
    "an expired no": (lambda links: links.late.declined(), Verdict.EXPIRED),
    "yes again": (lambda links: links.given.approved(), Verdict.REPEATED),
    "no again": (lambda links: links.refused.declined(), Verdict.REPEATED),
    "no after yes": (lambda links: links.given.declined(), Verdict.USED),
    "yes after no": (lambda links: links.refused.approved(), Verdict.USED),
    "a credential of the past": (lambda links: links.swapped.approved(), Verdict.STALE),
    "a no with a credential of the past": (
        lambda links: links.swapped.declined(),
        Verdict.STALE,
    ),
    "another organisation": (
        acme(f"admin_consent=True&tenant={OTHER_GUID}"),
        Verdict.MISMATCHED,
    ),
    "8,193 characters": (
        lambda links: f"{links.acme.approved()}&x=".ljust(8193, "x"),
        Verdict.TOO_LONG,
    ),
    "a description of 60 kB": (
        acme("error=access_denied&error_description=" + "x" * 60_000),
        Verdict.TOO_LONG,
    ),
    "10,000 parameters": (acme("admin_consent=true" + "&a=1" * 10_000), Verdict.TOO_LONG),
}
STATUS = {
    Verdict.MALFORMED: 400,
    Verdict.UNKNOWN: 404,
    Verdict.USED: 409,
    Verdict.MISMATCHED: 409,
    Verdict.STALE: 410,
    Verdict.EXPIRED: 410,
    Verdict.TOO_LONG: 414,
    Verdict.REPEATED: 200,
}
NOTED = {
    *("nothing but the state", "admin_consent=false", "admin_consent=1", "admin_consent=yes"),
    *("an empty admin_consent", "an admin_consent without a value", "wide letters for true"),
    *("digits of another script", "a list for admin_consent", "an encoded ampersand"),
    *("a semicolon behind", "a description alone", "another application's state"),
    *("an older state that was never made", "a state without its check", "an expired yes"),
    *("an expired no", "yes again", "no again", "no after yes", "yes after no"),
    *("a credential of the past", "a no with a credential of the past", "another organisation"),
}
"""Those that reach the ledger: their states were made with the key, or have no check."""
NO_ANSWERS = {name: (query, Verdict.MALFORMED) for name, query in MALFORMED.items()} | OTHERS


@pytest.mark.parametrize(("query", "verdict"), NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_an_answer_that_does_not_count_gets_its_page_and_leaves_at_most_an_attempt(
    small, links, query, verdict, request
):
    before, attempts = recorded(small.ledger), len(rows(small.ledger, "consent_attempts"))
    answer = small.ask(query(links))
    assert answer.status == STATUS[verdict]
    require_sound(answer, links.acme.state, links.given.state, links.late.state)
    assert recorded(small.ledger) == before
    noted = [row["verdict"] for row in rows(small.ledger, "consent_attempts")[attempts:]]
    assert noted == ([verdict] if request.node.callspec.id in NOTED else [])
    genuine = verdict not in {Verdict.MALFORMED, Verdict.TOO_LONG, Verdict.UNKNOWN}
    assert bool(answer.page.texts.get("bdi")) == genuine, "a name is shown for genuine states only"


EVIL = "https://evil.example.com"
YES: dict[str, Query] = {
    "TRUE": acme("admin_consent=TRUE"),
    "True as Microsoft writes it": acme(f"admin_consent=True&tenant={GUID.upper()}&scope=x"),
    "an empty error": acme("admin_consent=true&error="),
    "a letter encoded that need not be": acme("admin_consent=%74rue"),
    "somewhere else to go": acme(
        f"admin_consent=true&redirect={EVIL}&next={EVIL}&return_to=//evil.example.com&url={EVIL}"
    ),
    "parameters of ours in other cases": acme("admin_consent=true&ERROR=x&State=y"),
    "a fragment": acme("admin_consent=true#error=access_denied"),
    "as many characters as there may be": lambda links: f"{links.acme.approved()}&x=".ljust(
        8192, "x"
    ),
}


@pytest.mark.parametrize("query", YES.values(), ids=YES)
def test_an_odd_yes_is_a_yes_and_leads_nowhere_else(small, links, query):
    answer = small.ask(query(links))
    assert answer.status == 200
    require_sound(answer, links.acme.state, "evil.example.com")
    assert answer.page.heading == "Thank you, your consent is recorded"
    assert rows(small.ledger, "consent_attempts")[-1]["verdict"] == Verdict.GIVEN


WORDS = {
    "a script": "<script>alert(1)</script>",
    "an image": '"><img src=x onerror=alert(1)>',
    "an attribute": "' onmouseover='alert(1)' x=\"",
    "the end of everything": "</bdi></dd></dl></details></main></style><!--",
    "Jinja": "{{7*7}}{% if 1 %}{{ self.__class__ }}{% endif %}",
    "entities": "&lt;script&gt;&#60;script&#62;&amp;",
    "percent signs": "%253Cscript%253E%00%n%s",
    "a byte of nothing": "a\x00b\x1b[31m",
    "lines": "a\r\nSet-Cookie: a=b\r\n\r\n<html>",
    "writing that turns round": "a\u202etxt.exe\u2066\u2069\u200f\u061c",
    "a link": "javascript:alert(1)//https://evil.example.com",
    "CDATA": "<![CDATA[x]]><?php x ?>",
    "an emoji, and letters of many tongues": "\U0001f600 \u05d0\u0628\u4e2d\u0301",
}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_hostile_words_in_every_field_of_an_error_are_words_on_the_page(small, links, words):
    names = ("error", "error_code", "error_description", "error_uri")
    fields = "&".join(f"{name}={quote(f'<b>{name[6:]}</b>{words}')}" for name in names)
    answer = small.ask(f"state={links.acme.state}&admin_consent=True&{fields}")
    assert answer.status == 200
    require_sound(answer, links.acme.state)
    assert answer.page.heading == "The consent was not given"
    shown = "".join(answer.page.texts["bdi"])
    assert all(f"<b>{name[6:]}</b>" in shown for name in names)
    assert "49" not in shown
    assert not set(answer.body) & set("\x00\x1b\r\u202e\u2066\u2069\u200f")
    assert rows(small.ledger, "consent_attempts")[-1]["verdict"] == Verdict.REFUSED


@pytest.mark.parametrize(
    "query", ["error_code=45002", "error=access_denied&admin_consent=True", "error=%25%25%3C"]
)
def test_any_error_is_a_refusal_whatever_comes_with_it(small, links, query):
    answer = small.ask(f"state={links.acme.state}&{query}")
    require_sound(answer, links.acme.state)
    assert answer.page.heading == "The consent was not given"
    (consent,) = (
        one for one in recorded(small.ledger)["consents"] if one["id"] == links.acme.consent_id
    )
    assert consent["status"] == "refused"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"])
def test_the_page_can_only_be_got(small, links, method):
    before = rows(small.ledger, "consent_attempts")
    body = b"" if method == "HEAD" else b"admin_consent=true"
    answer = small.ask(links.acme.approved(), method=method, body=body)
    assert (answer.status, answer.headers["allow"]) == (405, "GET")
    require_sound(answer, links.acme.state)
    assert rows(small.ledger, "consent_attempts") == before


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "//",
            "//consent",
            "/consent/",
            "/consent//",
            "/consent/x",
            "/consent;x",
            "/Consent",
        ),
        *("/../", "/../consent", "/%2e%2e/consent", "/./consent", "/consent/..", "/consent%2F"),
        *("/consent%00", "/consent%0A", "/consent%20", "/%63onsent%3Fx", "/docs", "/redoc"),
        *("/openapi.json", "/consent/docs", "/static/style.css", "/templates/layout.html"),
        *("/bulkgrants/consent", "/%FF%FE"),
    ],
)
def test_there_is_no_other_page_and_no_way_around(small, links, path):
    before = rows(small.ledger, "consent_attempts")
    answer = small.ask(links.acme.approved(), target=f"/bulkgrants{path}")
    assert answer.status == 404
    require_sound(answer, links.acme.state)
    assert answer.page.heading == "There is no such page"
    assert rows(small.ledger, "consent_attempts") == before


def test_headers_are_neither_believed_nor_echoed(small, links):
    evil = "evil-7f3a.example.com"
    answer = small.ask(
        links.acme.approved(),
        headers=(
            f"Host: {evil}",
            f"X-Forwarded-Host: {evil}",
            f"X-Forwarded-Prefix: /{evil}",
            f"Forwarded: host={evil};proto=http",
            f"Referer: https://{evil}/<script>",
            f"Origin: https://{evil}",
            f"User-Agent: <script>{evil}</script>",
            f"Accept-Language: {evil}",
            # not Airflow's own `_token`, which Airflow's own middleware clears where it is void
            f"Cookie: session={evil}; state={evil}",
            f"Authorization: Bearer {evil}",
            f"X-HTTP-Method-Override: {evil}",
        ),
    )
    assert answer.status == 200
    require_sound(answer, links.acme.state, "evil-7f3a")


@pytest.mark.parametrize(
    "raw",
    [b"x=\xff\xfe", b"x=\xc3\xa9", b"x=\x00", b"x=a b", b"x=" + b"x" * 100_000],
    ids=["no UTF-8", "UTF-8", "NUL", "a blank", "100 kB"],
)
def test_what_no_browser_sends_is_refused_beside_a_good_answer_too(small, links, raw):
    """The HTTP server itself turns most of them away; what it lets through is malformed."""
    before = recorded(small.ledger)
    answer = small.ask(links.acme.approved().encode() + b"&" + raw)
    assert answer.status == 400
    assert recorded(small.ledger) == before


async def answered(app, **scope) -> list[dict]:
    """What the app itself says, without an HTTP server before it."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        raise AssertionError("the app reads no body")

    where = {"path": "/bulkgrants/consent", "root_path": "/bulkgrants", "headers": []}
    await app({"type": "http", "method": "GET", **where, **scope}, receive, send)
    return sent


@pytest.mark.parametrize("raw", [b"x=\xff\xfe", b"x=\xc3\xa9", b"\x80"])
async def test_a_server_that_lets_any_byte_through_changes_nothing(small, links, raw):
    from bulkgrants_airflow.ui.lazy_app import consent_callback

    before = recorded(small.ledger)
    query = links.acme.approved().encode() + b"&" + raw
    start, _ = await answered(consent_callback, query_string=query)
    assert start["status"] == 400
    assert recorded(small.ledger) == before


async def test_a_websocket_is_closed(small):
    from bulkgrants_airflow.ui.lazy_app import consent_callback

    sent = await answered(consent_callback, type="websocket", query_string=b"")
    assert [message["type"] for message in sent] == ["websocket.close"]
