from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.protocol.identifiers import Incarnation, id_problem, replaces, shown

MAX = 128

texts = st.text(st.characters(exclude_categories=()))
printable_texts = st.text(min_size=1, max_size=MAX).filter(str.isprintable)


@pytest.mark.parametrize(
    "value", ["a", "room123", "a b", "ü", "日本語", "👍🏽", "-", "...", ".a", "a" * MAX, "\\", '"', "é" * MAX]
)
def test_well_formed_ids_have_no_problem(value: str) -> None:
    assert id_problem(value, MAX) is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "must not be empty"),
        (".", "must not be `.` or `..`, which URLs cannot contain"),
        ("..", "must not be `.` or `..`, which URLs cannot contain"),
        ("a" * (MAX + 1), "must have at most 128 characters, not 129"),
        (" a", "must not start or end with a space"),
        ("a ", "must not start or end with a space"),
        (" ", "must not start or end with a space"),
        ("a\nb", "must have printable characters only"),
        ("a\x00", "must have printable characters only"),
        ("a\x7f", "must have printable characters only"),
        ("\t", "must have printable characters only"),
        ("a  b", "must not have two spaces side by side"),
        ("é  b", "must not have two spaces side by side"),
        (" é", "must not start or end with a space"),
        ("é\u200bb", "must not have U+200B (ZERO WIDTH SPACE); leave it out"),
    ],
)
def test_the_problem_of_a_malformed_id_is_returned(value: str, problem: str) -> None:
    assert id_problem(value, MAX) == problem


@given(st.integers(1, 200), st.integers(1, 300))
def test_the_limit_counts_characters_and_is_inclusive(limit: int, length: int) -> None:
    assert (id_problem("é" * length, limit) is None) == (length <= limit)


@given(st.text(st.characters(max_codepoint=0x7F)))
def test_an_id_in_ascii_is_well_formed_exactly_if_the_grammar_says_so(value: str) -> None:
    well_formed = 1 <= len(value) <= MAX and value.isprintable() and value == " ".join(value.split(" ")).strip(" ")
    assert (id_problem(value, MAX) is None) == (well_formed and "  " not in value and value not in (".", ".."))


@given(texts | texts.map(lambda text: text * 100))
def test_a_shown_id_is_printable_and_short(value: str) -> None:
    text = shown(value)
    assert text.isprintable()
    assert len(text) <= 40 * len(r"\U0010ffff") + 2
    text.encode()


@given(printable_texts.filter(lambda text: len(text) <= 40 and not {"'", '"', "\\"} & set(text)))
def test_a_short_printable_id_is_shown_whole(value: str) -> None:
    assert shown(value) == f"'{value}'"


@given(st.integers(41, 500))
def test_a_long_id_is_shown_cut_with_a_mark(length: int) -> None:
    assert shown("a" * length) == "'" + "a" * 39 + "…'"


def test_only_a_session_that_may_replaces_its_own_memberships() -> None:
    assert replaces(Incarnation("~a.2"), Incarnation("~a.1"))
    assert not replaces(Incarnation("~a.2"), Incarnation("~b.1"))
    assert not replaces(Incarnation("a.2"), Incarnation("a.1"))
