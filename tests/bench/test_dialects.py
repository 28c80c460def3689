from __future__ import annotations

import pytest

from bench.dialects import DIALECTS
from bench.loud import masked
from bench.payloads import SDP, STAMP, Stamp, read_stamp
from mcp_actors.protocol.codec import Limits, peer_decoder, user_decoder

LIMITS = Limits(65_536, 1024, 128)
NOW = 1_234_567_890_123


@pytest.mark.parametrize(("kind", "size"), [("candidate", 278), ("offer", 2386), ("answer", 2389)])
def test_signals_are_valid_and_as_large_as_those_of_browsers(kind: str, size: int) -> None:
    frame = DIALECTS["peers"].signal(kind, "room-000001", 7, "peer-000002").at(NOW)
    assert peer_decoder(LIMITS).decode(frame)
    assert len(frame) == size


def test_messages_of_users_are_valid() -> None:
    users = DIALECTS["users"]
    for frame in (*users.opening("room-000001", "user-1"), users.broadcast("room-000001", 7).at(NOW)):
        assert user_decoder(LIMITS).decode(frame)


@pytest.mark.parametrize("dialect", ["peers", "guarded", "peerjs", "y-webrtc", "socketio"])
def test_stamps_are_read_from_every_dialect(dialect: str) -> None:
    frame = DIALECTS[dialect].signal("offer", "room-000001", 7, "peer-000002").at(NOW)
    assert read_stamp(frame, frame.index(STAMP.encode())) == Stamp(NOW, "o", 7)
    assert STAMP not in SDP


@pytest.mark.parametrize(("length", "head"), [(125, 6), (126, 8), (65_535, 8)])
def test_the_loud_peers_mask_their_frames(length: int, head: int) -> None:
    frame = masked(b"x" * length)
    assert len(frame) == head + length
    assert frame[1] & 0x80


def test_a_dialect_says_what_its_protocol_has_not() -> None:
    with pytest.raises(TypeError, match="Users has no messages for one member"):
        DIALECTS["users"].signal("offer", "room-000001", 7, "peer-000002")
    with pytest.raises(TypeError, match="Peers has no messages for all members"):
        DIALECTS["peers"].broadcast("room-000001", 7)
