"""Messages of the server as events."""

from __future__ import annotations

import msgspec
import pytest

from mcp_actors.client import IceCandidate, Offer, PeerJoined, RoomLocked
from mcp_actors.client.events import event_of


def test_fields_that_are_not_known_are_ignored_as_are_types() -> None:
    message = {"type": "peer-joined", "room": "r", "payload": {"peer_id": "a", "order": 1, "later": True}}
    assert event_of(message) == PeerJoined(peer_id="a", order=1)
    assert event_of({"type": "later"}) is None
    assert event_of({"type": "room-locked", "room": "r"}) == RoomLocked()


def test_a_payload_cannot_forge_what_the_server_stamps() -> None:
    offer = {"type": "offer", "sdp": ""}
    payload = {"offer": offer, "sender": "mallory", "verified": True, "negotiation": 9}
    message = {"type": "offer", "sender": "a", "payload": payload}
    assert event_of(message) == Offer(sender="a", offer=offer)
    stamped = message | {"verified": True, "negotiation": 2}
    assert event_of(stamped) == Offer(sender="a", offer=offer, negotiation=2, verified=True)


@pytest.mark.parametrize("candidate", [None, "", {"candidate": "x"}])
def test_the_last_candidate_may_be_null(candidate: object) -> None:
    message = {"type": "ice-candidate", "sender": "a", "payload": {"candidate": candidate}}
    assert event_of(message) == IceCandidate(sender="a", candidate=candidate)


def test_a_message_of_another_shape_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError):
        event_of({"type": "peer-joined", "payload": {"peer_id": 1}})
