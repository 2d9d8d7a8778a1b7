"""The page that plays Microsoft's consent screen: plain forms, everything escaped, no scripts."""

from html import escape
from string import Template

from nylas_standin.consent_answers import likely_tenant, scopes_of
from nylas_standin.consent_errors import ConsentError
from nylas_standin.consent_requests import ConsentRequest
from nylas_standin.world import World

HEADERS = {
    # No form-action: Chromium applies it to the redirect after a form as well, which leads away.
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
<p><strong>nylas_standin</strong>, playing Microsoft. Nobody is asked for a password here.</p>
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


def consent_page(world: World, request: ConsentRequest, path: str, alert: str = "") -> str:
    """The question to the admin, with a form for each answer; `path` is the page's own."""
    app = world.microsoft.apps.get(request.client_id)
    scopes = [] if app is None else scopes_of(app, request, world.switches)
    items = "".join(f"<li>{escape(scope)}</li>" for scope in scopes)
    content = _CONSENT.substitute(
        alert=f'<p role="alert">{escape(alert)}</p>\n' if alert else "",
        client_id=escape(request.client_id),
        tenant=escape(request.tenant or "any (common)"),
        version=request.version,
        scopes=items or "<li>none for the application itself</li>",
        redirect=escape(request.redirect_uri),
        path=escape(path),
        likely=escape(likely_tenant(world, request) or ""),
    )
    return _FRAME.substitute(title="Permissions requested", content=content)


def refusal_page(error: ConsentError) -> str:
    """What Microsoft shows itself, as it trusts no redirect."""
    content = f'<p role="alert" id="error">{escape(error.error_description)}</p>'
    return _FRAME.substitute(title="We cannot sign you in", content=content)


def plain_page(title: str, sentence: str) -> str:
    """A page that says one thing."""
    return _FRAME.substitute(title=escape(title), content=f"<p>{escape(sentence)}</p>")
