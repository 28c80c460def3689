"""The room in the URL of a handshake, and the process that serves it."""

from __future__ import annotations

from collections import Counter

import pytest

from mcp_actors.adapters.http.room_hint import hinted_room, process_of

ROOMS = [f"room {number}".encode() for number in range(4000)]


@pytest.mark.parametrize(
    ("target", "room"),
    [
        ("/ws/signaling/?room=lobby", b"lobby"),
        ("/ws/mcp/?room=lobby", b"lobby"),
        ("/ws/signaling?token=a.b.c&room=lobby&x=1", b"lobby"),
        ("/ws/signaling/?room=a%20%C3%A9%26b", "a é&b".encode()),
        ("/ws/signaling/?room=a+b", b"a b"),
        ("/ws/signaling/?room=one&room=two", b"two"),
        ("/ws/signaling/?classroom=lobby", None),
        ("/ws/signaling/?room=", None),
        ("/ws/signaling/", None),
        ("/healthz?room=lobby", None),
    ],
)
def test_the_query_of_a_handshake_names_a_room(target: str, room: bytes | None) -> None:
    assert hinted_room(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) == room


def test_a_room_in_a_header_or_in_a_target_whose_end_is_missing_does_not_count() -> None:
    assert hinted_room(b"GET /ws/signaling/ HTTP/1.1\r\nReferer: /ws/x?room=lobby\r\n\r\n") is None
    assert hinted_room(b"GET /ws/signaling/?room=lob") is None
    assert hinted_room(b"POST /ws/signaling/?room=lobby HTTP/1.1\r\n\r\n") is None


def test_rooms_are_spread_over_all_processes_evenly() -> None:
    counts = Counter(process_of(room, 4) for room in ROOMS)
    assert sorted(counts) == [1, 2, 3, 4]
    assert all(900 < count < 1100 for count in counts.values()), counts


def test_one_more_process_takes_its_share_and_no_room_moves_between_the_others() -> None:
    moved = [room for room in ROOMS if process_of(room, 4) != process_of(room, 5)]
    assert {process_of(room, 5) for room in moved} == {5}
    assert 700 < len(moved) < 900  # a fifth


def test_one_process_serves_every_room() -> None:
    assert {process_of(room, 1) for room in ROOMS} == {1}
