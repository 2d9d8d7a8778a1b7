from __future__ import annotations

import pytest

from bulkgrants.nylas.answers import Reply, secrets_in
from bulkgrants.redaction import MASK, redacted

PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\nBgkqhkiG9w0B\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "text",
    [
        f"your key {PEM} is wrong",
        f"your key {PEM[:40]}",
        f"your key {PEM.encode('unicode_escape').decode()} is wrong",
        "your key MIIEvQIBADAN",
        "your key BgkqhkiG9w0B is wrong",
    ],
)
def test_a_private_key_is_removed_whole_in_part_and_escaped(text):
    shown = redacted(text, [PEM])
    assert MASK in shown
    for line in ("MIIEvQIBADAN", "BgkqhkiG9w0B", "BEGIN"):
        assert line not in shown


@pytest.mark.parametrize(
    "secret_like",
    [
        "Bearer abc.def-ghi_jkl",
        "nyk_v0_abcdefghijkl",
        "eyJhbGciOi.eyJzdWIiOiIx.c2ln",
        "A" * 40,
        "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA==",
    ],
)
def test_what_looks_like_a_secret_is_removed_even_if_it_is_not_known(secret_like):
    assert redacted(f"before {secret_like} after", []) == f"before {MASK} after"


@pytest.mark.parametrize(
    "text",
    [
        "Bearer token invalid",
        "d05ce9bd-804b-4ab3-8835-4d657fef4c10",
        "https://www.googleapis.com/auth/calendar.readonly",
    ],
)
def test_words_ids_and_scopes_stay_readable(text):
    assert redacted(text, []) == text


@pytest.mark.parametrize(
    ("secret", "spelling"),
    [
        ("p@ss word/1", "p%40ss+word%2F1"),
        ("p@ss word/1", "p%40ss%20word%2F1"),
        ('pä"wörd', r"p\u00e4\"w\u00f6rd"),
        ('pä"wörd', r"pä\"wörd"),
        ("open sesame", "open\x00sesame"),
        ("open sesame", "open \u200b sesame"),
        ("open\nsesame", "open sesame"),
    ],
)
def test_a_secret_is_removed_in_every_spelling(secret, spelling):
    assert redacted(f"x={spelling}", [secret]) == f"x={MASK}"


def test_a_text_in_which_masking_makes_a_secret_is_dropped():
    assert redacted("xxabcdyy", ["abcd", f"xx{MASK}yy"]) == ""


def test_secrets_are_found_wherever_a_body_keeps_them():
    body = {
        "name": "acme",
        "credential_data": {"private_key": "k1", "more": ["k2"]},
        "settings": {"client_id": "public", "client_secret": "k3", "refresh_token": "k4"},
    }
    assert secrets_in(body) == {"k1", "k2", "k3", "k4"}
    assert secrets_in(None) == frozenset()


def test_what_a_credential_holds_and_everybody_may_know_stays_readable():
    body = {
        "credential_data": {
            "client_id": "d05ce9bd-804b-4ab3-8835-4d657fef4c10",
            "tenant": "common",
            "type": "service_account",
            "client_email": "a@b.iam.gserviceaccount.com",
            "client_secret": "abc8Q~of-the-app",
        }
    }
    assert secrets_in(body) == {"abc8Q~of-the-app"}


def test_an_answer_does_not_show_its_body_in_its_repr():
    assert "abc8Q" not in repr(Reply(400, {}, b"abc8Q~of-the-app"))
