"""What the errors of a consent mean: Microsoft's numbers, Nylas' codes, and names of OAuth."""

from __future__ import annotations

from bulkgrants.consent.kinds import Kind, same, table

AGAIN = "have the tenant's admin open the current consent link again"
_DECLINED = (
    Kind.DECLINED,
    "The admin declined the consent.",
    (
        "Ask the tenant's admin what holds them back; once they agree, "
        "have them open a new consent link and accept."
    ),
)
PASSING = (
    Kind.PASSING,
    "The provider could not answer at that moment.",
    f"Wait some minutes, then {AGAIN}; grants are tried again by later runs.",
)
_UNSCOPED = (
    "Leave `scope` out of the consent link, so that the Azure app's own permissions count, "
    f"and {AGAIN}."
)

MICROSOFT = table(
    same(
        "AADSTS50011",
        Kind.SETUP,
        "The Azure app does not list the address to which Microsoft should send the admin.",
        "In the Azure portal, add https://api.us.nylas.com/v3/connect/callback (api.eu for the "
        f"EU) to the Azure app as a redirect URI of the platform Web, then {AGAIN}.",
    ),
    same(
        "AADSTS50020 AADSTS90072 AADSTS50034",
        Kind.ADMIN,
        "The account does not belong to the tenant in which it is looked for.",
        "For a consent, have an admin sign in at the link with an account of that tenant; "
        "for a mailbox, correct its tenant in the roster.",
    ),
    same(
        "AADSTS50105",
        Kind.ADMIN,
        "The tenant lets only assigned users use the Azure app, and this one is not assigned.",
        "Have the tenant's admin assign the account to the app in the Azure portal under "
        "Enterprise applications, or no longer require an assignment there.",
    ),
    same(
        "AADSTS50194",
        Kind.SETUP,
        "The Azure app is for one tenant only, yet the sign-in went to `common`.",
        "In the Azure portal, let the Azure app support accounts in any organisation's "
        "directory; if it is meant for one tenant only, put that tenant's id into the "
        "credential's Airflow connection and register the credential again.",
    ),
    same(
        "AADSTS53003",
        Kind.ADMIN,
        "A Conditional Access policy of the tenant blocked the admin's sign-in.",
        "Have the tenant's admin open the consent link from a device and a place that the "
        "policy allows, or change the policy in the Azure portal.",
    ),
    same(
        "AADSTS50076 AADSTS50079",
        Kind.ADMIN,
        "Microsoft asks the admin for multi-factor authentication, which was not completed.",
        "Have the tenant's admin open the consent link again and complete it, "
        "after setting it up where the account has none yet.",
    ),
    same(
        "AADSTS65001",
        Kind.ADMIN,
        "No admin of the tenant has consented to the Azure app, or the consent was withdrawn.",
        "Have an admin of the tenant open the current consent link and accept; "
        "after a fresh consent, wait until Microsoft acts on it.",
    ),
    same("AADSTS65004", *_DECLINED),
    same(
        "AADSTS90094",
        Kind.ADMIN,
        "Only an admin may consent to these permissions, and another account signed in.",
        "Have somebody open the consent link who may consent for the whole tenant.",
    ),
    same(
        "AADSTS650051",
        Kind.PASSING,
        "Microsoft is still setting the Azure app up in the tenant, or knows the consent.",
        f"Wait a minute, then {AGAIN}; if the error stays, have them look in the Azure portal "
        "under Enterprise applications whether the app has its permissions already.",
    ),
    same(
        "AADSTS650052",
        Kind.ADMIN,
        "The Azure app asks for permissions of a service that the tenant does not have.",
        "Have the tenant's admin subscribe to that service; or remove its permissions from the "
        f"Azure app in the Azure portal, then {AGAIN}.",
    ),
    same(
        "AADSTS650056 AADSTS650057",
        Kind.SETUP,
        "The Azure app's permissions do not cover what it asks for.",
        "In the Azure portal, list under the Azure app's API permissions every Microsoft Graph "
        f"application permission it needs, User.Read.All among them, then {AGAIN}.",
    ),
    same(
        "AADSTS700016 AADSTS70001 AADSTS700011",
        Kind.ADMIN,
        "The Azure app is not in the tenant, or is disabled there.",
        "Have the tenant's admin open the consent link and accept, or enable the app in the "
        "Azure portal under Enterprise applications; if it is there and enabled, "
        "correct the client id in the credential's Airflow connection.",
    ),
    same(
        "AADSTS7000215 AADSTS70002",
        Kind.SETUP,
        "Microsoft does not accept the client secret.",
        "Put the secret's value, not its id, into the credential's Airflow connection and "
        "register the credential again; where the value is lost, make a new client secret of the "
        "Azure app in the Azure portal first.",
    ),
    same(
        "AADSTS7000222",
        Kind.SETUP,
        "The client secret has expired.",
        "Make a new client secret of the Azure app in the Azure portal, put its value, not its id, "
        "into the credential's Airflow connection, and register the credential again.",
    ),
    same(
        "AADSTS90002",
        Kind.SETUP,
        "Microsoft knows no tenant with the id that the credential names.",
        "Correct the tenant in the credential's Airflow connection, "
        "and register the credential again.",
    ),
    same(
        "AADSTS9001023",
        Kind.SETUP,
        "The credential says `common`, where Microsoft needs the tenant's id.",
        "Put the tenant's id into the credential's Airflow connection, "
        "and register the credential again.",
    ),
    same("AADSTS90006 AADSTS90024 AADSTS90012 AADSTS50087", *PASSING),
)
"""Numbers of Microsoft's sign-in service."""

NYLAS = table(
    same(
        "702",
        Kind.SETUP,
        "Nylas does not allow the application's client id.",
        "Correct the client id and the region in the application's Airflow connection, "
        "and make a new consent link.",
    ),
    same(
        "25003",
        Kind.SETUP,
        "The Nylas application does not list the address to which Nylas should send the admin.",
        "Add the callback's address to the Nylas application's callback URIs, letter for "
        f"letter as the consent link has it, then {AGAIN}.",
    ),
    same("25016", Kind.SETUP, "Other scopes were given than were asked for.", _UNSCOPED),
    same(
        "45001 provider_code_request_failed",
        Kind.SETUP,
        "Microsoft gave Nylas no token, most often because the client secret is wrong.",
        "Put the secret's value, not its id, into the Airflow connections of the credential "
        "and of the connector, and register both again.",
    ),
    same(
        "45002 oauth_failed",
        Kind.DECLINED,
        "The admin, or Microsoft, refused the sign-in.",
        "Ask the tenant's admin whether they declined; if they did not, "
        "ask Nylas' support what Microsoft answered.",
    ),
)
"""Nylas' numeric codes, and its names for the same errors."""

OAUTH = table(
    same("access_denied", *_DECLINED),
    same(
        "consent_required",
        Kind.ADMIN,
        "The consent of an admin is still missing.",
        "Have an admin of the tenant open the current consent link and accept.",
    ),
    same(
        "interaction_required login_required",
        Kind.ADMIN,
        "Microsoft wants the admin to sign in, or to prove further who they are.",
        "Have the tenant's admin open the consent link again and complete every step "
        "that Microsoft asks for, on a device that the tenant's policies allow.",
    ),
    same(
        "invalid_client invalid_grant",
        Kind.SETUP,
        "The provider does not accept the Azure app's client id or secret.",
        "Correct both in the credential's Airflow connection, the secret by its value and not "
        "its id, and register the credential again.",
    ),
    same(
        "unauthorized_client",
        Kind.SETUP,
        "The Azure app may not ask this tenant for consent.",
        "Check the client id in the credential's Airflow connection, and in the Azure portal "
        "that the Azure app supports accounts in any organisation's directory.",
    ),
    same(
        "invalid_request unsupported_response_type",
        Kind.SETUP,
        "The request for consent contradicts the Azure app or the credential.",
        "Check in the credential's Airflow connection that the tenant is the customer's id or "
        "`common`, use no `scope` with `common`, and make a new consent link.",
    ),
    same(
        "invalid_scope invalid_resource",
        Kind.SETUP,
        "The consent link asks for scopes that Microsoft does not know for this Azure app.",
        _UNSCOPED,
    ),
    same("server_error temporarily_unavailable", *PASSING),
)
"""Names of OAuth errors, where no number tells more."""
