"""The routes of the control plane that say what Google and Microsoft know and allow.

Consents can be answered and given here too, without a browser.
"""

from dataclasses import replace

from fastapi import APIRouter, HTTPException
from pydantic import Field

from nylas_standin.control.context import Strict, TheScene
from nylas_standin.google.workspace import TokenOwner
from nylas_standin.microsoft.consent_answers import (
    CONSENT_ERRORS,
    DECLINED,
    ConsentError,
    approve,
    decline,
    likely_tenant,
    obstacle,
    refuse,
)
from nylas_standin.microsoft.consents import Consent, ConsentRequest, Propagation, Stage, Version
from nylas_standin.microsoft.directory import AzureApp
from nylas_standin.microsoft.tokens import Microsoft

router = APIRouter()

Shown = dict[str, object]


class AnswerRequest(Strict):
    """The pending request that is meant, and the answer: yes, unless there is an error."""

    request_id: str | None = None
    state: str | None = None
    credential_id: str | None = None
    approve: bool | None = None
    tenant: str | None = None
    error: str | ConsentError | None = None


class GivenConsent(Strict):
    """A consent without a link; `client_id` or `credential_id` names the application."""

    tenant: str = Field(min_length=1)
    client_id: str | None = None
    credential_id: str | None = None
    scopes: list[str] | None = None
    given_at: int | None = None
    version: Version = "v1"


class TenantsRequest(Strict):
    """The new owners of domains, and which other tenants exist."""

    domains: dict[str, str | None] = Field(default_factory=dict)
    known: list[str] | None = None


class PropagationRequest(Strict):
    """The new values of the propagation."""

    delay: int = Field(default=300, ge=0)
    some_after: int | None = Field(default=None, ge=0)
    some: tuple[str, ...] | None = None
    stage: Stage | None = None


@router.get("/delegations")
async def delegations(scene: TheScene) -> dict[str, list[str]]:
    """The scopes of the service accounts that have only some."""
    return {name: sorted(scopes) for name, scopes in scene.google.delegations.items()}


@router.put("/delegations")
async def delegate(scene: TheScene, body: dict[str, list[str] | None]) -> dict[str, list[str]]:
    """Sets the scopes of service accounts; null allows an account every scope."""
    _merge(scene.google.delegations, body)
    return await delegations(scene)


@router.get("/directory")
async def directory(scene: TheScene) -> dict[str, list[str]]:
    """The mailboxes of the domains that have only some."""
    return {name: sorted(emails) for name, emails in scene.google.directory.items()}


@router.put("/directory")
async def populate(scene: TheScene, body: dict[str, list[str] | None]) -> dict[str, list[str]]:
    """Sets the mailboxes of domains; null makes every mailbox of a domain exist."""
    lowered = {
        domain.lower(): None if emails is None else [email.lower() for email in emails]
        for domain, emails in body.items()
    }
    _merge(scene.google.directory, lowered)
    return await directory(scene)


@router.put("/aliases")
async def name_aliases(scene: TheScene, body: dict[str, str]) -> dict[str, str]:
    """Sets which primary address each alias belongs to, in place of all others."""
    scene.world.aliases = {alias.lower(): primary for alias, primary in body.items()}
    return scene.world.aliases


def _merge(target: dict[str, frozenset[str]], changes: dict[str, list[str] | None]) -> None:
    for key, values in changes.items():
        if values is None:
            target.pop(key, None)
        else:
            target[key] = frozenset(values)


@router.put("/revoked-keys")
async def revoke_keys(scene: TheScene, body: list[str]) -> list[str]:
    """Sets the private_key_ids that Google no longer accepts."""
    scene.google.revoked_keys = set(body)
    return sorted(scene.google.revoked_keys)


@router.put("/refresh-tokens")
async def give_out(scene: TheScene, body: dict[str, TokenOwner | None]) -> dict[str, int]:
    """Adds refresh tokens and their owners; null removes a token."""
    return {"tokens": scene.google.refresh_tokens.put(body)}


@router.get("/microsoft/requests")
async def requests(scene: TheScene) -> list[Shown]:
    """The consent links that were opened, oldest first."""
    return [one.shown() for one in scene.microsoft.requests.all()]


@router.post("/microsoft/requests/answer")
async def answer(scene: TheScene, body: AnswerRequest) -> Shown:
    """Answers the latest pending request; `location` is where the browser would go."""
    request = scene.microsoft.requests.pending(
        request_id=body.request_id, state=body.state, credential_id=body.credential_id
    )
    if request is None:
        raise HTTPException(404, "No pending request for consent matches all of these values.")
    if body.approve and body.error is not None:
        raise HTTPException(422, "Give either 'approve' or 'error', not both.")
    _answer(scene.microsoft, request, body)
    return request.shown()


def _answer(microsoft: Microsoft, request: ConsentRequest, body: AnswerRequest) -> None:
    if body.error is not None and body.error != DECLINED:
        refuse(microsoft, request, _named(body.error))
        return
    stopped = obstacle(microsoft, request)
    if stopped is not None and microsoft.world.switches.consent_obstacle == "page":
        raise HTTPException(409, f"Microsoft does not ask the admin: {stopped.error_description}")
    if stopped is not None:
        refuse(microsoft, request, stopped)
    elif body.approve is False or body.error is not None:
        decline(microsoft, request)
    else:
        tenant = body.tenant or likely_tenant(microsoft, request)
        if tenant is None:
            raise HTTPException(422, "The tenant of the admin is unknown: give 'tenant'.")
        approve(microsoft, request, tenant)


def _named(error: str | ConsentError) -> ConsentError:
    if isinstance(error, ConsentError):
        return error
    if error not in CONSENT_ERRORS:
        raise HTTPException(422, f"No such error; there are: {', '.join(sorted(CONSENT_ERRORS))}.")
    return CONSENT_ERRORS[error]


@router.get("/microsoft/consents")
async def consents(scene: TheScene) -> list[Shown]:
    """The consents in force."""
    return [_shown(scene.microsoft, one) for one in scene.microsoft.consents.all()]


def _shown(microsoft: Microsoft, consent: Consent) -> Shown:
    return consent.shown(microsoft.propagation, microsoft.world.clock.now())


@router.post("/microsoft/consents")
async def give(scene: TheScene, body: GivenConsent) -> Shown:
    """Puts a consent in force."""
    microsoft = scene.microsoft
    client_id = _client_id(microsoft, body)
    app = microsoft.apps.get(client_id)
    configured = [] if app is None else [*app.scopes]
    scopes = configured if body.scopes is None else body.scopes
    consent = Consent(
        tenant=microsoft.tenants.canonical(body.tenant),
        client_id=client_id,
        credential_id=body.credential_id,
        version=body.version,
        given_at=microsoft.world.clock.now() if body.given_at is None else body.given_at,
    )
    adds = microsoft.world.switches.consent_again == "adds"
    return _shown(microsoft, microsoft.consents.give(consent, scopes, adds=adds))


def _client_id(microsoft: Microsoft, body: GivenConsent) -> str:
    if body.client_id is not None:
        return body.client_id
    credential = microsoft.world.credentials.get(body.credential_id or "")
    identity = None if credential is None else microsoft.identity_of(credential)
    if identity is None:
        raise HTTPException(422, "Give a 'client_id', or a 'credential_id' that has one.")
    return identity.client_id


@router.delete("/microsoft/consents")
async def withdraw(
    scene: TheScene, tenant: str | None = None, client_id: str | None = None
) -> dict[str, int]:
    """Ends the consents of a tenant, of an application, or all."""
    microsoft = scene.microsoft
    named = None if tenant is None else microsoft.tenants.canonical(tenant)
    ended = [
        one
        for one in microsoft.consents.all()
        if named in {None, one.tenant} and client_id in {None, one.client_id}
    ]
    grants = 0
    for one in ended:
        # First, because with `common_tenant: consent` the consent decides the tenant of a mailbox.
        if microsoft.world.switches.consent_withdrawn_invalidates:
            grants += microsoft.invalidate_tenant(one.tenant, one.client_id)
        microsoft.consents.withdraw(one)
    return {"withdrawn": len(ended), "grants_invalidated": grants}


@router.get("/microsoft/apps")
async def apps(scene: TheScene) -> Shown:
    """The provider applications that are set, without their secrets."""
    return scene.microsoft.apps.shown()


@router.put("/microsoft/apps")
async def set_apps(scene: TheScene, body: dict[str, AzureApp | None]) -> Shown:
    """Sets applications by client id; `*` is every application that is not set."""
    scene.microsoft.apps.put(body)
    if scene.world.switches.secret_expired_invalidates:
        scene.microsoft.invalidate_expired()
    return await apps(scene)


@router.get("/microsoft/tenants")
async def tenants(scene: TheScene) -> Shown:
    """The owners of domains, and which other tenants exist."""
    found = scene.microsoft.tenants
    known = None if found.known is None else sorted(found.known)
    return {"domains": {**found.domains}, "known": known}


@router.put("/microsoft/tenants")
async def set_tenants(scene: TheScene, body: TenantsRequest) -> Shown:
    """Changes the named domains, and the other tenants if they are named."""
    scene.microsoft.tenants.map_domains(body.domains)
    if "known" in body.model_fields_set:
        scene.microsoft.tenants.limit_to(body.known)
    return await tenants(scene)


@router.get("/microsoft/propagation")
async def propagation(scene: TheScene) -> Propagation:
    """How fast consents take effect."""
    return scene.microsoft.propagation


@router.put("/microsoft/propagation")
async def set_propagation(scene: TheScene, body: PropagationRequest) -> Propagation:
    """Changes the named values, also for consents that were given before."""
    changes = body.model_dump(exclude_unset=True)
    scene.microsoft.propagation = replace(scene.microsoft.propagation, **changes)
    return scene.microsoft.propagation
