"""The consent screen's routes: a person opens it in a browser, and accepts or cancels."""

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from nylas_standin.connect_auth import CONSENT_PATH
from nylas_standin.consent_answers import approve, decline, obstacle, refuse
from nylas_standin.consent_page import HEADERS, consent_page, plain_page, refusal_page
from nylas_standin.consent_requests import ConsentRequest
from nylas_standin.control_context import TheWorld
from nylas_standin.world import World

router = APIRouter(prefix="/microsoft/consent")


def _page(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status, headers=HEADERS)


def _away(location: str) -> Response:
    return RedirectResponse(location, 302, headers={"cache-control": "no-store"})


def _closed(world: World, request: ConsentRequest | None) -> Response | None:
    """What is seen instead of a question that cannot be answered."""
    if request is None:
        return _page(plain_page("Not found", "There is no such request for consent."), 404)
    if request.answer is not None:
        sentence = "This request was answered before; open the application's link again."
        return _page(plain_page("Answered", sentence), 410)
    error = obstacle(world, request)
    if error is None:
        return None
    if world.switches.consent_obstacle == "redirect":
        return _away(refuse(world, request, error))
    return _page(refusal_page(error), 400)


@router.get("/{request_id}")
async def ask(world: TheWorld, request_id: str) -> Response:
    """The question."""
    request = world.microsoft.requests.get(request_id)
    closed = _closed(world, request)
    if closed is not None or request is None:
        return closed or Response(status_code=404)
    return _page(consent_page(world, request, f"{CONSENT_PATH}/{request.id}"))


@router.post("/{request_id}/approve")
async def accept(world: TheWorld, request_id: str, sent: Request) -> Response:
    """Yes, from the admin of the tenant in the form."""
    request = world.microsoft.requests.get(request_id)
    closed = _closed(world, request)
    if closed is not None or request is None:
        return closed or Response(status_code=404)
    # Read by hand: a form of one field is no reason to depend on a parser for all of them.
    form = parse_qs((await sent.body()).decode("utf-8", "replace"))
    tenant = form.get("tenant", [""])[0].strip()
    if not tenant:
        path = f"{CONSENT_PATH}/{request.id}"
        return _page(consent_page(world, request, path, "Which organisation is yours?"), 400)
    return _away(approve(world, request, tenant))


@router.post("/{request_id}/decline")
async def cancel(world: TheWorld, request_id: str) -> Response:
    """No."""
    request = world.microsoft.requests.get(request_id)
    closed = _closed(world, request)
    if closed is not None or request is None:
        return closed or Response(status_code=404)
    return _away(decline(world, request))
