"""The control plane's say in Microsoft: answers without a browser, applications, tenants, pace."""

from dataclasses import replace

from fastapi import APIRouter, HTTPException
from pydantic import Field

from nylas_standin.azure import AzureApp
from nylas_standin.consent_answers import approve, decline, likely_tenant, obstacle, refuse
from nylas_standin.consent_errors import CONSENT_ERRORS, DECLINED, ConsentError
from nylas_standin.consent_requests import ConsentRequest
from nylas_standin.consents import Consent, Propagation, Stage, Version
from nylas_standin.control_context import TheWorld
from nylas_standin.control_models import Strict
from nylas_standin.microsoft_credentials import (
    identity_of,
    invalidate_expired,
    invalidate_tenant,
)
from nylas_standin.world import World

router = APIRouter(prefix="/microsoft")

Shown = dict[str, object]


class AnswerRequest(Strict):
    """Which pending request, and what the admin says: yes, unless there is an error."""

    request_id: str | None = None
    state: str | None = None
    credential_id: str | None = None
    approve: bool | None = None
    tenant: str | None = None
    error: str | ConsentError | None = None


class GivenConsent(Strict):
    """A consent without any link; the application is named by itself or by a credential."""

    tenant: str = Field(min_length=1)
    client_id: str | None = None
    credential_id: str | None = None
    scopes: list[str] | None = None
    given_at: int | None = None
    version: Version = "v1"


class TenantsRequest(Strict):
    """Whose domains are, and which tenants exist."""

    domains: dict[str, str | None] = Field(default_factory=dict)
    known: list[str] | None = None


class PropagationRequest(Strict):
    """What changes about the pace."""

    delay: int = Field(default=300, ge=0)
    some_after: int | None = Field(default=None, ge=0)
    some: tuple[str, ...] | None = None
    stage: Stage | None = None


@router.get("/requests")
async def requests(world: TheWorld) -> list[Shown]:
    """The consent links that were opened, oldest first."""
    return [one.shown() for one in world.microsoft.requests.all()]


@router.post("/requests/answer")
async def answer(world: TheWorld, body: AnswerRequest) -> Shown:
    """Answers the latest pending one; `location` is where the browser would go."""
    request = world.microsoft.requests.pending(
        request_id=body.request_id, state=body.state, credential_id=body.credential_id
    )
    if request is None:
        raise HTTPException(404, "No consent is pending of which all that is true.")
    if body.approve and body.error is not None:
        raise HTTPException(422, "Either approve, or an error.")
    _answer(world, request, body)
    return request.shown()


def _answer(world: World, request: ConsentRequest, body: AnswerRequest) -> None:
    if body.error is not None and body.error != DECLINED:
        refuse(world, request, _named(body.error))
        return
    stopped = obstacle(world, request)
    if stopped is not None and world.switches.consent_obstacle == "page":
        raise HTTPException(409, f"Microsoft asks nobody: {stopped.error_description}")
    if stopped is not None:
        refuse(world, request, stopped)
    elif body.approve is False or body.error is not None:
        decline(world, request)
    else:
        tenant = body.tenant or likely_tenant(world, request)
        if tenant is None:
            raise HTTPException(422, "Nothing tells the tenant of this admin: give 'tenant'.")
        approve(world, request, tenant)


def _named(error: str | ConsentError) -> ConsentError:
    if isinstance(error, ConsentError):
        return error
    if error not in CONSENT_ERRORS:
        raise HTTPException(422, f"No such error; there are: {', '.join(sorted(CONSENT_ERRORS))}.")
    return CONSENT_ERRORS[error]


@router.get("/consents")
async def consents(world: TheWorld) -> list[Shown]:
    """The consents in force."""
    return [_shown(world, one) for one in world.microsoft.consents.all()]


def _shown(world: World, consent: Consent) -> Shown:
    return consent.shown(world.microsoft.propagation, world.clock.now())


@router.post("/consents")
async def give(world: TheWorld, body: GivenConsent) -> Shown:
    """Puts a consent in force."""
    microsoft = world.microsoft
    client_id = _client_id(world, body)
    app = microsoft.apps.get(client_id)
    configured = [] if app is None else [*app.scopes]
    scopes = configured if body.scopes is None else body.scopes
    consent = Consent(
        tenant=microsoft.tenants.canonical(body.tenant),
        client_id=client_id,
        credential_id=body.credential_id,
        version=body.version,
        given_at=world.clock.now() if body.given_at is None else body.given_at,
    )
    adds = world.switches.consent_again == "adds"
    return _shown(world, microsoft.consents.give(consent, scopes, adds=adds))


def _client_id(world: World, body: GivenConsent) -> str:
    if body.client_id is not None:
        return body.client_id
    credential = world.credentials.get(body.credential_id or "")
    identity = None if credential is None else identity_of(world, credential)
    if identity is None:
        raise HTTPException(422, "Give a 'client_id', or a 'credential_id' that leads to one.")
    return identity.client_id


@router.delete("/consents")
async def withdraw(
    world: TheWorld, tenant: str | None = None, client_id: str | None = None
) -> dict[str, int]:
    """Ends the consents of a tenant, of an application, or all."""
    microsoft = world.microsoft
    named = None if tenant is None else microsoft.tenants.canonical(tenant)
    ended = [
        one
        for one in microsoft.consents.all()
        if named in {None, one.tenant} and client_id in {None, one.client_id}
    ]
    grants = 0
    for one in ended:
        # Counted first: with one switch the consent itself tells whose a mailbox is.
        if world.switches.consent_withdrawn_invalidates:
            grants += invalidate_tenant(world, one.tenant, one.client_id)
        microsoft.consents.withdraw(one)
    return {"withdrawn": len(ended), "grants_invalidated": grants}


@router.get("/apps")
async def apps(world: TheWorld) -> Shown:
    """The provider applications that were set, without their secrets."""
    return world.microsoft.apps.shown()


@router.put("/apps")
async def set_apps(world: TheWorld, body: dict[str, AzureApp | None]) -> Shown:
    """Sets them by client id; `*` is all that are not set by themselves."""
    world.microsoft.apps.put(body)
    if world.switches.secret_expired_invalidates:
        invalidate_expired(world)
    return await apps(world)


@router.get("/tenants")
async def tenants(world: TheWorld) -> Shown:
    """Whose domains are, and which tenants exist."""
    found = world.microsoft.tenants
    known = None if found.known is None else sorted(found.known)
    return {"domains": {**found.domains}, "known": known}


@router.put("/tenants")
async def set_tenants(world: TheWorld, body: TenantsRequest) -> Shown:
    """Changes what is named."""
    world.microsoft.tenants.map_domains(body.domains)
    if "known" in body.model_fields_set:
        world.microsoft.tenants.limit_to(body.known)
    return await tenants(world)


@router.get("/propagation")
async def propagation(world: TheWorld) -> Propagation:
    """The pace at which consents come into force."""
    return world.microsoft.propagation


@router.put("/propagation")
async def set_propagation(world: TheWorld, body: PropagationRequest) -> Propagation:
    """Changes what is named, for consents already given as well."""
    changes = body.model_dump(exclude_unset=True)
    world.microsoft.propagation = replace(world.microsoft.propagation, **changes)
    return world.microsoft.propagation
