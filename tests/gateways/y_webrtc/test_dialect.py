"""What clients of y-webrtc and trystero are told."""

from __future__ import annotations

import json

import pytest

from mcp_actors.gateways.y_webrtc.dialect import Y_WEBRTC
from mcp_actors.protocol.codec import error_message, received, relayed, sender_stamp
from mcp_actors.protocol.errors import BadMessage, PeerNotFound, RoomFull
from mcp_actors.protocol.identifiers import RoomId, UserId
from mcp_actors.protocol.messages import (
    Announcement,
    AnnouncementPayload,
    Kicked,
    KickedPayload,
    RoomClosed,
    RoomJoined,
    RoomJoinedPayload,
    RoomLeft,
    UserEntry,
)
from mcp_actors.protocol.outgoing import Outgoing, Relayed

ROOM = RoomId("y-webrtc:notes")
FRAME = b'{"clients":2,"type":"publish","topic":"notes","data":"\\",\\"sender\\":\\""}'


def told(message: Outgoing | Relayed) -> object:
    head, body = message.encoded(Y_WEBRTC)
    return json.loads(Y_WEBRTC.prefix(head, None) + body) if body else None


@pytest.mark.parametrize("name", ["", "3f2a1b-uuid"])
@pytest.mark.parametrize("offset", [b"", b"1-2.0@3"])
def test_a_publication_is_that_of_its_sender_wherever_that_is(offset: bytes, name: str) -> None:
    here = relayed(sender_stamp(name), FRAME)
    assert told(here) == told(received(here.frame, offset, ROOM)) == json.loads(FRAME)


def test_joins_and_leaves_are_not_answered() -> None:
    joined = RoomJoined(room=ROOM, payload=RoomJoinedPayload([], []))
    left = RoomLeft(room=ROOM, payload=UserEntry(UserId("ada")))
    assert told(Outgoing(joined)) is told(Outgoing(left)) is None


def test_errors_name_the_topic_if_there_is_one() -> None:
    assert told(Outgoing(error_message(RoomFull("Full.").about(ROOM, None)))) == {
        "type": "error",
        "topic": "notes",
        "code": "room-full",
        "message": "Full.",
    }
    assert told(Outgoing(error_message(BadMessage("Wrong.")))) == {
        "type": "error",
        "code": "bad-message",
        "message": "Wrong.",
    }


def test_a_receiver_that_has_just_gone_is_no_news() -> None:
    assert told(Outgoing(error_message(PeerNotFound("Gone.").about(ROOM, None)))) is None


def test_a_client_that_moderators_remove_is_told_from_where() -> None:
    kicked = Outgoing(Kicked(room=ROOM, payload=KickedPayload(user_id=UserId("ada"))))
    for removal, code in ((kicked, "kicked"), (Outgoing(RoomClosed(room=ROOM)), "room-closed")):
        found = told(removal)
        assert isinstance(found, dict)
        assert (found["type"], found["topic"], found["code"]) == ("error", "notes", code)


def test_what_was_published_from_outside_is_told_as_it_is_and_an_announcement_as_one() -> None:
    def announced(content: object) -> object:
        return told(Outgoing(Announcement(room=ROOM, payload=AnnouncementPayload(content))))

    published = {"topic": "notes", "payload": "x"}
    assert announced(published) == published
    assert announced("hello") == {"type": "announcement", "topic": "notes", "content": "hello"}
