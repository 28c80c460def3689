"""Who was put out by moderators: remembered for a while, and not more of them than may be."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from mcp_actors.protocol.errors import CloseCode, Kicked, RoomClosed
from mcp_actors.protocol.events import Kind, LeaveReason
from mcp_actors.protocol.identifiers import RoomId
from mcp_actors.sessions.outcasts import Outcast, Outcasts
from tests.support.loop import until
from tests.support.sessions import OTHER_ROOM, ROOM, FakeMembership, cut, enter, joined, registry

KICKED = LeaveReason.KICKED


def outcast(since: float = 0.0, oldest: int = 2) -> Outcast:
    return Outcast(Kind.PEER, "", oldest, since, KICKED)


def test_only_its_own_tokens_tell_how_a_session_was_put_out() -> None:
    out = Outcasts(30.0, 10)
    out.add("s", outcast())
    assert out.reason("s", 2, Kind.PEER, "") is KICKED
    assert out.reason("s", 1, Kind.PEER, "") is None
    assert out.reason("s", 2, Kind.USER, "") is None
    assert out.reason("s", 2, Kind.PEER, "uma") is None
    assert out.reason("t", 2, Kind.PEER, "") is None


def test_outcasts_are_forgotten_when_their_time_is_over_and_no_earlier() -> None:
    out = Outcasts(30.0, 10)
    for number in range(3):
        out.add(f"s{number}", outcast(float(number)))
    assert out.forget_the_late(29.9) == []
    assert out.forget_the_late(31.0) == ["s0", "s1"]
    assert len(out) == 1


def test_no_more_outcasts_are_remembered_than_may_be() -> None:
    out = Outcasts(30.0, 2)
    assert [out.add(f"s{number}", outcast()) for number in range(4)] == [[], [], ["s0"], ["s1"]]
    assert len(out) == 2


@pytest.mark.parametrize(
    ("reason", "code", "error"),
    [(KICKED, CloseCode.KICKED, Kicked), (LeaveReason.ROOM_CLOSED, CloseCode.ROOM_CLOSED, RoomClosed)],
)
async def test_a_session_that_is_put_out_of_its_last_room_ends_and_its_token_says_so(
    reason: LeaveReason, code: CloseCode, error: type[Kicked | RoomClosed]
) -> None:
    of = registry()
    session, wire, membership = await joined(of)
    token = of.token(session)
    session.put_out(ROOM, reason)
    assert (wire.closes, session.ended, membership.told, len(of)) == ([code], True, [], 0)
    with pytest.raises(error) as caught:
        of.find(token, Kind.PEER, "")
    assert cast("Kicked | RoomClosed", caught.value).close_code is code


async def test_a_session_that_is_away_when_it_is_put_out_waits_no_more() -> None:
    of = registry()
    session, wire, _ = await joined(of)
    token = of.token(session)
    cut(session, wire)
    session.put_out(ROOM, KICKED)
    assert (session.ended, of._away) == (True, {})
    with pytest.raises(Kicked):
        of.find(token, Kind.PEER, "")


async def test_a_session_goes_on_in_its_other_rooms_and_comes_back_to_the_one_as_a_newcomer_only() -> None:
    of = registry()
    session, wire, _ = await joined(of)
    await enter(session, FakeMembership(), OTHER_ROOM)
    session.put_out(ROOM, KICKED)
    assert (wire.closes, session.ended, session.is_in(ROOM)) == ([], False, False)
    assert of.find(of.token(session), Kind.PEER, "") is session
    session.expect_welcome(OTHER_ROOM)
    with pytest.raises(Kicked):
        session.expect_welcome(ROOM)
    await enter(session, FakeMembership(), ROOM)
    session.expect_welcome(ROOM)


async def test_a_session_remembers_no_more_rooms_that_it_was_put_out_of_than_it_may_be_in() -> None:
    of = registry(max_rooms=2)
    session, _, _ = await joined(of)
    for name in "abc":
        await enter(session, FakeMembership(), RoomId(name))
        session.put_out(RoomId(name), KICKED)
    session.expect_welcome(RoomId("a"))
    assert list(session.out or {}) == ["b", "c"]


async def test_an_outcast_is_a_newcomer_when_its_time_is_over() -> None:
    of = registry(window=0.05)
    session, _, _ = await joined(of)
    token = of.token(session)
    session.put_out(ROOM, KICKED)
    watch = asyncio.create_task(of.end_the_late())
    await until(lambda: not of._outcasts, "that it is forgotten")
    assert of.find(token, Kind.PEER, "") is None
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
