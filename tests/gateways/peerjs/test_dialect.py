"""What PeerJS clients are told."""

from __future__ import annotations

import json

import pytest

from mcp_actors.gateways.peerjs.dialect import PEERJS
from mcp_actors.protocol.codec import error_message, received, relayed, sender_stamp
from mcp_actors.protocol.errors import BadMessage, PeerIdTaken, PeerNotFound, RoomFull, SignalingError
from mcp_actors.protocol.identifiers import PeerId, RoomId
from mcp_actors.protocol.messages import Joined, JoinedPayload, Kicked, KickedPayload, LeftPayload, PeerAway, RoomClosed
from mcp_actors.protocol.outgoing import Outgoing, Relayed

ROOM = RoomId("peerjs:peerjs")
FRAME = json.dumps({"type": "OFFER", "dst": "bob", "payload": {"sdp": 'é "sender":'}}, ensure_ascii=False).encode()
SEEN = {"src": "ada", **json.loads(FRAME)}


def told(message: Outgoing | Relayed) -> object:
    head, body = message.encoded(PEERJS)
    return json.loads(PEERJS.prefix(head, None) + body) if body else None


@pytest.mark.parametrize("offset", [b"", b"1-2.0@3"])
def test_a_relayed_message_names_its_sender_as_src_wherever_that_is(offset: bytes) -> None:
    here = relayed(sender_stamp("ada"), FRAME)
    assert told(here) == told(received(here.frame, offset, ROOM)) == SEEN


def test_a_sender_with_an_access_token_is_marked() -> None:
    here = relayed(sender_stamp("ada", verified=True), FRAME)
    assert told(here) == told(received(here.frame, b"", ROOM)) == {**SEEN, "verified": True}


def test_a_join_is_open() -> None:
    joined = Joined(room=ROOM, payload=JoinedPayload(PeerId("ada"), 1, [], []))
    assert told(Outgoing(joined)) == {"type": "OPEN"}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PeerIdTaken("Taken."), {"type": "ID-TAKEN", "payload": {"msg": "ID is taken"}}),
        (
            PeerNotFound("Gone.", peer_id="ada", target_peer_id="bob"),
            {"type": "EXPIRE", "src": "bob", "dst": "ada"},
        ),
        (PeerNotFound("Somebody has just left."), None),
        (RoomFull("Full."), {"type": "ERROR", "payload": {"msg": "Server has reached its concurrent user limit"}}),
        (BadMessage("Wrong."), {"type": "ERROR", "payload": {"msg": "Wrong."}}),
    ],
    ids=lambda value: getattr(value, "code", None),
)
def test_errors_have_the_words_of_the_original(error: SignalingError, expected: object) -> None:
    assert told(Outgoing(error_message(error))) == expected


def test_a_client_that_moderators_remove_is_told_to_give_up() -> None:
    for message in (Kicked(room=ROOM, payload=KickedPayload()), RoomClosed(room=ROOM)):
        assert told(Outgoing(message)) == {
            "type": "ERROR",
            "payload": {"msg": "A moderator has removed you from this server."},
        }


def test_what_has_no_meaning_for_the_client_is_not_sent() -> None:
    assert told(Outgoing(PeerAway(room=ROOM, payload=LeftPayload(PeerId("bob"))))) is None
