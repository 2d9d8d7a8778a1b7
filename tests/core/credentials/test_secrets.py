from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bulkgrants.credentials.secrets import (
    OAuthApp,
    admin_consent_data,
    fingerprint,
    fingerprint_key,
    service_account_key,
)
from bulkgrants.errors import Misconfigured
from nylas_standin.keys import google_key_file, private_key

RSA = private_key("kid-1")
ELLIPTIC = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    .decode()
)
FILE = {
    **google_key_file("p", key_id="kid-1"),
    "client_id": "117",
    "universe_domain": "googleapis.com",
}


@pytest.mark.parametrize("value", [FILE, json.dumps(FILE)])
def test_a_key_file_is_read_as_object_or_text(value):
    key = service_account_key(value, connection="acme_google")
    assert key.credential_data == {k: v for k, v in FILE.items() if k != "universe_domain"}


def test_line_ends_written_as_two_characters_are_corrected():
    value = {**FILE, "private_key": RSA.replace("\n", "\\n")}
    assert service_account_key(value, connection="x").credential_data["private_key"] == RSA


def test_nothing_of_a_secret_is_shown():
    key = service_account_key(FILE, connection="acme_google")
    assert repr(key) == "ServiceAccountKey()"
    assert "hush" not in repr(OAuthApp("id", "hush"))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "not a JSON object"),
        ("{cut", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ([FILE], "not a JSON object"),
        ({**FILE, "type": "authorized_user"}, "`type`"),
        ({**FILE, "private_key_id": ""}, "`private_key_id`"),
        ({**FILE, "private_key": 7}, "`private_key`"),
        ({k: v for k, v in FILE.items() if k != "client_email"}, "`client_email`"),
        ({**FILE, "private_key": "not a key"}, "not an RSA key"),
        ({**FILE, "private_key": RSA[:200]}, "not an RSA key"),
        ({**FILE, "private_key": "é" + RSA[30:]}, "not an RSA key"),
        ({**FILE, "private_key": ELLIPTIC}, "not an RSA key"),
    ],
)
def test_an_unusable_key_file_is_reported_with_its_connection_but_not_its_content(value, why):
    with pytest.raises(Misconfigured) as raised:
        service_account_key(value, connection="acme_google")
    sentence = str(raised.value)
    assert why in sentence
    assert "'acme_google'" in sentence
    assert "keyfile_dict" in sentence
    for content in (RSA[30:60], "kid-1", "robot@", "not a key", "authorized_user"):
        assert content not in sentence


@pytest.mark.parametrize(
    ("own", "column", "tenant"),
    [
        (None, "", "common"),
        (None, "contoso.onmicrosoft.com", "contoso.onmicrosoft.com"),
        ("T-1", "", "t-1"),
        ("T-1", "common", "common"),
        ("T-1", "t-2", "t-2"),
    ],
)
def test_the_tenant_of_a_consent_comes_from_the_table_then_the_app_then_is_common(
    own, column, tenant
):
    app = OAuthApp("id", "hush", own)
    assert admin_consent_data(app, column) == {
        "client_id": "id",
        "client_secret": "hush",
        "tenant": tenant,
    }


def test_a_consent_without_its_own_app_names_only_its_tenant():
    assert admin_consent_data(None, "") == {"tenant": "common"}
    assert admin_consent_data(None, "t-1") == {"tenant": "t-1"}


def test_a_fingerprint_does_not_depend_on_the_order_of_a_secrets_parts():
    key = fingerprint_key("api-key")
    assert fingerprint({"a": "1", "b": "2"}, key) == fingerprint({"b": "2", "a": "1"}, key)
    assert len(fingerprint({}, key)) == 64


def test_another_secret_or_another_api_key_makes_another_fingerprint():
    prints = {
        fingerprint({"a": secret}, fingerprint_key(api_key))
        for secret in ("1", "2")
        for api_key in ("k", "l")
    }
    assert len(prints) == 4


def test_the_api_key_is_not_its_own_fingerprint_key():
    assert b"api-key" not in fingerprint_key("api-key")
