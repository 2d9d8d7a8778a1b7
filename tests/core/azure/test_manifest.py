from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bulkgrants.azure.manifest import MAX_BYTES, ClientSecret, read_manifest
from bulkgrants.azure.permissions import EXCHANGE_ONLINE, GRAPH, LEGACY, NAMES, PermissionType
from bulkgrants.azure.preflight import _SIGN_IN, CALLBACK_PATH, WARNING, check_manifest
from bulkgrants.errors import Misconfigured

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "include" / "samples" / "azure-manifest.json"
PAGE = ROOT / "docs" / "azure-app.md"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
US = "https://api.us.nylas.com"
CALLBACK = f"{US}/v3/connect/callback"
REQUIRED = "Calendars.ReadWrite Mail.ReadWrite Mail.Send"
KEY = "5d8a4c1e-0000-4000-8000-000000000003"
STRANGE = "01d4889c-1287-42c6-ac1f-5d1e02578ef6"  # Files.Read.All, which this check does not know


def ident(name, permission_type, resource=GRAPH):
    (found,) = (
        one.permission_id
        for one, its_name in NAMES.items()
        if (its_name, one.permission_type, one.resource) == (name, permission_type, resource)
    )
    return found


def newer():
    return json.loads(SAMPLE.read_text(encoding="utf-8"))


def older():
    data = newer()
    (secret,) = data["passwordCredentials"]
    return {
        "appId": data["appId"],
        "accessTokenAcceptedVersion": 2,
        "signInAudience": data["signInAudience"],
        "requiredResourceAccess": data["requiredResourceAccess"],
        "replyUrlsWithType": [{"url": url, "type": "Web"} for url in data["web"]["redirectUris"]],
        "passwordCredentials": [
            {
                "customKeyIdentifier": None,
                "endDate": "2099-12-31T00:00:00.6521653Z",
                "keyId": secret["keyId"],
                "value": None,
            }
        ],
    }


FORMS = pytest.mark.parametrize("form", [newer, older])


def findings(data, *, required=REQUIRED, base_url=US, now=NOW):
    manifest = read_manifest(json.dumps(data), name="acme.json")
    return check_manifest(manifest, required=required, base_url=base_url, now=now)


def found(data, **settings):
    return [(str(one.weight), one.what) for one in findings(data, **settings)]


def expires(data, moment, key=KEY):
    data["passwordCredentials"].append({"keyId": key, "endDateTime": moment.isoformat()})


def remove(data, name, permission_type=PermissionType.APPLICATION):
    (graph,) = data["requiredResourceAccess"]
    wanted = {"id": ident(name, permission_type), "type": str(permission_type)}
    assert wanted in graph["resourceAccess"]
    graph["resourceAccess"].remove(wanted)


def add(data, permission_id, permission_type, resource=GRAPH):
    data["requiredResourceAccess"].append(
        {
            "resourceAppId": resource.upper(),
            "resourceAccess": [{"id": permission_id.upper(), "type": str(permission_type)}],
        }
    )


def audience(data, value):
    data["signInAudience"] = value


def version(data, value):
    data.get("api", {}).pop("requestedAccessTokenVersion", None)
    data["accessTokenAcceptedVersion"] = value


def legacy(data, name, permission_type, resource):
    add(data, ident(name, permission_type, resource), permission_type, resource)


def only_delegated(data):
    (graph,) = data["requiredResourceAccess"]
    graph["resourceAccess"] = [one for one in graph["resourceAccess"] if one["type"] == "Scope"]


def only_people(data):
    for name in ("Mail.Send", "Mail.ReadWrite", "Calendars.ReadWrite"):
        remove(data, name)


def delegated_instead(data, name):
    remove(data, name)
    add(data, ident(name, PermissionType.DELEGATED), PermissionType.DELEGATED)


def elsewhere(data):
    data["web"] = {"redirectUris": []}
    data["replyUrlsWithType"] = [{"url": CALLBACK, "type": "Spa"}]


def unlisted(data):
    data["web"] = data["replyUrlsWithType"] = None


def secrets(data, *moments):
    data["passwordCredentials"] = []
    for number, moment in enumerate(moments, start=1):
        expires(data, moment, key=None if number == 2 else KEY)


EWS = ("EWS.AccessAsUser.All", PermissionType.DELEGATED, EXCHANGE_ONLINE)
DAY = timedelta(days=1)

CASES = [
    (lambda m: audience(m, "AzureADMyOrg"), "must", "only accounts of its own organisation"),
    (lambda m: audience(m, "PersonalMicrosoftAccount"), "must", "serves only personal accounts"),
    (lambda m: audience(m, "Everybody\n"), "should", "`signInAudience` is 'Everybody'"),
    (lambda m: m.pop("signInAudience"), "should", "`signInAudience` is missing"),
    (lambda m: version(m, 1), "should", "access token version is 1, not 2"),
    (lambda m: version(m, None), "should", "access token version is not set"),
    (lambda m: remove(m, "User.Read.All"), "must", "application permission User.Read.All."),
    (lambda m: remove(m, "Mail.Send"), "must", "application permission Mail.Send."),
    (lambda m: delegated_instead(m, "Mail.Send"), "must", "Mail.Send, only the delegated one"),
    (
        lambda m: remove(m, "User.Read", PermissionType.DELEGATED),
        "should",
        "for signing in: User.Read.",
    ),
    (lambda m: legacy(m, *EWS), "must", "consent fail: EWS.AccessAsUser.All."),
    (
        lambda m: legacy(m, "full_access_as_app", PermissionType.APPLICATION, EXCHANGE_ONLINE),
        "must",
        "consent fail: full_access_as_app.",
    ),
    (
        lambda m: legacy(m, "EWS.AccessAsUser.All", PermissionType.DELEGATED, GRAPH),
        "must",
        "consent fail: EWS.AccessAsUser.All.",
    ),
    (
        lambda m: legacy(m, "EAS.AccessAsUser.All", PermissionType.DELEGATED, GRAPH),
        "must",
        "consent fail: EAS.AccessAsUser.All.",
    ),
    (
        lambda m: add(m, STRANGE, PermissionType.APPLICATION),
        "should",
        f"that this check does not know: {STRANGE}.",
    ),
    (
        lambda m: add(m, ident("Mail.Send", PermissionType.APPLICATION), PermissionType.DELEGATED),
        "should",
        "that this check does not know: b633e1c5",
    ),
    (unlisted, "must", f"does not list Nylas' callback {CALLBACK}; Microsoft would end"),
    (elsewhere, "must", f"{CALLBACK} for the platform Web, only for another one;"),
    (lambda m: m.pop("passwordCredentials"), "must", "has no client secret"),
    (lambda m: secrets(m, NOW), "must", f"secret of the Azure app has expired: {KEY} (2026-11-21)"),
    (
        lambda m: secrets(m, NOW + 90 * DAY, NOW - DAY),
        "should",
        "still has client secrets that have expired: number 2 (2026-11-20).",
    ),
    (lambda m: secrets(m, NOW + 30 * DAY), "should", "within 30 days, and the grants of a cred"),
]


@FORMS
def test_an_app_that_follows_the_docs_has_no_findings(form):
    assert found(form()) == []
    assert found(form(), required="") == []
    assert found(form(), base_url="https://api.eu.nylas.com/") == []


@FORMS
@pytest.mark.parametrize(("spoil", "weight", "what"), CASES)
def test_each_mistake_is_one_finding_that_says_what_to_change(form, spoil, weight, what):
    data = form()
    spoil(data)
    (finding,) = findings(data)
    assert finding.weight == weight
    assert what in finding.what
    assert finding.what.endswith(".")
    assert "In the Azure portal, under App registrations, open the app's " in finding.change
    assert found(form()) == []


@FORMS
def test_delegated_permissions_alone_do_not_help_bulk_grants(form):
    data = form()
    only_delegated(data)
    assert [what for _, what in found(data, required="")] == [
        (
            "The Azure app does not ask for any application permission on Microsoft Graph; "
            "delegated ones work only for a person who signs in, and do not help bulk grants."
        ),
        "The Azure app does not ask for the application permission User.Read.All.",
    ]


def test_application_permissions_on_another_api_do_not_count_for_microsoft_graph():
    data = newer()
    only_delegated(data)
    legacy(data, "full_access_as_app", PermissionType.APPLICATION, EXCHANGE_ONLINE)
    assert "any application permission on Microsoft Graph" in found(data, required="")[1][1]


def test_an_unknown_application_permission_counts_as_one():
    data = newer()
    only_delegated(data)
    add(data, STRANGE, PermissionType.APPLICATION)
    assert not any("any application permission" in what for _, what in found(data, required=""))


def test_an_app_that_may_only_list_people_is_reported():
    data = newer()
    only_people(data)
    ((weight, what),) = found(data, required="")
    assert weight == "should"
    assert "not ask for any application permission on mail, calendars or contacts" in what
    add(data, ident("Directory.Read.All", PermissionType.APPLICATION), PermissionType.APPLICATION)
    assert found(data, required="Directory.Read.All") == []
    add(data, ident("Contacts.Read", PermissionType.APPLICATION), PermissionType.APPLICATION)
    assert found(data, required="") == []


@pytest.mark.parametrize(
    ("required", "weight"), [("Mail.Send", "must"), ("Calendars.ReadWrite", "should")]
)
def test_sending_needs_reading_and_writing_too(required, weight):
    data = newer()
    remove(data, "Mail.ReadWrite")
    ((found_weight, what),) = found(data, required=required)
    assert found_weight == weight
    assert "permission Mail.ReadWrite; Mail.Send cannot send anything without it" in what
    assert [one for one, _ in found(data, required="Mail.ReadWrite Mail.Send")] == ["must"]


@pytest.mark.parametrize(
    "required",
    [
        "https://graph.microsoft.com/Mail.Send",
        "https://graph.microsoft.com/.default",
        "mail.send",
        "User.Read.All user.read.all",
    ],
)
def test_required_permissions_may_be_spelled_as_scopes(required):
    assert found(newer(), required=required) == []


def test_a_tenant_cannot_require_what_is_only_delegated():
    ((weight, what),) = found(newer(), required="offline_access")
    assert weight == "must"
    assert "requires offline_access, which exists only as a delegated permission" in what


def test_a_required_permission_without_a_known_id_is_missing_unless_an_unknown_id_may_be_it():
    data = newer()
    ((weight, what),) = found(data, required="Files.Read.All")
    assert weight == "must"
    assert "does not ask for Files.Read.All, which the tenant requires" in what
    add(data, STRANGE, PermissionType.APPLICATION)
    assert found(data, required="Files.Read.All") == [
        ("should", "This check does not know whether the Azure app asks for Files.Read.All."),
        ("should", f"The Azure app asks for permissions that this check does not know: {STRANGE}."),
    ]


def test_an_audience_of_organisations_only_is_enough():
    data = newer()
    audience(data, "AzureADMultipleOrgs")
    assert found(data) == []


def test_a_secret_is_early_enough_until_thirty_days_before_its_end():
    data = newer()
    secrets(data, NOW + 30 * DAY + timedelta(seconds=1))
    assert found(data) == []
    assert len(found(data, now=NOW + timedelta(seconds=1))) == 1


def test_the_older_forms_end_of_a_secret_is_read():
    data = older()
    data["passwordCredentials"][0]["endDate"] = "2018-10-19T17:59:59.6521653Z"
    ((weight, what),) = found(data)
    assert (weight, what[-13:]) == ("must", "(2018-10-19).")


def test_a_secret_without_an_end_is_left_alone():
    data = newer()
    del data["passwordCredentials"][0]["endDateTime"]
    assert found(data) == []


def test_musts_come_first_and_nothing_hides_another_finding():
    data = newer()
    version(data, 1)
    audience(data, "AzureADMyOrg")
    legacy(data, *EWS)
    unlisted(data)
    secrets(data, NOW - DAY)
    assert [one for one, _ in found(data)] == ["must", "must", "must", "must", "should"]


def test_long_lists_are_cut():
    data = newer()
    for number in range(1000):
        add(data, f"{number:04}" + "x" * 500, PermissionType.APPLICATION)
    ((_, what),) = found(data)
    assert what.endswith(" and 995 more.")
    assert len(what) < 400


def test_nothing_of_a_secret_is_kept_or_shown():
    data = newer()
    data["passwordCredentials"] = [
        {
            "keyId": "hush-1",
            "displayName": "hush-2",
            "hint": "hush-3",
            "secretText": "hush-4",
            "value": "hush-5",
            "customKeyIdentifier": "hush-6",
            "endDateTime": "2026-11-22T00:00:00+02:00",
        }
    ]
    manifest = read_manifest(json.dumps(data), name="acme.json")
    assert manifest.secrets == (ClientSecret("number 1", datetime(2026, 11, 21, 22, tzinfo=UTC)),)
    assert "hush" not in repr(manifest)


def test_a_byte_order_mark_at_the_beginning_does_not_matter():
    text = SAMPLE.read_text(encoding="utf-8")
    assert read_manifest("\ufeff" + text, name="x") == read_manifest(text, name="x")


def test_half_a_character_in_a_field_that_is_not_read_does_not_matter():
    assert read_manifest(put(displayName="\ud83d"), name="x").audience == newer()["signInAudience"]


@pytest.mark.parametrize("newer_end", [None, ""])
def test_the_older_end_of_a_secret_counts_where_the_newer_one_is_empty(newer_end):
    ends = {"endDateTime": newer_end, "endDate": "2026-01-01T00:00:00Z"}
    (secret,) = read_manifest(put(passwordCredentials=[ends]), name="x").secrets
    assert secret.expires == datetime(2026, 1, 1, tzinfo=UTC)


def put(**fields):
    return json.dumps({**newer(), **fields})


def secret_until(text):
    return put(passwordCredentials=[{"endDateTime": text}])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is not a JSON object"),
        ("{cut", "it is not a JSON object"),
        ("[]", "it is not a JSON object"),
        ("[" * 100_000, "it is not a JSON object"),
        ('{"a":' * 100_000, "it is not a JSON object"),
        ("\ud800", "it is not a JSON object"),
        ('{"signInAudience": ' + "1" * 5000 + "}", "it is not a JSON object"),
        ('{"type": "service_account"}', "it has neither `signInAudience` nor"),
        (" " * MAX_BYTES + "{}", "it has 1,048,578 bytes, but at most 1,048,576 are allowed"),
        ("ß" * MAX_BYTES, "it has 2,097,152 bytes"),
        (put(signInAudience=3), "its `signInAudience` is wrong: Input should be a valid string"),
        (put(api=[]), "its `api` is wrong: Input should be an object"),
        (
            put(api={"requestedAccessTokenVersion": "2"}),
            "Version` is wrong: Input should be a valid integer",
        ),
        (
            put(api={"requestedAccessTokenVersion": True}),
            "Version` is wrong: Input should be a valid integer",
        ),
        (put(web="x"), "its `web` is wrong: Input should be an object"),
        (put(web={"redirectUris": {}}), "redirectUris` is wrong: Input should be a valid list"),
        (
            put(web={"redirectUris": [None]}),
            "redirectUris.0` is wrong: Input should be a valid string",
        ),
        (
            put(replyUrlsWithType=[{"url": "x"}]),
            "replyUrlsWithType.0.type` is wrong: Field required",
        ),
        (put(requiredResourceAccess=[3]), "Access.0` is wrong: Input should be an object"),
        (put(requiredResourceAccess=[{}]), "0.resourceAppId` is wrong: Field required"),
        (
            put(requiredResourceAccess=[{"resourceAppId": GRAPH, "resourceAccess": [{}]}]),
            "resourceAccess.0.id` is wrong: Field required",
        ),
        (
            put(passwordCredentials="x"),
            "its `passwordCredentials` is wrong: Input should be a valid list",
        ),
        (secret_until(5), "endDateTime` is wrong: Input should be a valid string"),
        (secret_until("soon\n" * 50), "not a date and time at which a secret can end"),
        (secret_until("0001-01-01T00:00:00+05:00"), "not a date and time at which a secret can"),
    ],
)
def test_what_is_not_a_manifest_is_named_with_the_reason(text, why):
    with pytest.raises(Misconfigured) as caught:
        read_manifest(text, name="acme\n.json" + "x" * 5000)
    sentence = str(caught.value)
    assert sentence.startswith("The Azure app manifest 'acme .jsonxxx")
    assert why in sentence
    assert "Download it again" in sentence
    assert len(sentence) < 500
    assert "\n" not in sentence


def test_no_id_is_in_the_tables_twice_and_every_legacy_name_is_there():
    ids = [(one.resource, one.permission_id) for one in NAMES]
    assert len(ids) == len(set(ids))
    assert set(NAMES.values()) >= LEGACY


def test_the_page_names_everything_that_the_preflight_checks():
    page = PAGE.read_text(encoding="utf-8")
    words = {*LEGACY, *_SIGN_IN, CALLBACK_PATH, f"{WARNING.days} days", EXCHANGE_ONLINE}
    assert {word for word in words if word not in page} == set()
