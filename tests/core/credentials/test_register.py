from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bulkgrants.credentials.connectors import ensure_connector
from bulkgrants.credentials.register import Registration, Wanted, decide, find_credential
from bulkgrants.credentials.secrets import OAuthApp
from bulkgrants.errors import Misconfigured, RequestRefused, Unavailable
from bulkgrants.model import CredentialType, Provider, RegisteredCredential
from bulkgrants.nylas.calls import Connector, Credential, Page

NOW = datetime(2026, 11, 20, tzinfo=UTC)
APP = OAuthApp("id", "hush")
GOOGLE = Connector("google", None)

WANTED = Wanted(
    Provider.GOOGLE, "acme", CredentialType.SERVICE_ACCOUNT, {"private_key": "hush"}, "f-1"
)


def held(credential_id="c-1", credential_type="serviceaccount"):
    return Credential(credential_id, "acme", credential_type)


def known(credential_id="c-1", fingerprint="f-1"):
    return RegisteredCredential(credential_id, fingerprint, NOW, None)


@pytest.mark.parametrize(
    ("existing", "record", "expected"),
    [
        (None, None, Registration.CREATED),
        (None, known(), Registration.CREATED),
        (held(), known(), Registration.KEPT),
        (held(credential_type=None), known(), Registration.KEPT),
        (held(), known(fingerprint="f-0"), Registration.ROTATED),
        (held(), None, Registration.ROTATED),
        (held("c-2"), known("c-1"), Registration.ROTATED),
    ],
)
def test_what_is_done_depends_on_what_nylas_has_and_the_ledger_knows(existing, record, expected):
    assert decide(existing, record, WANTED) is expected


def test_a_credential_of_another_type_is_left_alone():
    with pytest.raises(Misconfigured, match="'acme' exists at Nylas with type 'connector'"):
        decide(held(credential_type="connector"), known(), WANTED)


def test_a_wanted_credential_shows_nothing_of_its_contents():
    assert repr(WANTED) == (
        "Wanted(provider=<Provider.GOOGLE: 'google'>, name='acme', "
        "credential_type=<CredentialType.SERVICE_ACCOUNT: 'serviceaccount'>)"
    )


@pytest.mark.parametrize(
    ("credential_type", "data", "expected"),
    [
        (CredentialType.SERVICE_ACCOUNT, {"private_key": "k"}, True),
        (CredentialType.ADMIN_CONSENT, {"client_id": "i", "client_secret": "s"}, True),
        (CredentialType.ADMIN_CONSENT, {"tenant": "common"}, False),
    ],
)
def test_contents_are_replaced_only_with_a_client_id_of_their_own(credential_type, data, expected):
    wanted = Wanted(Provider.MICROSOFT, "umbra", credential_type, data, "f-1")
    assert wanted.replaces is expected


class Script:
    """A sender that answers by the call's label and query."""

    def __init__(self, answer):
        self.answer = answer
        self.labels = []

    def send(self, call):
        self.labels.append(call.label)
        answer = self.answer(call, len(self.labels))
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_credential_is_found_on_any_page():
    def answer(call, _):
        start = int(call.query["offset"])
        ids = range(start, min(start + 200, 450))
        return Page(tuple(Credential(f"c-{i}", f"n-{i}", None) for i in ids), 200)

    assert find_credential(Script(answer), Provider.GOOGLE, "n-449").credential_id == "c-449"
    assert find_credential(Script(answer), Provider.GOOGLE, "n-450") is None


@pytest.mark.parametrize("shown", [1, 120])
def test_a_page_that_is_short_by_mistake_hides_no_credential(shown):
    every = [Credential(f"c-{number}", f"n-{number}", None) for number in range(300)]
    sizes = iter([shown])

    def page(call, _):
        start = int(call.query["offset"])
        return Page(tuple(every[start : start + next(sizes, 200)]), 200)

    found = find_credential(Script(page), Provider.GOOGLE, "n-299")
    assert found == every[-1]


def test_a_listing_that_repeats_a_page_ends_with_an_error():
    page = Page(tuple(Credential(f"c-{i}", f"n-{i}", None) for i in range(200)), 200)
    with pytest.raises(Unavailable, match="returned before"):
        find_credential(Script(lambda *_: page), Provider.GOOGLE, "other")


def test_a_connector_that_exists_is_only_read():
    script = Script(lambda *_: GOOGLE)
    assert ensure_connector(script, Provider.GOOGLE, APP) is GOOGLE
    assert script.labels == ["GET /v3/connectors/google"]


@pytest.mark.parametrize("provider", Provider)
def test_without_an_oauth_app_no_connector_can_be_made(provider):
    script = Script(lambda *_: RequestRefused("none", status=404))
    with pytest.raises(
        Misconfigured, match=rf"dashboard.*\[bulkgrants\] {provider}_connector_conn"
    ):
        ensure_connector(script, provider, None)


@pytest.mark.parametrize("error", [Unavailable("lost"), RequestRefused("exists", status=400)])
def test_a_connector_is_read_again_if_it_is_unclear_whether_it_was_made(error):
    answers = [RequestRefused("none", status=404), error, GOOGLE]
    script = Script(lambda _, number: answers[number - 1])
    assert ensure_connector(script, Provider.GOOGLE, APP) is GOOGLE
    assert script.labels == [
        "GET /v3/connectors/google",
        "POST /v3/connectors",
        "GET /v3/connectors/google",
    ]


def test_a_connector_that_could_not_be_made_is_an_error():
    none = RequestRefused("none", status=404)
    answers = [none, RequestRefused("bad settings", status=400), none]
    script = Script(lambda _, number: answers[number - 1])
    with pytest.raises(RequestRefused, match="bad settings"):
        ensure_connector(script, Provider.GOOGLE, APP)


def test_other_errors_of_the_connector_are_passed_on():
    script = Script(lambda *_: RequestRefused("forbidden", status=403))
    with pytest.raises(RequestRefused, match="forbidden"):
        ensure_connector(script, Provider.GOOGLE, APP)
