"""The preflight: checks an Azure app for what prevents bulk grants, before an admin is asked.

docs/azure-app.md has every rule and its source.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bulkgrants.azure.manifest import ClientSecret, Manifest
from bulkgrants.azure.permissions import (
    GRAPH,
    LEGACY,
    NAMES,
    Permission,
    PermissionType,
    names,
)
from bulkgrants.text import bounded, split_scopes

WARNING = timedelta(days=30)
"""A secret that ends within this time is reported."""
CALLBACK_PATH = "/v3/connect/callback"
"""Where Microsoft sends the admin back to Nylas."""

_BLADE = "In the Azure portal, under App registrations, open the app's"
_SHOWN = 5
_SIGN_IN = ("offline_access", "openid", "profile", "User.Read")
_CONTENTS = ("Mail.", "MailboxSettings.", "Calendars.", "Contacts.")
_SINGLE = {
    "AzureADMyOrg": "accounts of its own organisation",
    "PersonalMicrosoftAccount": "personal accounts",
}
_ADD = f"{_BLADE} API permissions and add it under Microsoft Graph, Application permissions."


class Weight(StrEnum):
    """How much a finding matters."""

    MUST = "must"
    """Consent or grants fail until it is changed."""
    SHOULD = "should"
    """Something works less well, will fail later, or needs a person to look at it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing in an Azure app that a person should change or look at."""

    weight: Weight
    what: str
    """What is wrong, in one sentence."""
    change: str
    """What to change and where, in one or two sentences."""


def check_manifest(
    manifest: Manifest, *, required: str, base_url: str, now: datetime
) -> list[Finding]:
    """All findings, musts first; empty if the app can serve bulk grants as it is.

    `required` is what the tenant needs, as canonical scopes. `base_url` is the address of the Nylas
    API; the app has to list its callback. `now` has a time zone.
    """
    findings = [
        *_audience(manifest),
        *_permissions(manifest, _wanted(required)),
        *_redirects(manifest, base_url.rstrip("/") + CALLBACK_PATH),
        *_secrets(manifest.secrets, now),
    ]
    return sorted(findings, key=lambda finding: finding.weight is not Weight.MUST)


def _audience(manifest: Manifest) -> Iterator[Finding]:
    choose = (
        f"{_BLADE} Authentication and choose, as supported account types, accounts in any "
        "organizational directory and personal Microsoft accounts."
    )
    if manifest.audience in _SINGLE:
        whom = _SINGLE[manifest.audience]
        yield Finding(
            Weight.MUST,
            f"The Azure app serves only {whom} (`signInAudience` is {manifest.audience}), so no "
            "customer's admin can consent to it.",
            choose,
        )
    elif manifest.audience not in {"AzureADandPersonalMicrosoftAccount", "AzureADMultipleOrgs"}:
        said = "missing" if manifest.audience is None else f"'{bounded(manifest.audience, 60)}'"
        yield Finding(
            Weight.SHOULD,
            f"This check does not know whom the Azure app serves: `signInAudience` is {said}.",
            f"Check it yourself. {choose}",
        )
    if manifest.token_version != 2:  # noqa: PLR2004 - the name of a format, not a quantity
        said = "not set" if manifest.token_version is None else bounded(manifest.token_version, 20)
        yield Finding(
            Weight.SHOULD,
            f"The Azure app's access token version is {said}, not 2.",
            f"{_BLADE} Manifest and set `requestedAccessTokenVersion` under `api` to 2 "
            "(`accessTokenAcceptedVersion` in the older form).",
        )


def _wanted(required: str) -> list[str]:
    """Names of the required permissions, User.Read.All first; `.default` is not a permission."""
    parts = [scope.rpartition("/")[2] for scope in split_scopes(required)]
    by_spelling = {part.casefold(): part for part in ["User.Read.All", *parts]}
    return [part for spelling, part in by_spelling.items() if spelling not in {"", ".default"}]


def _permissions(manifest: Manifest, wanted: list[str]) -> Iterator[Finding]:
    legacy = sorted({NAMES[one] for one in manifest.permissions if NAMES.get(one) in LEGACY})
    if legacy:
        yield Finding(
            Weight.MUST,
            f"The Azure app asks for permissions that make consent fail: {_listed(legacy)}.",
            f"{_BLADE} API permissions and remove them, also under Office 365 Exchange Online.",
        )
    held = _held(manifest, PermissionType.APPLICATION)
    strange = [one for one in manifest.permissions if one not in NAMES]
    may_be_strange = any(_is_of_graph(one, PermissionType.APPLICATION) for one in strange)
    if not held and not may_be_strange:
        yield Finding(
            Weight.MUST,
            "The Azure app does not ask for any application permission on Microsoft Graph; "
            "delegated ones work only for a person who signs in, and do not help bulk grants.",
            f"{_BLADE} API permissions, add what the tenant needs under Microsoft Graph, "
            "Application permissions, and have the tenant's admin consent again.",
        )
    delegated = _held(manifest, PermissionType.DELEGATED)
    for name in wanted:
        if name.casefold() not in _folded(held):
            yield _missing(name, delegated, may_be_strange=may_be_strange)
    yield from _contents(held, wanted, may_be_strange=may_be_strange)
    absent = [name for name in _SIGN_IN if name not in delegated]
    if absent:
        yield Finding(
            Weight.SHOULD,
            f"The Azure app lacks the delegated permissions for signing in: {_listed(absent)}.",
            f"{_BLADE} API permissions and add them under Microsoft Graph, Delegated permissions.",
        )
    if strange:
        ids = sorted(bounded(one.permission_id, 40) for one in strange)
        yield Finding(
            Weight.SHOULD,
            f"The Azure app asks for permissions that this check does not know: {_listed(ids)}.",
            f"Check them yourself. {_BLADE} API permissions and remove what is not needed.",
        )


def _missing(name: str, delegated: Collection[str], *, may_be_strange: bool) -> Finding:
    shown = bounded(name, 60)
    spelling = name.casefold()
    if spelling in _folded(names(GRAPH, PermissionType.APPLICATION)):
        also = ", only the delegated one" if spelling in _folded(delegated) else ""
        what = f"The Azure app does not ask for the application permission {shown}{also}."
        return Finding(Weight.MUST, what, _ADD)
    if spelling in _folded(names(GRAPH, PermissionType.DELEGATED)):
        return Finding(
            Weight.MUST,
            f"The tenant requires {shown}, which exists only as a delegated permission, so a bulk "
            "grant can never carry it.",
            "Remove it from what the tenant requires.",
        )
    if may_be_strange:
        return Finding(
            Weight.SHOULD,
            f"This check does not know whether the Azure app asks for {shown}.",
            f"Check it yourself. {_ADD}",
        )
    return Finding(
        Weight.MUST,
        f"The Azure app does not ask for {shown}, which the tenant requires.",
        f"Correct its spelling in what the tenant requires. If it is right: {_ADD}",
    )


def _contents(held: set[str], wanted: list[str], *, may_be_strange: bool) -> Iterator[Finding]:
    wants = _folded(wanted)
    sends = "Mail.Send" in held or "mail.send" in wants
    if sends and "Mail.ReadWrite" not in held and "mail.readwrite" not in wants:
        yield Finding(
            Weight.MUST if "mail.send" in wants else Weight.SHOULD,
            "The Azure app does not ask for the application permission Mail.ReadWrite; Mail.Send "
            "cannot send anything without it.",
            _ADD,
        )
    # If the app holds nothing at all, or the tenant says what it needs, that is reported already.
    if held and len(wanted) == 1 and not (may_be_strange or any(map(_is_content, held))):
        yield Finding(
            Weight.SHOULD,
            "The Azure app does not ask for any application permission on mail, calendars or "
            "contacts, so its grants could not read or write anything.",
            f"Choose what the grants are for, such as Mail.ReadWrite. {_ADD}",
        )


def _redirects(manifest: Manifest, callback: str) -> Iterator[Finding]:
    if callback in manifest.web_redirects:
        return
    elsewhere = " for the platform Web, only for another one"
    yield Finding(
        Weight.MUST,
        f"The Azure app does not list Nylas' callback {bounded(callback)}"
        f"{elsewhere if callback in manifest.other_redirects else ''}; Microsoft would end the "
        "consent with AADSTS50011.",
        f"{_BLADE} Authentication and add exactly this address as a redirect URI of the platform "
        "Web.",
    )


def _secrets(secrets: tuple[ClientSecret, ...], now: datetime) -> Iterator[Finding]:
    add = (
        f"{_BLADE} Certificates & secrets, add a new client secret, and put its value into the "
        "credential at Nylas"
    )
    ended = [one for one in secrets if one.expires is not None and one.expires <= now]
    ending = [
        one for one in secrets if one.expires is not None and now < one.expires <= now + WARNING
    ]
    if not secrets:
        what = "The Azure app has no client secret, so Nylas cannot act as the app."
        yield Finding(Weight.MUST, what, f"{add}.")
    elif len(ended) == len(secrets):
        what = f"Every client secret of the Azure app has expired: {_dated(ended)}."
        yield Finding(Weight.MUST, what, f"{add}.")
    elif ended:
        yield Finding(
            Weight.SHOULD,
            f"The Azure app still has client secrets that have expired: {_dated(ended)}.",
            f"{_BLADE} Certificates & secrets and remove them once you are sure that the "
            "credential at Nylas has a newer one.",
        )
    if ending:
        yield Finding(
            Weight.SHOULD,
            f"Client secrets of the Azure app expire within {WARNING.days} days, and the grants "
            f"of a credential that uses one of them will stop working: {_dated(ending)}.",
            f"{add}, then remove the old one; two may be valid at the same time.",
        )


def _held(manifest: Manifest, permission_type: PermissionType) -> set[str]:
    return {
        NAMES[one]
        for one in manifest.permissions
        if one in NAMES and _is_of_graph(one, permission_type)
    }


def _is_content(name: str) -> bool:
    return name.startswith(_CONTENTS)


def _is_of_graph(permission: Permission, permission_type: PermissionType) -> bool:
    return permission.resource == GRAPH and permission.permission_type == permission_type


def _folded(texts: Collection[str]) -> set[str]:
    return {text.casefold() for text in texts}


def _dated(secrets: list[ClientSecret]) -> str:
    return _listed(
        [f"{one.label} ({one.expires:%Y-%m-%d})" for one in secrets if one.expires is not None]
    )


def _listed(texts: list[str]) -> str:
    more = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
