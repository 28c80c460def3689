from __future__ import annotations

from typing import cast

import pytest

from mcp_actors.protocol.errors import CloseCode, Kicked, RoomClosed
from mcp_actors.protocol.events import Kind, LeaveReason, Notice, Removal
from mcp_actors.sessions.revocation import refusal
from tests.support.loop import until
from tests.support.sessions import OTHER_ROOM, ROOM, FakeConnection, FakeMembership, cut, join, joined, registry

KICKED = LeaveReason.KICKED


@pytest.mark.parametrize(
    ("reason", "code", "error"),
    [(KICKED, CloseCode.KICKED, Kicked), (LeaveReason.ROOM_CLOSED, CloseCode.ROOM_CLOSED, RoomClosed)],
)
async def test_a_session_removed_from_its_last_room_ends_and_its_token_is_answered_with_the_reason(
    reason: LeaveReason, code: CloseCode, error: type[Kicked | RoomClosed]
) -> None:
    sessions = registry()
    session, connection, membership = await joined(sessions)
    token = sessions.token(session)
    session.removed(ROOM, Removal(reason))
    assert (connection.closes, session.ended, membership.told) == ([code], True, [])
    with pytest.raises(error) as caught:
        sessions.find(token, Kind.PEER, "")
    assert cast("Kicked | RoomClosed", caught.value).close_code is code
    assert caught.value.details == {}


def test_the_refusal_has_the_words_of_the_moderator() -> None:
    for reason in (KICKED, LeaveReason.ROOM_CLOSED):
        assert refusal(Removal(reason, Notice("spam", "No.", 60))).details == {"reason": "spam", "message": "No."}
        assert refusal(Removal(reason, Notice(message="No."))).details == {"message": "No."}


async def test_a_used_up_token_of_a_revoked_session_is_answered_with_the_reason() -> None:
    sessions = registry()
    session, _, _ = await joined(sessions)
    token = sessions.token(session)
    session.attach(FakeConnection(), 0)
    session.token_sent()
    session.acknowledge(session.replay.last)
    assert sessions.find(token, Kind.PEER, "") is None
    session.removed(ROOM, Removal(KICKED))
    with pytest.raises(Kicked):
        sessions.find(token, Kind.PEER, "")


async def test_a_detached_session_is_revoked_too() -> None:
    sessions = registry()
    session, connection, _ = await joined(sessions)
    token = sessions.token(session)
    cut(session, connection)
    session.removed(ROOM, Removal(KICKED))
    assert (session.ended, list(sessions.detached)) == (True, [])
    with pytest.raises(Kicked):
        sessions.find(token, Kind.PEER, "")


async def test_a_session_continues_in_its_other_rooms_and_returns_to_the_one_only_by_a_new_join() -> None:
    sessions = registry()
    session, connection, _ = await joined(sessions)
    await join(session, FakeMembership(), OTHER_ROOM)
    session.removed(ROOM, Removal(KICKED))
    assert (connection.closes, session.ended, ROOM in session.rooms) == ([], False, False)
    assert sessions.find(sessions.token(session), Kind.PEER, "") is session
    session.rooms.check_return(OTHER_ROOM)
    with pytest.raises(Kicked):
        session.rooms.check_return(ROOM)
    await join(session, FakeMembership(), ROOM)
    session.rooms.check_return(ROOM)


async def test_the_token_of_a_revoked_session_finds_nothing_when_the_resume_window_is_over() -> None:
    sessions = registry(window=0.05)
    session, _, _ = await joined(sessions)
    token = sessions.token(session)
    session.removed(ROOM, Removal(KICKED))

    def forgotten() -> bool:
        try:
            return sessions.find(token, Kind.PEER, "") is None
        except Kicked:
            return False

    assert not forgotten()
    await until(forgotten, "that the session is forgotten")


async def test_another_client_does_not_learn_that_a_session_is_revoked() -> None:
    sessions = registry()
    session, _, _ = await joined(sessions)
    token = sessions.token(session)
    session.removed(ROOM, Removal(KICKED))
    assert sessions.find(token, Kind.USER, "") is None
    assert sessions.find(token, Kind.PEER, "uma") is None


async def test_the_oldest_revoked_session_is_forgotten_when_there_are_too_many() -> None:
    sessions = registry(max_detached=2)
    revoked = [(await joined(sessions))[0] for _ in range(4)]
    tokens = [sessions.token(session) for session in revoked]
    for session in revoked:
        session.removed(ROOM, Removal(KICKED))
    assert [sessions.find(token, Kind.PEER, "") for token in tokens[:2]] == [None, None]
    for token in tokens[2:]:
        with pytest.raises(Kicked):
            sessions.find(token, Kind.PEER, "")
    await sessions.stop()
