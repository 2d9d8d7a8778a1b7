"""The names of the permissions whose ids are in an Azure app manifest.

The ids are Microsoft's and are the same in every tenant. Those of Microsoft Graph come from its
permissions reference (learn.microsoft.com/graph/permissions-reference); the two of Exchange Online
come from the pages about signing in to Exchange Web Services.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

GRAPH = "00000003-0000-0000-c000-000000000000"
EXCHANGE_ONLINE = "00000002-0000-0ff1-ce00-000000000000"


class PermissionType(StrEnum):
    """How an app may use a permission, in the manifest's words."""

    APPLICATION = "Role"
    """On its own, for every mailbox of a tenant. Bulk grants need these."""
    DELEGATED = "Scope"
    """Only for a person who has signed in."""


@dataclass(frozen=True, slots=True)
class Permission:
    """One permission that an app asks for, as its manifest lists it."""

    resource: str
    """The id of the API, in lower case."""
    permission_id: str
    """In lower case."""
    permission_type: str
    """A `PermissionType`, or another word from the manifest."""


_GRAPH_APPLICATION = {
    "AccessReview.Read.All": "d07a8cc0-3d51-4b77-b3b0-32704d1f69fa",
    "AccessReview.ReadWrite.All": "ef5f7d5c-338f-44b0-86c3-351f46c8bb5f",
    "Application.Read.All": "9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30",
    "Calendars.Read": "798ee544-9d2d-430c-a058-570e29e34338",
    "Calendars.ReadBasic.All": "8ba4a692-bc31-4128-9094-475872af8a53",
    "Calendars.ReadWrite": "ef54d2bf-783f-4e0f-bca1-3210c0444d99",
    "Contacts.Read": "089fe4d0-434a-44c5-8827-41ba8a0b17f5",
    "Contacts.ReadWrite": "6918b873-d17a-4dc1-b314-35f528134491",
    "Directory.Read.All": "7ab1d382-f21e-4acd-a863-ba3e13f7da61",
    "Mail.Read": "810c84a8-4a9e-49e6-bf7d-12d183f40d01",
    "Mail.ReadBasic": "6be147d2-ea4f-4b5a-a3fa-3eab6f3c140a",
    "Mail.ReadBasic.All": "693c5e45-0940-467d-9b8a-1022fb9d42ef",
    "Mail.ReadWrite": "e2a3a72e-5f79-4c64-b1b1-878b674786c9",
    "Mail.Send": "b633e1c5-b582-4048-a93e-9f11b44c7e96",
    "MailboxSettings.Read": "40f97065-369a-49f4-947c-6a255697ae91",
    "MailboxSettings.ReadWrite": "6931bccd-447a-43d1-b442-00a195474933",
    "OnlineMeetings.Read.All": "c1684f21-1984-47fa-9d61-2dc8c296bb70",
    "OnlineMeetings.ReadWrite.All": "b8bb2037-6e08-44ac-a4ea-4674e010e2a4",
    "People.Read.All": "b528084d-ad10-4598-8b93-929746b4d7d6",
    "Place.Read.All": "913b9306-0ce1-42b8-9137-6a7df690a760",
    "User.Read.All": "df021288-bdef-4463-88db-98f22de89214",
}

_GRAPH_DELEGATED = {
    "AccessReview.Read.All": "ebfcd32b-babb-40f4-a14b-42706e83bd28",
    "AccessReview.ReadWrite.All": "e4aa47b9-9a69-4109-82ed-36ec70d85ff1",
    "Application.Read.All": "c79f8feb-a9db-4090-85f9-90d820caa0eb",
    "Calendars.Read": "465a38f9-76ea-45b9-9f34-9e8b0d4b0b42",
    "Calendars.Read.Shared": "2b9c4092-424d-4249-948d-b43879977640",
    "Calendars.ReadWrite": "1ec239c2-d7c9-4623-a91a-a9775856bb36",
    "Calendars.ReadWrite.Shared": "12466101-c9b8-439a-8589-dd09ee67e8e9",
    "Contacts.Read": "ff74d97f-43af-4b68-9f2a-b77ee6968c5d",
    "Contacts.Read.Shared": "242b9d9e-ed24-4d09-9a52-f43769beb9d4",
    "Contacts.ReadWrite": "d56682ec-c09e-4743-aaf4-1a3aac4caa21",
    "Contacts.ReadWrite.Shared": "afb6c84b-06be-49af-80bb-8f3f77004eab",
    "Directory.Read.All": "06da0dbc-49e2-44d2-8312-53f166ab848a",
    "EAS.AccessAsUser.All": "ff91d191-45a0-43fd-b837-bd682c4a0b0f",
    "EWS.AccessAsUser.All": "9769c687-087d-48ac-9cb3-c37dde652038",
    "Mail.Read": "570282fd-fa5c-430d-a7fd-fc8dc98a9dca",
    "Mail.Read.Shared": "7b9103a5-4610-446b-9670-80643382c1fa",
    "Mail.ReadBasic": "a4b8392a-d8d1-4954-a029-8e668a39a170",
    "Mail.ReadWrite": "024d486e-b451-40bb-833d-3e66d98c5c73",
    "Mail.ReadWrite.Shared": "5df07973-7d5d-46ed-9847-1271055cbd51",
    "Mail.Send": "e383f46e-2787-4529-855e-0e479a3ffac0",
    "Mail.Send.Shared": "a367ab51-6b49-43bf-a716-a1fb06d2a174",
    "MailboxSettings.Read": "87f447af-9fa4-4c32-9dfa-4a57a73d18ce",
    "MailboxSettings.ReadWrite": "818c620a-27a9-40bd-a6a5-d96f7d610b4b",
    "OnlineMeetings.Read": "9be106e1-f4e3-4df5-bdff-e4bc531cbe43",
    "OnlineMeetings.ReadWrite": "a65f2972-a4f8-4f5e-afd7-69ccb046d5dc",
    "People.Read": "ba47897c-39ec-4d83-8086-ee8256fa737d",
    "People.Read.All": "b89f9189-71a5-4e70-b041-9887f0bc7e4a",
    "Place.Read.All": "cb8f45a0-5c2e-4ea1-b803-84b870a7d7ec",
    "User.Read": "e1fe6dd8-ba31-4d61-89e7-88639da4683d",
    "User.Read.All": "a154be20-db9c-4678-8ab7-66f6cc099a59",
    "email": "64a6cdd6-aab1-4aaf-94b8-3cc8405e90d0",
    "offline_access": "7427e0e9-2fba-42fe-b0c0-848c9e6a8182",
    "openid": "37f7f235-527c-4136-accd-4a02d197296e",
    "profile": "14dad69e-099b-42c9-810b-d002981feec1",
}

_TABLES: tuple[tuple[str, PermissionType, Mapping[str, str]], ...] = (
    (GRAPH, PermissionType.APPLICATION, _GRAPH_APPLICATION),
    (GRAPH, PermissionType.DELEGATED, _GRAPH_DELEGATED),
    (
        EXCHANGE_ONLINE,
        PermissionType.APPLICATION,
        {"full_access_as_app": "dc890d15-9560-4a4c-9b7f-a736ec74ec40"},
    ),
    (
        EXCHANGE_ONLINE,
        PermissionType.DELEGATED,
        {"EWS.AccessAsUser.All": "3b5f3d61-589b-4a3c-a359-5dd4b5ee5bd5"},
    ),
)

NAMES: Mapping[Permission, str] = {
    Permission(resource, permission_id, permission_type): name
    for resource, permission_type, table in _TABLES
    for name, permission_id in table.items()
}
"""The name of every known permission; an id under the wrong type counts as unknown."""

LEGACY = frozenset({"EAS.AccessAsUser.All", "EWS.AccessAsUser.All", "full_access_as_app"})
"""Permissions on Exchange's older interfaces; an admin cannot consent to an app that asks for them.
"""


def names(resource: str, permission_type: PermissionType) -> frozenset[str]:
    """The names of all known permissions of one API and type."""
    return frozenset(
        name
        for one, name in NAMES.items()
        if one.resource == resource and one.permission_type == permission_type
    )
