"""A state belongs to one consent only, down to its last character."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkgrants.onboarding.links import (
    RANDOM_BYTES,
    Binding,
    has_check,
    is_genuine,
    is_state,
    make_state,
    passes_check,
    state_hash,
    state_key,
)

BINDING = Binding(
    application="app-1",
    tenant="acme",
    credential_id="cred-1",
    redirect_uri="https://airflow.example.com/bulkgrants/consent",
    expires_at=datetime(2026, 3, 15, tzinfo=UTC),
)
KEY = state_key("nyk_1")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

texts = st.text(max_size=60)
bindings = st.builds(
    Binding,
    application=texts,
    tenant=texts,
    credential_id=texts,
    redirect_uri=texts,
    expires_at=st.integers(0, 4_000_000_000).map(lambda at: datetime.fromtimestamp(at, UTC)),
)
chances = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


@given(bindings, chances)
def test_a_state_is_genuine_for_its_binding_and_short_enough_for_nylas(made, chance):
    state = make_state(made, KEY, chance)
    assert is_state(state)
    assert is_genuine(state, made, KEY)
    assert has_check(state)
    assert passes_check(state, KEY)
    assert len(state) == 110


@given(bindings, chances)
def test_a_state_of_an_older_link_is_genuine_but_passes_no_check(made, chance):
    older = make_state(made, KEY, chance).rsplit(".", 1)[0]
    assert is_state(older)
    assert is_genuine(older, made, KEY)
    assert not has_check(older)
    assert not passes_check(older, KEY)


@given(chances, st.data())
def test_a_check_belongs_to_one_state_and_one_key(chance, data):
    state = make_state(BINDING, KEY, chance)
    assert not passes_check(state, state_key("nyk_2"))
    at = data.draw(st.integers(0, len(state) - 1))
    other = data.draw(st.sampled_from(LETTERS).filter(lambda one: one != state[at]))
    assert not passes_check(state[:at] + other + state[at + 1 :], KEY)


@given(chances, st.data())
def test_a_state_with_any_character_changed_is_not_genuine(chance, data):
    state = make_state(BINDING, KEY, chance)
    at = data.draw(st.integers(0, len(state) - 1))
    other = data.draw(st.sampled_from(LETTERS + ".~%é").filter(lambda one: one != state[at]))
    assert not is_genuine(state[:at] + other + state[at + 1 :], BINDING, KEY)


@pytest.mark.parametrize("at", [42, 86, 109])
def test_a_last_character_that_encodes_the_same_bytes_is_not_genuine(at):
    """In Base64, the last bits after 32 or 16 bytes do not mean anything."""
    state = make_state(BINDING, KEY, bytes(RANDOM_BYTES))
    spellings = [state[:at] + letter + state[at + 1 :] for letter in LETTERS]
    assert [one for one in spellings if is_genuine(one, BINDING, KEY)] == [state]


@given(bindings, chances, st.data())
def test_a_binding_with_any_field_changed_is_not_genuine(made, chance, data):
    state = make_state(made, KEY, chance)
    name = data.draw(st.sampled_from(["application", "tenant", "credential_id", "redirect_uri"]))
    other = data.draw(texts.filter(lambda one: one != getattr(made, name)))
    assert not is_genuine(state, replace(made, **{name: other}), KEY)
    later = replace(made, expires_at=made.expires_at + timedelta(seconds=1))
    assert not is_genuine(state, later, KEY)


def test_what_moves_from_one_field_to_the_next_is_not_the_same_binding():
    made = replace(BINDING, tenant="acme", credential_id="x1")
    state = make_state(made, KEY, bytes(RANDOM_BYTES))
    assert not is_genuine(state, replace(made, tenant="acmex", credential_id="1"), KEY)


def test_another_api_key_makes_earlier_signatures_invalid():
    state = make_state(BINDING, KEY, bytes(RANDOM_BYTES))
    assert not is_genuine(state, BINDING, state_key("nyk_2"))


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_fewer_random_bytes_are_an_error_and_so_are_more(length):
    with pytest.raises(ValueError, match=f"needs 32 random bytes, not {length}"):
        make_state(BINDING, KEY, bytes(length))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "A" * 87,
        f"{'A' * 43}.{'A' * 42}",
        f"{'A' * 44}.{'A' * 43}",
        f"{'A' * 43}.{'A' * 43}\n",
        f" {'A' * 43}.{'A' * 43}",
        f"{'A' * 43}.{'A' * 42}=",
        f"{'A' * 43}.{'A' * 42}+",
        f"{'A' * 43}.{'A' * 42}é",
        f"{'A' * 43}.{'A' * 42}٣",
        f"{'A' * 43}.{'A' * 43}.{'A' * 43}",
        f"{'A' * 43}.{'A' * 43}.",
        f"{'A' * 43}.{'A' * 43}.{'A' * 21}",
        f"{'A' * 43}.{'A' * 43}.{'A' * 22}.",
    ],
)
def test_other_texts_do_not_have_the_form_of_a_state(text):
    assert not is_state(text)
    assert not is_genuine(text, BINDING, KEY)


def test_the_hash_distinguishes_states_and_shows_none():
    first, second = (make_state(BINDING, KEY, bytes([one]) * RANDOM_BYTES) for one in (1, 2))
    assert len(state_hash(first)) == 64
    assert state_hash(first) != state_hash(second)
    assert first[:10] not in state_hash(first)
