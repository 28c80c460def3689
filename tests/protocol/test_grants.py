"""What claims grant, and which rooms fit which patterns."""

from __future__ import annotations

import fnmatch
import json
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.protocol.errors import ErrorCode, Unauthorized
from mcp_actors.protocol.grants import Expectations, Grant, Permission, matches, read_grant

NOW = 1_000_000.0
PLAIN = Expectations(audience="", issuer="", leeway=5, id_length=128)
STRICT = Expectations(audience="calls", issuer="https://id.example", leeway=5, id_length=128)
CLAIMS: dict[str, Any] = {"sub": "alice", "exp": NOW + 60}


def read(claims: dict[str, Any], expected: Expectations = PLAIN) -> Grant:
    return read_grant(json.dumps(claims).encode(), expected, NOW)


def test_claims_say_who_it_is_where_it_may_go_what_it_may_do_and_until_when() -> None:
    grant = read(CLAIMS | {"rooms": ["a", "b-*"], "can": ["signal", "moderate"], "nbf": NOW, "iat": 1, "other": {}})
    assert grant == Grant("alice", ("a", "b-*"), frozenset({Permission.SIGNAL, Permission.MODERATE}), NOW + 65)


def test_a_token_of_an_identity_provider_lets_into_all_rooms_to_signal_and_to_say_something() -> None:
    grant = read(CLAIMS)
    assert grant.lets_into("any room")
    assert grant.can == {Permission.SIGNAL, Permission.MESSAGE}


def test_empty_lists_allow_nothing_and_unknown_words_nothing_more() -> None:
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
def test_claims_that_do_not_do_are_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Unauthorized, match=words) as error:
        read(CLAIMS | changes)
    assert error.value.code is ErrorCode.UNAUTHORIZED


@pytest.mark.parametrize("missing", CLAIMS)
def test_sub_and_exp_must_be_there(missing: str) -> None:
    with pytest.raises(Unauthorized, match=missing):
        read({name: value for name, value in CLAIMS.items() if name != missing})


@pytest.mark.parametrize("text", [b"", b"no", b"[]", b"\xff", b"[" * 100_000, b'{"sub":"a","exp":1e999}'])
def test_what_is_no_object_of_claims_is_refused(text: bytes) -> None:
    with pytest.raises(Unauthorized):
        read_grant(text, PLAIN, NOW)


def test_clocks_may_differ_by_the_leeway() -> None:
    assert read(CLAIMS | {"exp": NOW - 4, "nbf": NOW + 5}).expires == NOW + 1


@pytest.mark.parametrize("audience", ["calls", ["chat", "calls"]])
def test_the_audience_and_the_issuer_the_operator_named_are_taken(audience: Any) -> None:
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
def test_no_other_audience_and_no_other_issuer_is_taken(changes: dict[str, Any], words: str) -> None:
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
    ],
)
def test_a_pattern_fits_the_whole_name_and_only_star_and_question_mark_are_special(
    room: str, pattern: str, fits: bool
) -> None:
    assert matches(room, pattern) is fits


@given(st.text("ab*?", max_size=10), st.text("ab*?", max_size=8))
def test_patterns_fit_what_those_of_file_names_fit(room: str, pattern: str) -> None:
    assert matches(room, pattern) is bool(re.fullmatch(fnmatch.translate(pattern), room))


def test_the_worst_pattern_of_a_token_takes_no_time() -> None:
    began = time.perf_counter()
    assert not matches("a" * 128, "*a" * 2000 + "b")
    assert time.perf_counter() - began < 1
