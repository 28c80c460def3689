"""The rooms of topics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.gateways.y_webrtc.topics import HASHED, PREFIX, Topics, plain_room, topic_of
from mcp_actors.protocol.errors import BadMessage
from mcp_actors.protocol.identifiers import RoomId, id_problem

LENGTH = 128
TOPICS = Topics(LENGTH)


def test_a_topic_is_the_end_of_the_name_of_its_room() -> None:
    assert TOPICS.room("my notes/1") == plain_room("my notes/1") == "y-webrtc:my notes/1"
    assert topic_of(RoomId("y-webrtc:my notes/1")) == "my notes/1"


@pytest.mark.parametrize("topic", ["a  b", "a ", "a\n", "e\u0301", "\x00", "x" * 120])
def test_a_topic_that_cannot_be_in_an_id_is_hashed(topic: str) -> None:
    room = TOPICS.room(topic)
    assert room.startswith(HASHED)
    assert topic_of(room) is None


@given(st.text(min_size=1, max_size=LENGTH), st.text(min_size=1, max_size=LENGTH))
def test_rooms_are_well_formed_and_different_for_different_topics(one: str, other: str) -> None:
    rooms = [TOPICS.room(topic) for topic in (one, other)]
    assert (rooms[0] == rooms[1]) is (one == other)
    for room in rooms:
        assert room.startswith((PREFIX, HASHED))
        assert id_problem(room, LENGTH) is None


@pytest.mark.parametrize("topic", ["", "a" * 129])
def test_a_topic_has_a_length(topic: str) -> None:
    with pytest.raises(BadMessage, match="A topic has 1 to 128 characters"):
        TOPICS.room(topic)


def test_an_error_about_nothing_has_no_topic() -> None:
    assert topic_of(None) is topic_of(RoomId("notes")) is None
