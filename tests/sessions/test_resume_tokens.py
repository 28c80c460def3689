from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.sessions.resume_tokens import ResumeToken, ResumeTokens, new_session_id

TOKENS = ResumeTokens(b"secret")
SESSION = new_session_id()


def test_a_token_names_its_session_and_the_connection_it_was_given_to() -> None:
    for generation in (1, 2, 2**32 - 1):
        assert TOKENS.open(TOKENS.seal(SESSION, generation)) == ResumeToken(SESSION, generation)


def test_only_processes_with_the_same_secret_accept_a_token() -> None:
    token = TOKENS.seal(SESSION, 1)
    assert ResumeTokens(b"secret").open(token) == ResumeToken(SESSION, 1)
    assert ResumeTokens(b"another").open(token) is None


def test_a_token_with_one_changed_bit_is_refused() -> None:
    raw = base64.urlsafe_b64decode(TOKENS.seal(SESSION, 1))
    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 1
        assert TOKENS.open(base64.urlsafe_b64encode(bytes(changed)).decode()) is None


@pytest.mark.parametrize("text", ["", "x", "=", "é", "\0", "AAAA", "A" * 44, "A" * 100_000])
def test_text_that_is_no_token_is_refused(text: str) -> None:
    assert TOKENS.open(text) is None


@given(st.text() | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_random_text_is_refused(text: str) -> None:
    assert TOKENS.open(text) is None


def test_a_token_that_is_cut_short_or_extended_is_refused() -> None:
    token = TOKENS.seal(SESSION, 1)
    raw = base64.urlsafe_b64decode(token)
    for wrong in (raw[1:], raw[:-1], raw + b"\0", b"\0" + raw):
        assert TOKENS.open(base64.urlsafe_b64encode(wrong).decode()) is None
    for length in range(len(token)):
        assert TOKENS.open(token[:length]) is None


def test_session_ids_are_unique_and_contain_no_dot() -> None:
    made = {new_session_id() for _ in range(100)}
    assert len(made) == 100
    assert not any("." in one for one in made)
