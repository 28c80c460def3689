from __future__ import annotations

import base64

import pytest

from mcp_actors.sessions.tokens import GENERATION_BYTES, ID_BYTES, SEAL_BYTES, Claim, Tokens, new_session_id

TOKENS = Tokens(b"secret")
SESSION = new_session_id()


def test_a_token_says_which_session_it_is_for_and_which_connection_it_was_given_to() -> None:
    for generation in (1, 2, 2**32 - 1):
        assert TOKENS.read(TOKENS.make(SESSION, generation)) == Claim(SESSION, generation)


def test_nodes_with_one_secret_read_each_others_tokens_and_others_do_not() -> None:
    token = TOKENS.make(SESSION, 1)
    assert Tokens(b"secret").read(token) == Claim(SESSION, 1)
    assert Tokens(b"another").read(token) is None


def test_a_token_that_was_changed_anywhere_is_none() -> None:
    raw = base64.urlsafe_b64decode(TOKENS.make(SESSION, 1))
    assert len(raw) == ID_BYTES + GENERATION_BYTES + SEAL_BYTES
    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 1
        assert TOKENS.read(base64.urlsafe_b64encode(bytes(changed)).decode()) is None


@pytest.mark.parametrize("text", ["", "x", "=", "é", "\0", "AAAA", "A" * 44, "A" * 100_000])
def test_what_is_no_token_is_none(text: str) -> None:
    assert TOKENS.read(text) is None


def test_a_token_that_is_cut_or_continued_is_none() -> None:
    raw = base64.urlsafe_b64decode(TOKENS.make(SESSION, 1))
    for wrong in (raw[1:], raw[:-1], raw + b"\0", b"\0" + raw):
        assert TOKENS.read(base64.urlsafe_b64encode(wrong).decode()) is None


def test_session_ids_are_new_and_can_be_told_from_what_follows_them() -> None:
    made = {new_session_id() for _ in range(100)}
    assert len(made) == 100
    assert not any("." in one for one in made)
