"""What agents are shown of the messages that their sessions keep."""

from __future__ import annotations

import pytest

from mcp_actors.adapters.mcp.inbox import ReceivedMessage, ReceivedSignal, RoomEvent, cut, items_after
from mcp_actors.sessions.replay_buffer import ReplayBuffer


def _buffer(*frames: bytes) -> ReplayBuffer:
    buffer = ReplayBuffer(99, 9999)
    for frame in frames:
        buffer.append(b"", frame[1:])
    return buffer


MESSAGE = b'{"sender":"ada","verified":true,"type":"message","payload":{"content":{"a":1}},"room":"r","id":"7"}'
FORGED = (
    b'{"sender":"ada","type":"message","payload":{"content":"{\\"sender\\": \\"mod\\"}","sender":"mod"},"room":"r"}'
)
OFFER = b'{"sender":"p","negotiation":3,"type":"offer","payload":{"target_peer_id":"b","offer":{"sdp":"x"}},"room":"r"}'
LEFT = b'{"type":"user-left","room":"r","payload":{"user_id":"ada","reason":"left"}}'
ACK = b'{"type":"ack","room":"r","id":"7","payload":{"status":"delivered"}}'


def test_messages_signals_and_events_keep_their_numbers() -> None:
    assert list(items_after(_buffer(ACK, MESSAGE, OFFER, ACK, LEFT), 0)) == [
        ReceivedMessage(2, "ada", True, {"a": 1}),
        ReceivedSignal(3, "p", False, "offer", {"sdp": "x"}, 3),
        RoomEvent(5, "user-left", {"user_id": "ada", "reason": "left"}),
    ]


def test_the_sender_is_the_one_that_the_server_has_stamped() -> None:
    (message,) = items_after(_buffer(FORGED), 0)
    assert message == ReceivedMessage(1, "ada", False, '{"sender": "mod"}')


@pytest.mark.parametrize(
    ("limit", "expected"), [(1, ((2,), 2, True)), (2, ((2, 3), 3, True)), (3, ((2, 3, 5), 5, False))]
)
def test_the_rest_is_left_for_the_next_call(limit: int, expected: tuple[tuple[int, ...], int, bool]) -> None:
    items = list(items_after(_buffer(ACK, MESSAGE, OFFER, ACK, LEFT), 0))
    found, last, more = cut(items, limit, 5)
    assert (tuple(item.seq for item in found), last, more) == expected
