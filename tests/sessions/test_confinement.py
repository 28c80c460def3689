from __future__ import annotations

from mcp_actors.protocol.identifiers import PeerId, RoomId
from mcp_actors.protocol.messages import Joined, JoinedPayload, Pong, RoomLocked
from mcp_actors.protocol.outgoing import Outgoing, Relayed
from mcp_actors.sessions.confinement import forbidden, origin
from tests.support.sessions import HEAD, OTHER_ROOM, ROOM, FakeMembership, cut, join, opened


def said(room: str) -> Relayed:
    return Relayed(HEAD, b'"type":"signal","room":"%b"}' % room.encode())


async def test_a_session_leaves_the_rooms_that_its_client_may_not_be_in_and_keeps_nothing_of_them() -> None:
    session, connection = opened()
    members = {room: FakeMembership() for room in (ROOM, OTHER_ROOM)}
    for room, membership in members.items():
        await join(session, membership, room)
    cut(session, connection)
    for room in (ROOM, OTHER_ROOM, RoomId("left before"), ROOM):
        session.send(said(room))
    received = session.replay.last - 4
    assert session.confine(OTHER_ROOM.__eq__, received) == [ROOM, "left before"]
    assert list(session.rooms) == [OTHER_ROOM]
    assert members[ROOM].told[-1] == "left"
    assert [body for _, _, body in session.replay.after(received)] == [said(OTHER_ROOM).body]
    assert session.confine(OTHER_ROOM.__eq__, received) == []


def test_the_origin_of_news_is_its_room_and_an_answer_has_none() -> None:
    joined = Joined(room=ROOM, id=1, payload=JoinedPayload(PeerId("ana"), 1, [], []))
    assert origin(said("r")) == "r"
    assert origin(Outgoing(joined)) == ROOM
    assert origin(Outgoing(RoomLocked(room=ROOM))) == ROOM
    assert origin(Outgoing(RoomLocked(room=ROOM, id=1))) is None
    assert origin(Outgoing(Pong())) is None


def test_the_error_for_a_forbidden_room_names_it() -> None:
    error = forbidden(RoomId("r"), 7)
    assert (error.code, error.room, error.id) == ("forbidden", "r", 7)
