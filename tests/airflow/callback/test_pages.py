"""Text from outside is only ever text on a page, or a line in a log."""

from __future__ import annotations

import logging
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bulkgrants.model import ConsentStatus, OAuthError
from bulkgrants.onboarding.callback import Received, Verdict
from bulkgrants.ports import utc_now
from bulkgrants.text import bounded
from support.browsing import Outline
from support.consents import send_links

NAMES = ("error", "error_code", "error_description", "error_uri")
HOSTILE = st.sampled_from(
    [
        *("<script>alert(1)</script>", "</dd>", "</style>", "<!--", "]]>", "{{7*7}}", "{% x %}"),
        *("&lt;b&gt;", "&#60;b&#62;", "&quot;", '"', "'", "`", "=", "%3Cb%3E", "\\u003c", "\x00"),
        *("\r\n", "\u2028", "\u202e", "\u061c", "\ufffe", "\U000e0041", "javascript:", "//x.y"),
    ]
)
words = st.lists(
    HOSTILE | st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=5
).map("".join)


def bounded_as_recorded(name: str, text: str) -> str:
    limits = {"error": 100, "error_code": 100, "error_description": 1000, "error_uri": 500}
    return bounded(text, limits[name])


@pytest.fixture
def unhurried(ask, monkeypatch):
    """A callback without a limit on its rate, so that many examples can be tried."""
    from bulkgrants_airflow.ui.callback import ConsentCallback, Turnstile
    from bulkgrants_airflow.ui.lazy_app import consent_callback

    app = ConsentCallback(Turnstile(rate=1e6, inside=1000))
    monkeypatch.setattr(consent_callback, "_app", app)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    fields=st.fixed_dictionaries(dict.fromkeys(NAMES, words)),
    others=st.dictionaries(words.map("x{}".format), words, max_size=3),
)
def test_what_a_redirect_says_is_shown_as_text_between_the_same_elements(
    small, unhurried, caplog, fields, others
):
    caplog.set_level(logging.DEBUG)
    (link,) = send_links(small.ledger, "acme", now=utc_now())
    # the number settles the explanation, so that all pages are alike but for the words
    said = {name: f"AADSTS65004 {text}" for name, text in fields.items()}
    query = link.answered(admin_consent="True", **said) + "&" + urlencode(others)
    assume(len(query) <= 8192)
    answer = small.ask(query)
    assert answer.status == 200
    plain = dict.fromkeys(NAMES, "AADSTS65004")
    assert answer.page.elements == _refused(**plain).elements
    shown = answer.page.texts["bdi"]
    assert "".join(shown) == "acme" + "".join(
        _as_parsed(bounded_as_recorded(name, said[name])) for name in NAMES
    )
    assert link.state not in answer.everything
    assert link.state not in caplog.text
    assert all(len(record.getMessage()) < 1000 for record in caplog.records)
    caplog.clear()


def _as_parsed(text: str) -> str:
    return "".join(Outline.of(_escaped(text)).texts.get("", []))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _refused(**error: str) -> Outline:
    from bulkgrants_airflow.ui.pages import page_of

    refused = Received(
        Verdict.REFUSED, "acme", ConsentStatus.REFUSED, utc_now(), OAuthError(**error)
    )
    return Outline.of(page_of(refused).html)


@given(words, st.sampled_from(list(Verdict)), st.sampled_from(list(ConsentStatus)))
def test_a_tenants_name_and_an_error_are_words_on_the_page_of_every_verdict(text, verdict, status):
    from bulkgrants_airflow.ui.pages import page_of

    def page(name: str, said: str) -> Outline:
        error = OAuthError("access_denied", "65004", f"AADSTS65004 {said}", said or "x")
        return Outline.of(page_of(Received(verdict, name, status, utc_now(), error)).html)

    assert page(f"acme{text}", f"x{text}").elements == page("acme", "x").elements


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("status", ConsentStatus)
def test_every_verdict_has_a_page_that_says_what_happened_and_what_to_do_next(verdict, status):
    from bulkgrants_airflow.ui.pages import page_of

    page = Outline.of(page_of(Received(verdict, "acme", status, utc_now())).html)
    assert page.heading.endswith(tuple("abcdefghijklmnopqrstuvwxyz"))
    assert page.texts["h2"][0] == "What to do next"
    assert [tag for tag, _ in page.elements].count("p") >= 2
    assert "None" not in page.words


GOOD = (Verdict.MISMATCHED, Verdict.PASSING)
"""The verdicts after which the same link can still be answered."""
OVER = [
    (Verdict.EXPIRED, ConsentStatus.EXPIRED),
    (Verdict.STALE, ConsentStatus.PENDING),
    (Verdict.REFUSED, ConsentStatus.REFUSED),
    (Verdict.REPEATED, ConsentStatus.REFUSED),
    (Verdict.REPEATED, ConsentStatus.LOST),
    (Verdict.USED, ConsentStatus.REFUSED),
    (Verdict.USED, ConsentStatus.LOST),
]
"""Those after which only another link can be."""


def words_for(verdict, status) -> str:
    from bulkgrants_airflow.ui.pages import page_of

    html = page_of(Received(verdict, "acme", status, utc_now())).html
    return " ".join(Outline.of(html).words.split())


@pytest.mark.parametrize(
    ("verdict", "status"), [*OVER, *((one, ConsentStatus.PENDING) for one in GOOD)]
)
def test_an_admin_is_told_to_open_the_link_again_only_if_it_can_still_be_answered(verdict, status):
    said = words_for(verdict, status)
    assert ("link again" in said) == (verdict in GOOD)
    assert ("you the link for a new one" in said or "send you a new link" in said) == (
        verdict not in GOOD
    )


def test_a_no_after_a_yes_by_another_link_is_not_told_that_this_link_was_answered():
    said = words_for(Verdict.USED, ConsentStatus.GIVEN)
    assert "the consent was given" in said
    assert "This link was answered" not in said


@pytest.mark.parametrize(
    ("number", "sentence", "remedy"),
    [
        ("AADSTS65004", "If you meant to decline", False),
        ("AADSTS90012", "Wait a few minutes", False),
        ("AADSTS53003", "Something in your Microsoft tenant has to change first", True),
        ("AADSTS7000222", "You do not have to change anything", True),
    ],
)
def test_what_to_do_after_a_refusal_depends_on_who_has_to_act(number, sentence, remedy):
    page = _refused(error_description=f"{number}: words of Microsoft")
    assert sentence in page.words
    assert ("How to correct it" in page.words) == remedy
    assert page.texts["dt"] == ["error_description"]


def test_the_turnstile_lets_through_so_many_a_second_and_holds_so_many_at_once():
    from bulkgrants_airflow.ui.callback import Turnstile

    now = 100.0
    turnstile = Turnstile(rate=20, inside=30, clock=lambda: now)
    assert [turnstile.enter() for _ in range(25)] == [True] * 20 + [False] * 5
    now += 0.125
    assert [turnstile.enter() for _ in range(5)] == [True] * 2 + [False] * 3
    now += 3600  # the bucket is full, and yet no more than 30 are inside
    assert [turnstile.enter() for _ in range(25)] == [True] * 8 + [False] * 17
    for _ in range(30):
        turnstile.leave()
    assert turnstile.enter()
