"""The consent screen: an admin opens it in a browser, and accepts or cancels.

The pages are plain forms without scripts, and every value in them is escaped.
"""

from html import escape
from string import Template
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from nylas_standin.microsoft.consent_answers import (
    ConsentError,
    approve,
    decline,
    likely_tenant,
    obstacle,
    refuse,
    scopes_of,
)
from nylas_standin.microsoft.consents import ConsentRequest
from nylas_standin.microsoft.tokens import Microsoft

CONSENT_PATH = "/_standin/microsoft/consent"

router = APIRouter(prefix=CONSENT_PATH)

_HEADERS = {
    # No form-action: Chromium also applies it to the redirect after a form, which leads elsewhere.
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_FRAME = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 36rem; margin: 3rem auto; padding: 0 1rem }
dt { font-weight: bold } dd { margin: 0 0 .75rem } button { font: inherit; padding: .5rem 1.5rem }
form { display: inline-block; margin-right: 1rem } [role=alert] { color: #a00 }
</style>
</head>
<body>
<main>
<p><strong>nylas_standin</strong> plays Microsoft here. It never asks for a password.</p>
<h1>$title</h1>
$content
</main>
</body>
</html>
""")

_CONSENT = Template("""$alert<dl>
<dt>Application</dt><dd id="application">$client_id</dd>
<dt>Organisation asked</dt><dd id="tenant">$tenant</dd>
<dt>Consent endpoint</dt><dd id="version">$version</dd>
<dt>Permissions</dt><dd><ul id="scopes">$scopes</ul></dd>
<dt>Leads back to</dt><dd id="redirect">$redirect</dd>
</dl>
<form method="post" action="$path/approve">
<p><label>You are an admin of the organisation
<input name="tenant" value="$likely" required></label></p>
<button id="approve">Accept</button>
</form>
<form method="post" action="$path/decline">
<button id="decline">Cancel</button>
</form>""")


def consent_page(microsoft: Microsoft, request: ConsentRequest, path: str, alert: str = "") -> str:
    """The question to the admin, with a form for each answer; `path` is the path of the page."""
    app = microsoft.apps.get(request.client_id)
    scopes = [] if app is None else scopes_of(app, request, microsoft.world.switches)
    items = "".join(f"<li>{escape(scope)}</li>" for scope in scopes)
    content = _CONSENT.substitute(
        alert=f'<p role="alert">{escape(alert)}</p>\n' if alert else "",
        client_id=escape(request.client_id),
        tenant=escape(request.tenant or "any (common)"),
        version=request.version,
        scopes=items or "<li>none for the application itself</li>",
        redirect=escape(request.redirect_uri),
        path=escape(path),
        likely=escape(likely_tenant(microsoft, request) or ""),
    )
    return _FRAME.substitute(title="Permissions requested", content=content)


def refusal_page(error: ConsentError) -> str:
    """The error that Microsoft shows itself, where it does not trust the redirect."""
    content = f'<p role="alert" id="error">{escape(error.error_description)}</p>'
    return _FRAME.substitute(title="We cannot sign you in", content=content)


def plain_page(title: str, sentence: str) -> str:
    """A page of one sentence."""
    return _FRAME.substitute(title=escape(title), content=f"<p>{escape(sentence)}</p>")


def _microsoft(request: Request) -> Microsoft:
    found = request.app.state.standin.scene.microsoft
    if not isinstance(found, Microsoft):
        raise TypeError("The consent screen needs an application whose state has a stand-in.")
    return found


TheMicrosoft = Annotated[Microsoft, Depends(_microsoft)]


def _page(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status, headers=_HEADERS)


def _away(location: str) -> Response:
    return RedirectResponse(location, 302, headers={"cache-control": "no-store"})


def _pending(microsoft: Microsoft, request_id: str) -> ConsentRequest | Response:
    """The request that an admin can answer, or the page that says why there is none."""
    request = microsoft.requests.get(request_id)
    if request is None:
        return _page(plain_page("Not found", "There is no such request for consent."), 404)
    if request.answer is not None:
        sentence = "This request has its answer already. Open the link of the application again."
        return _page(plain_page("Answered", sentence), 410)
    error = obstacle(microsoft, request)
    if error is None:
        return request
    if microsoft.world.switches.consent_obstacle == "redirect":
        return _away(refuse(microsoft, request, error))
    return _page(refusal_page(error), 400)


@router.get("/{request_id}")
async def ask(microsoft: TheMicrosoft, request_id: str) -> Response:
    """Asks the admin."""
    request = _pending(microsoft, request_id)
    if isinstance(request, Response):
        return request
    return _page(consent_page(microsoft, request, f"{CONSENT_PATH}/{request.id}"))


@router.post("/{request_id}/approve")
async def accept(microsoft: TheMicrosoft, request_id: str, sent: Request) -> Response:
    """The admin of the tenant in the form says yes."""
    request = _pending(microsoft, request_id)
    if isinstance(request, Response):
        return request
    # By hand: FastAPI's forms need one more package, for this one field.
    form = parse_qs((await sent.body()).decode("utf-8", "replace"))
    tenant = form.get("tenant", [""])[0].strip()
    if not tenant:
        path = f"{CONSENT_PATH}/{request.id}"
        return _page(consent_page(microsoft, request, path, "Which organisation is yours?"), 400)
    return _away(approve(microsoft, request, tenant))


@router.post("/{request_id}/decline")
async def cancel(microsoft: TheMicrosoft, request_id: str) -> Response:
    """The admin says no."""
    request = _pending(microsoft, request_id)
    if isinstance(request, Response):
        return request
    return _away(decline(microsoft, request))
