"""Whatever spelling of a secret stands in a text, no piece of twelve characters is shown."""

from __future__ import annotations

import base64
import html
import json
import re
import string
import time
from html.entities import codepoint2name
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkgrants.redaction import redacted

PIECE = 12
ZERO_WIDTH = ["\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u202e", "\x00", "\x1b"]
WORDS = st.sampled_from(
    [
        "invalid_client: ",
        "the secret '",
        'value="',
        "%",
        "&",
        "&#",
        "\\",
        "\\u00",
        "=",
        "",
        "' is",
        "4",
    ]
)
UNRESERVED = string.ascii_letters + string.digits + "_~.-"

azure = st.builds(
    lambda a, digit, b: f"{a}{digit}Q~{b}",
    st.text(UNRESERVED, min_size=3, max_size=3),
    st.sampled_from(string.digits),
    st.text(UNRESERVED, min_size=34, max_size=34),
)
base64_like = st.text(string.ascii_letters + string.digits + "+/=", min_size=12, max_size=80)
pem = base64_like.map(
    lambda body: (
        "-----BEGIN PRIVATE KEY-----\n"
        + "\n".join(body[at : at + 16] for at in range(0, len(body), 16))
        + "\n-----END PRIVATE KEY-----\n"
    )
)
passwords = st.text(string.ascii_letters + string.digits + " /+\"'<>&!@", min_size=16, max_size=40)
secrets = st.one_of(azure, base64_like, pem, passwords)


NUMBERED = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")


def named(one: str) -> str:
    return f"&{codepoint2name[ord(one)]};" if ord(one) in codepoint2name else one


SPELLINGS = [
    lambda one: one,
    lambda one: f"%{ord(one):02X}",
    lambda one: f"%{ord(one):02x}",
    lambda one: f"%25{ord(one):02X}",
    lambda one: f"&#{ord(one)};",
    lambda one: f"&#x{ord(one):x};",
    lambda one: f"&amp;#{ord(one)};",
    named,
    lambda one: f"\\u{ord(one):04X}",
    lambda one: f"\\u{ord(one):04x}",
    lambda one: f"\\x{ord(one):02x}",
    lambda one: f"\\\\u{ord(one):04x}",
    lambda one: json.dumps(one)[1:-1].replace("/", "\\/"),
    lambda one: chr(ord(one) - 0x21 + 0xFF01) if "!" <= one <= "~" else one,  # full width
]


def readings(text: str) -> set[str]:
    """What a person with a decoder gets out of a text, blanks and invisible characters left out."""
    found, new = set(), {text}
    while new:
        found |= new
        after = set()
        for one in new:
            after |= {
                html.unescape(one),
                unquote(one),
                NUMBERED.sub(lambda match: chr(int(match[1] or match[2], 16)), one),
                re.sub(r"\\(.)", r"\1", one),
            }
        new = after - found
    return {bare(one) for one in found}


def bare(text: str) -> str:
    return "".join(one for one in text if not one.isspace() and one not in ZERO_WIDTH)


def pieces(secret: str) -> set[str]:
    whole = bare(
        secret.replace("-----BEGIN PRIVATE KEY-----", "").replace("-----END PRIVATE KEY-----", "")
    )
    return {whole[at : at + PIECE] for at in range(len(whole) - PIECE + 1)}


def shows(message: str, secret: str) -> set[str]:
    return {piece for piece in pieces(secret) for one in readings(message) if piece in one}


@given(secrets, st.data())
@settings(max_examples=300, deadline=None)
def test_no_piece_is_shown_in_any_mixture_of_encodings(secret, data):
    spelled = "".join(data.draw(st.sampled_from(SPELLINGS))(one) for one in secret)
    message = redacted(data.draw(WORDS) + spelled + data.draw(WORDS), [secret], limit=5_000)
    assert shows(message, secret) == set(), spelled


@given(secrets, st.data())
@settings(max_examples=200, deadline=None)
def test_no_piece_is_shown_of_a_part_of_a_secret(secret, data):
    first = data.draw(st.integers(0, len(secret) - 1))
    part = secret[first : data.draw(st.integers(first + 1, len(secret)))]
    encoded = data.draw(st.sampled_from([str, quote, html.escape, json.dumps]))(part)
    message = redacted(f"before {encoded} after", [secret], limit=5_000)
    assert shows(message, secret) == set()


@given(secrets, st.data())
@settings(max_examples=200, deadline=None)
def test_no_piece_is_shown_of_a_secret_that_is_broken_by_blanks_and_invisible_characters(
    secret, data
):
    breaks = st.sampled_from(["", "", " ", "\n", "\r\n  ", "\t", "\u00a0", *ZERO_WIDTH])
    spelled = "".join(one + data.draw(breaks) for one in secret)
    message = redacted(f"before {spelled} after", [secret], limit=5_000)
    assert shows(message, secret) == set()


@given(secrets, st.binary(max_size=5), st.binary(max_size=5), st.booleans(), st.integers(0, 80))
@settings(max_examples=200, deadline=None)
def test_no_piece_is_shown_of_a_secret_in_base64(secret, before, after, url_safe, width):
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    encoded = encode(before + secret.encode() + after).decode()
    broken = re.sub(f"(.{{{width}}})", r"\1\n", encoded) if width else encoded
    message = bare(redacted(f"Basic: {broken}!", [secret], limit=5_000))
    inner = encode(before + secret.encode() + after).decode()
    shared = [inner[at : at + 16] for at in range(len(inner) - 16 + 1)]
    ours = [
        part
        for at, part in enumerate(shared)
        if len(before) <= at * 6 // 8 and (at + 16) * 6 // 8 <= len(before) + len(secret.encode())
    ]
    if "PRIVATE" not in secret:
        assert [part for part in ours if part in message] == []


@pytest.mark.parametrize("secret", ["abc8Q~" + "Zz9._~-aB" * 3 + "0123456"])
@pytest.mark.parametrize(
    "spelling",
    [
        lambda secret: secret,
        lambda secret: secret.replace("~", "%7E"),
        lambda secret: secret.replace("~", "%257e"),
        lambda secret: secret.replace("~", "&#126;").replace("-", "&#x2d;"),
        lambda secret: json.dumps(secret).replace("~", r"\u007E"),
        lambda secret: secret[:12],
        "\u200b".join,
    ],
)
def test_a_client_secret_of_azure_is_masked_even_if_it_is_not_known(secret, spelling):
    message = redacted(f"Invalid client secret {spelling(secret)}, app x", [])
    assert message.startswith("Invalid client secret ")
    assert message.endswith(", app x")
    assert shows(message, secret) == set()


@given(st.text(max_size=300), st.lists(secrets, max_size=2))
@example("%" * 300 + "41", [])
@settings(max_examples=300, deadline=None)
def test_any_text_gives_one_bounded_printable_line(text, known):
    message = redacted(text, known, limit=100)
    assert len(message) <= 100
    assert "\n" not in message
    assert not any(one in message for one in ZERO_WIDTH if one != "\u00ad")


def test_a_text_that_is_encoded_again_and_again_is_not_shown():
    assert redacted("%" + "25" * 20 + "41", []) == ""


@pytest.mark.parametrize(
    "part",
    [
        *(
            "eyJ-",
            "://",
            "://:",
            ":",
            "-----BEGIN ",
            "basic ",
            "%",
            "%25",
            "&",
            "&#38;",
            "\\",
            "\\\\",
        ),
        *("Q~", "a1Q~", "\ufdfa", "\\ufdfa", "nyk_", "&amp;amp;", "\u200b", " "),
    ],
)
def test_no_text_takes_long_to_judge(part):
    begin = time.process_time()
    redacted(part * (60_000 // len(part)), ["abc8Q~" + "x1y2" * 400])
    assert time.process_time() - begin < 2
