"""Grants: the claims of tokens, and patterns of room names."""

from __future__ import annotations

import fnmatch
import json
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.auth.grants import Expectations, Grant, Permission, matches, read_grant
from mcp_actors.protocol.errors import ErrorCode, Unauthorized
from tests.protocol.test_protocol_md import TEXT as PROTOCOL

NOW = 1_000_000.0
PLAIN = Expectations(audience="", issuer="", leeway=5, id_length=128)
STRICT = Expectations(audience="calls", issuer="https://id.example", leeway=5, id_length=128)
CLAIMS: dict[str, Any] = {"sub": "alice", "exp": NOW + 60}


def read(claims: dict[str, Any], expected: Expectations = PLAIN) -> Grant:
    return read_grant(json.dumps(claims).encode(), expected, NOW)


def test_claims_become_a_grant() -> None:
    grant = read(CLAIMS | {"rooms": ["a", "b-*"], "can": ["signal", "moderate"], "nbf": NOW, "iat": 1, "other": {}})
    can = frozenset({Permission.SIGNAL, Permission.MODERATE})
    assert grant == Grant("alice", ("a", "b-*"), can, NOW + 65, issued=1.0)


def test_a_token_has_an_id_and_a_time_of_its_issue_if_they_make_sense() -> None:
    for claims, told in (
        ({"jti": "t1", "iat": 5}, ("t1", 5.0)),
        ({}, ("", None)),
        ({"jti": 7, "iat": "today"}, ("", None)),
    ):
        grant = read(CLAIMS | claims)
        assert (grant.token_id, grant.issued) == told


def test_a_token_without_rooms_and_can_allows_signaling_and_messages_in_all_rooms() -> None:
    grant = read(CLAIMS)
    assert grant.lets_into("any room")
    assert grant.can == {Permission.SIGNAL, Permission.MESSAGE}


def test_empty_lists_and_unknown_words_allow_nothing() -> None:
    grant = read(CLAIMS | {"rooms": [], "can": ["fly"]})
    assert not grant.lets_into("")
    assert grant.can == frozenset()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exp": NOW - 5}, "has expired"),
        ({"exp": NOW - 1e9}, "has expired"),
        ({"nbf": NOW + 6}, "not valid yet"),
        ({"aud": "calls"}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"sub": ""}, "`sub`"),
        ({"sub": "a\n"}, "`sub`"),
        ({"sub": "a" * 129}, "`sub`"),
        ({"sub": 5}, "cannot be used"),
        ({"sub": None}, "cannot be used"),
        ({"exp": None}, "cannot be used"),
        ({"exp": "never"}, "cannot be used"),
        ({"exp": True}, "cannot be used"),
        ({"rooms": "team-*"}, "cannot be used"),
        ({"rooms": [1]}, "cannot be used"),
        ({"can": "signal"}, "cannot be used"),
    ],
)
def test_an_invalid_claim_is_refused_and_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Unauthorized, match=words) as error:
        read(CLAIMS | changes)
    assert error.value.code is ErrorCode.UNAUTHORIZED


@pytest.mark.parametrize("missing", CLAIMS)
def test_sub_and_exp_are_required(missing: str) -> None:
    with pytest.raises(Unauthorized, match=missing):
        read({name: value for name, value in CLAIMS.items() if name != missing})


@pytest.mark.parametrize("text", [b"", b"no", b"[]", b"\xff", b"[" * 100_000, b'{"sub":"a","exp":1e999}'])
def test_a_payload_that_is_not_an_object_of_claims_is_refused(text: bytes) -> None:
    with pytest.raises(Unauthorized):
        read_grant(text, PLAIN, NOW)


def test_clocks_may_differ_by_the_leeway() -> None:
    assert read(CLAIMS | {"exp": NOW - 4, "nbf": NOW + 5}).expires == NOW + 1


@pytest.mark.parametrize("audience", ["calls", ["chat", "calls"]])
def test_the_configured_audience_and_issuer_are_accepted(audience: Any) -> None:
    assert read(CLAIMS | {"aud": audience, "iss": "https://id.example"}, STRICT).sub == "alice"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"aud": "calls"}, "issuer"),
        ({"aud": "calls", "iss": "https://id.example/"}, "issuer"),
        ({"iss": "https://id.example"}, "audience"),
        ({"aud": "call", "iss": "https://id.example"}, "audience"),
        ({"aud": ["chat"], "iss": "https://id.example"}, "audience"),
    ],
)
def test_another_audience_or_issuer_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Unauthorized, match=words):
        read(CLAIMS | changes, STRICT)


@pytest.mark.parametrize(
    ("room", "pattern", "fits"),
    [
        ("team-a", "team-*", True),
        ("team-", "team-*", True),
        ("team", "team-*", False),
        ("my-team-a", "team-*", False),
        ("team-a", "Team-*", False),
        ("team-a\nb", "team-*", True),
        ("room1", "room?", True),
        ("room", "room?", False),
        ("[a]", "[a]", True),
        ("a", "[a]", False),
        ("a.b", "a.b", True),
        ("axb", "a.b", False),
        ("room", "", False),
        ("room", "roomy", False),
        ("roomy", "room", False),
        ("*", r"\*", True),
        ("q", r"\*", False),
        ("what?", r"what\?", True),
        ("whatx", r"what\?", False),
        ("a\\b", r"a\\b", True),
        ("a\\b", r"a\b", True),
        ("a\\*", r"a\\*", True),
        ("a\\bc", r"a\\*", True),
        ("a*", r"a\\*", False),
        ("a\\", "a\\", True),
        ("team-*-1", r"team-\*-*", True),
        ("team-x-1", r"team-\*-*", False),
    ],
)
def test_a_pattern_matches_the_whole_name_and_only_star_question_mark_and_backslash_are_special(
    room: str, pattern: str, fits: bool
) -> None:
    assert matches(room, pattern) is fits


@given(st.text("ab*?", max_size=10), st.text("ab*?", max_size=8))
def test_patterns_match_like_those_of_file_names(room: str, pattern: str) -> None:
    assert matches(room, pattern) is bool(re.fullmatch(fnmatch.translate(pattern), room))


@given(st.text("ab*?\\", max_size=10), st.text("ab*?\\", max_size=10))
def test_a_name_that_is_escaped_as_the_documentation_says_matches_itself_only(name: str, other: str) -> None:
    assert r'rooms = [re.sub(r"([*?\\])", r"\\\1", name) for name in names]' in PROTOCOL
    pattern = re.sub(r"([*?\\])", r"\\\1", name)
    assert matches(name, pattern)
    assert matches(other, pattern) is (other == name)


def test_the_worst_pattern_takes_bounded_time() -> None:
    began = time.process_time()
    assert not matches("a" * 128, "*a" * 2000 + "b")
    assert time.process_time() - began < 1
