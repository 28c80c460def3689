from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.protocol.subject import MAX_BYTES, MAX_TOKENS, room_of, subject

BROKEN = {
    "a number that JSON does not have": "NaN",
    "a trailing comma": "[1,]",
    "a single quote": "{'a': 1}",
    "an unknown escape": r'"\x41 {"',
    "a line break in a string": '"a\n}"',
    "a half of a surrogate pair": r'"\ud83d"',
    "a quote in an escape": r'"\" \u12\""',
    "a comment": "1 /* [ */ ]",
    "50,000 brackets": "[" * 25_000 + "]" * 25_000,
    "a word": "undefined",
    "an object with an id of its own": '{"id": 8, "room": "other", "a" 1}',
}


@pytest.mark.parametrize("value", BROKEN)
@pytest.mark.parametrize(
    "template", ['{"id": 7, "room": "r", "payload": %s}', '{"payload": %s, "room" :\n"r","id":7 }']
)
def test_the_request_is_found_in_broken_json(template: str, value: str) -> None:
    assert subject((template % BROKEN[value]).encode()) == ("r", 7)


@pytest.mark.parametrize("end", ["", "}", "}}", '"', "}x", '} {"id": 9}', "\0", ","])
def test_the_request_is_found_in_text_with_a_broken_end(end: str) -> None:
    assert subject(('{"room": "r", "id": "x\\u00e9", "payload": {"data": 1}' + end).encode()) == ("r", "xé")


def test_the_request_is_found_in_text_that_is_cut_off_in_its_payload() -> None:
    assert subject(b'{"room": "r", "id": 7, "payload": {"id": 8, "data": "ab') == ("r", 7)
    assert subject(b'{"room": "r", "payload": {"id": 8, "room": "s", "data": "ab') == ("r", None)


def test_the_request_is_found_in_bytes_that_are_not_utf8() -> None:
    assert subject(b'{"payload": {"data": "\xff"}, "room": "r", "id": 7}') == ("r", 7)
    assert subject(b'{"payload": {}, "room": "\xff", "id": 7, "x": NaN}') == (None, 7)


@pytest.mark.parametrize("text", ['{"id": 7, "id": "b"}', '{"id": 7, "id": "b", "x": NaN}'])
def test_the_last_of_two_counts(text: str) -> None:
    assert subject(text.encode()) == (None, "b")


def test_the_search_in_broken_json_is_bounded() -> None:
    found = '{"payload": [%s NaN], "id": 7}'
    assert subject((found % ("[]," * (MAX_TOKENS // 4))).encode()) == (None, 7)
    assert subject((found % ("[]," * MAX_TOKENS)).encode()) == (None, None)
    assert subject((found % (" " * MAX_BYTES)).encode()) == (None, None)


@given(
    st.dictionaries(
        st.sampled_from(["id", "room", "payload", "x"]),
        st.recursive(
            st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5) | st.booleans(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "room", "x"]), inner),
            max_leaves=8,
        ),
    ),
    st.sampled_from(["", " NaN", "x"]),
)
def test_broken_json_names_the_same_request_as_the_json_that_it_was(value: dict[str, Any], end: str) -> None:
    text = json.dumps(value).encode()
    assert subject(text + end.encode()) == subject(text)


@pytest.mark.parametrize(
    ("text", "room"),
    [
        ('{"type":"message","payload":{"room":"inner"},"room":"r"}', "r"),
        (r'{"room":"\u0072","payload":{"content":"\ud83d"}}', "r"),
        (r'{"room":"other","payload":{"content":"\ud83d"},"room":"r"}', "r"),
        ('{"type":"connected","payload":{}}', None),
        ('{"type":"authenticate","room":null}', None),
    ],
)
def test_the_room_of_a_message_to_a_client_is_the_one_that_its_client_reads(text: str, room: str | None) -> None:
    assert room_of(text.encode()) == room == json.loads(text).get("room")
