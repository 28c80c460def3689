from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.protocol.surrogates import MARK, replace_lone_surrogates

units = st.lists(st.sampled_from([0x41, 0x5C, 0xD800, 0xD83D, 0xDBFF, 0xDC00, 0xDE00, 0xDFFF, 0xFFFD]), max_size=12)


@given(units, st.booleans())
def test_each_half_without_its_other_half_is_replaced_and_nothing_else(units: list[int], upper: bool) -> None:
    text = b'"%b"' % b"".join((b"\\u%04X" if upper else b"\\u%04x") % unit for unit in units)
    characters = b"".join(unit.to_bytes(2, "big") for unit in units).decode("utf-16-be", "surrogatepass")
    expected = "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in characters)
    replaced = replace_lone_surrogates(text)
    assert len(replaced) == len(text)
    assert json.loads(replaced) == expected
    assert replaced.count(MARK) == sum("\ud800" <= one <= "\udfff" for one in characters)


@pytest.mark.parametrize("backslashes", range(6))
def test_a_backslash_that_is_escaped_itself_begins_no_escape(backslashes: int) -> None:
    text = b'"' + b"\\" * backslashes + b'ud83d"'
    assert (MARK in replace_lone_surrogates(text)) == (backslashes % 2 == 1)
    behind = b'"' + b"\\" * backslashes + rb'ud83d\ude00"'
    assert (MARK in replace_lone_surrogates(behind)) == (backslashes % 2 == 0)


@pytest.mark.parametrize("text", [b"", b"{}", rb'"\ud83d\ude00"', "😀".encode(), b'"\\u', b'"\\ud83', b"\0\\ud83d"])
def test_other_text_stays_as_it_is(text: bytes) -> None:
    assert replace_lone_surrogates(text) == text
