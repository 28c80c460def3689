"""The sessions of a node: their tokens, and for how long it waits for their clients."""

from __future__ import annotations

import asyncio
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.protocol.errors import (
    CloseCode,
)
from mcp_actors.protocol.events import Kind, LeaveReason
from mcp_actors.sessions import registry as sessions
from mcp_actors.sessions.tokens import ID_BYTES, SEAL_BYTES
from tests.support.loop import until
from tests.support.sessions import (
    CLOCK,
    FRAME,
    FakeWire,
    come_back,
    cut,
    joined,
    opened,
    put,
    registry,
)

# ------------------------------------------------------------------------------------------------------------- tokens


def flipped(token: str, place: int) -> str:
    raw = bytearray(base64.urlsafe_b64decode(token))
    raw[place] ^= 1
    return base64.urlsafe_b64encode(raw).decode()


def test_a_token_finds_its_session_and_no_other() -> None:
    of = registry()
    one, other = opened(of)[0], opened(of)[0]
    assert of.find(of.token(one), Kind.PEER, "") is one
    assert of.find(of.token(other), Kind.PEER, "") is other
    assert of.token(one) != of.token(other)


def test_a_token_that_was_changed_anywhere_is_none() -> None:
    of = registry()
    token = of.token(opened(of)[0])
    for place in range(len(base64.urlsafe_b64decode(token))):
        assert of.find(flipped(token, place), Kind.PEER, "") is None


def test_a_token_that_was_cut_short_or_made_longer_is_none() -> None:
    of = registry()
    token = of.token(opened(of)[0])
    for length in range(len(token)):
        assert of.find(token[:length], Kind.PEER, "") is None
    assert of.find("AAAA" + token, Kind.PEER, "") is None
    assert of.find(token[:-4] + "AAAA" + token[-4:], Kind.PEER, "") is None


@given(st.text() | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_no_text_is_a_token_by_chance(text: str) -> None:
    of = registry()
    opened(of)
    assert of.find(text, Kind.PEER, "") is None


def test_a_seal_of_another_secret_is_none() -> None:
    of, other = registry(b"secret"), registry(b"another")
    session, _ = opened(of)
    raw = base64.urlsafe_b64decode(other.token(session))
    assert len(raw) > ID_BYTES + SEAL_BYTES
    assert of.find(other.token(session), Kind.PEER, "") is None
    assert other.find(of.token(session), Kind.PEER, "") is None


def test_a_token_of_another_process_with_the_same_secret_finds_nothing() -> None:
    of, other = registry(), registry()
    assert other.find(of.token(opened(of)[0]), Kind.PEER, "") is None


def test_a_token_is_of_no_use_to_another_kind_or_identity() -> None:
    of = registry()
    session = of.open(Kind.USER, "uma", FakeWire())
    token = of.token(session)
    assert of.find(token, Kind.USER, "uma") is session
    for kind, identity in ((Kind.USER, "eve"), (Kind.USER, ""), (Kind.PEER, "uma"), (Kind.PEER, "")):
        assert of.find(token, kind, identity) is None


def test_the_token_before_the_last_is_good_until_the_client_has_spoken() -> None:
    of = registry()
    session, _ = opened(of)
    first = of.token(session)
    session.attach(FakeWire(), 0)
    second = of.token(session)
    assert first != second
    assert of.find(first, Kind.PEER, "") is of.find(second, Kind.PEER, "") is session
    session.attach(FakeWire(), 0)
    third = of.token(session)
    for token in (first, second, third):  # the replies that brought the later ones may both have been lost
        assert of.find(token, Kind.PEER, "") is session
    session.oldest = session.generation
    assert of.find(first, Kind.PEER, "") is of.find(second, Kind.PEER, "") is None
    assert of.find(third, Kind.PEER, "") is session


def test_a_pong_shows_that_the_client_has_its_token() -> None:
    of = registry()
    session, _ = opened(of)
    first = of.token(session)
    session.attach(FakeWire(), 0)
    put(session)  # the reply that tells the next one
    session.greeted()
    session.ponged(0)
    assert of.find(first, Kind.PEER, "") is session
    session.ponged(1)
    assert of.find(first, Kind.PEER, "") is None


def test_the_token_of_a_session_that_ended_finds_nothing() -> None:
    of = registry()
    session, _ = opened(of)
    token = of.token(session)
    session.end(LeaveReason.DISCONNECTED)
    assert of.find(token, Kind.PEER, "") is None
    assert len(of) == 0


# -------------------------------------------------------------------------------------------------------------- waiting


async def test_a_client_that_means_to_go_is_not_waited_for() -> None:
    of = registry()
    session, wire, membership = await joined(of)
    session.lost(wire, LeaveReason.DISCONNECTED, final=True)
    assert membership.told == [LeaveReason.DISCONNECTED]
    assert session.ended
    assert len(of) == 0


async def test_a_client_in_no_room_is_not_waited_for() -> None:
    session, wire = opened()
    cut(session, wire)
    assert session.ended


async def test_as_many_wait_as_may_and_the_next_leaves_with_its_own_reason() -> None:
    of = registry(max_away=1)
    (first, first_wire, _), (second, second_wire, told) = await joined(of), await joined(of)
    cut(first, first_wire)
    second.lost(second_wire, LeaveReason.TIMEOUT, final=False)
    assert first.away
    assert not first.ended
    assert second.ended
    assert told.told == [LeaveReason.TIMEOUT]
    come_back(first, 0)
    third, third_wire, _ = await joined(of)
    cut(third, third_wire)
    assert not third.ended


async def test_those_who_are_away_for_too_long_end_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "TICK", 0.001)
    window = 0.05
    of = registry(window=window)
    late, late_wire, late_told = await joined(of)
    back, back_wire, back_told = await joined(of)
    again, again_wire, again_told = await joined(of)
    here, _, here_told = await joined(of)
    ending = asyncio.ensure_future(of.end_the_late())
    loop = asyncio.get_running_loop()
    since = loop.time()
    for session, wire in ((late, late_wire), (back, back_wire), (again, again_wire)):
        cut(session, wire)
    back.attach(FakeWire(), 0)
    await asyncio.sleep(0.02)
    again_wire = FakeWire()
    again.attach(again_wire, 0)
    began_anew = loop.time()
    cut(again, again_wire)
    await until(lambda: late.ended, "the end of one who is late")
    first_end = loop.time()
    await until(lambda: again.ended, "the end of one who was late after a second cut")
    second_end = loop.time()
    ending.cancel()
    await asyncio.gather(ending, return_exceptions=True)
    assert first_end - since >= window - CLOCK
    assert second_end - began_anew >= window - CLOCK
    assert late_told.told == ["away", LeaveReason.TIMEOUT]
    assert again_told.told == ["away", "back", "away", LeaveReason.TIMEOUT]
    assert (back_told.told, here_told.told) == (["away", "back"], [])
    assert not back.ended
    assert not here.ended


async def test_a_node_that_stops_ends_those_who_wait() -> None:
    of = registry()
    session, wire, membership = await joined(of)
    cut(session, wire)
    await of.stop()
    assert session.ended
    assert membership.told == ["away", LeaveReason.DISCONNECTED]


async def test_nothing_is_put_after_the_end() -> None:
    session, wire, membership = await joined()
    session.end(LeaveReason.DISCONNECTED)
    session.end(LeaveReason.TIMEOUT)
    assert not session.put(FRAME)
    cut(session, wire)
    assert wire.frames == []
    assert membership.told == [LeaveReason.DISCONNECTED]


@pytest.mark.parametrize("away", [False, True])
async def test_what_a_room_closes_ends_for_good(away: bool) -> None:
    session, wire, membership = await joined()
    if away:
        cut(session, wire)
    session.close(CloseCode.ROOM_LOST)
    assert wire.closes == ([] if away else [CloseCode.ROOM_LOST])
    assert membership.told[-1] is LeaveReason.DISCONNECTED
    assert session.ended


async def test_where_sessions_do_not_wait_there_are_no_numbers_and_no_tokens() -> None:
    of = registry(window=0)
    session, wire, membership = await joined(of)
    assert of.token(session) == ""
    assert of.find(registry().token(session), Kind.PEER, "") is None
    assert len(of) == 0
    put(session)
    assert wire.frames == [FRAME]
    wire.close(CloseCode.GOING_AWAY)
    assert not session.put(FRAME)
    cut(session, wire)
    assert membership.told == [LeaveReason.DISCONNECTED]
    assert not session.put(FRAME)
