"""Observers of an application: events in order, and what becomes of an observer that fails or is slow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.environment import load
from mcp_actors.observing import (
    EventsDropped,
    MemberJoined,
    MemberLeft,
    MessageSent,
    Observing,
    RoomEnded,
    RoomEvent,
    RoomOpened,
)
from mcp_actors.protocol.events import Kind, LeaveReason
from mcp_actors.protocol.identifiers import RoomId
from mcp_actors.signaling_server import SignalingServer
from tests.support.loop import until
from tests.support.mounted import InTornado

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mcp_actors.observing import Observer
    from tests.conftest import ExpectedLogs


class Recorder:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[RoomEvent] = []

    async def __call__(self, event: RoomEvent) -> None:
        await asyncio.sleep(0)
        self.told.append(event)


def serving(directory: Path, observers: Sequence[Observer], **settings: Any) -> InTornado:
    return InTornado(SignalingServer(load(overrides=settings, environ={}, directory=directory), observers=observers))


async def test_observers_are_told_everything_in_order(tmp_path: Path) -> None:
    recorder, plain = Recorder(), list[RoomEvent]()
    server = serving(tmp_path, [recorder, plain.append])
    await server.start()
    a, u = await server.peer(), await server.user()
    await a.join("r", "a", metadata={"name": "A"})
    await u.enter("r", "u")
    for number in range(3):
        await u.say("message", "r", {"content": {"n": number}})
    await u.say("leave-room", "r")
    await u.expect("room-left")
    await server.stop()
    expected: list[RoomEvent] = [
        RoomOpened("r"),
        MemberJoined("r", Kind.PEER, "a", False, {"name": "A"}),
        MemberJoined("r", Kind.USER, "u", False, {}),
        *(MessageSent("r", Kind.USER, "u", False, {}, b'{"n": %d}' % number) for number in range(3)),
        MemberLeft("r", Kind.USER, "u", False, {}, LeaveReason.LEFT),
        MemberLeft("r", Kind.PEER, "a", False, {"name": "A"}, LeaveReason.DISCONNECTED),
        RoomEnded("r"),
    ]
    assert recorder.told == plain == expected
    assert [event.content for event in plain if isinstance(event, MessageSent)] == [
        {"n": number} for number in range(3)
    ]


async def test_an_observer_may_answer_into_the_room(tmp_path: Path) -> None:
    async def greet(event: RoomEvent) -> None:
        if isinstance(event, MemberJoined):
            await server.signaling.rooms[event.room].send(f"Hello, {event.id}")

    server = serving(tmp_path, [greet])
    await server.start()
    a = await server.peer()
    await a.join("r", "a")
    await a.expect("announcement", content="Hello, a")
    await server.stop()


@pytest.mark.parametrize("is_async", [True, False])
async def test_an_observer_that_fails_is_logged_once_and_told_everything_all_the_same(
    tmp_path: Path, is_async: bool, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.observers", "observer failed")
    recorder, told = Recorder(), []

    def fail(event: RoomEvent) -> None:
        told.append(event)
        raise RuntimeError("no luck")

    async def fail_later(event: RoomEvent) -> None:
        fail(event)

    server = serving(tmp_path, [fail_later if is_async else fail, recorder])
    await server.start()
    a, b = await server.peer(), await server.peer()
    await a.join("r", "a")
    await b.join("r", "b")
    await a.expect("peer-joined", peer_id="b")
    await server.stop()
    assert told == recorder.told
    assert len(expected_logs.records) == 1


async def test_an_observer_that_hangs_delays_nobody_and_is_told_how_much_it_missed(
    tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.observers", "observer is too slow")
    goes_on, told, recorder = asyncio.Event(), list[RoomEvent](), Recorder()

    async def hang(event: RoomEvent) -> None:
        told.append(event)
        await goes_on.wait()

    server = serving(tmp_path, [hang, recorder], max_observer_events=2)
    await server.start()
    user, other = await server.user(), await server.user()
    await user.enter("r", "u")
    await other.enter("r", "o")
    await user.expect("user-joined")
    for number in range(5):
        await user.say("message", "r", {"content": number})
        await other.expect("message", content=number)
    await until(lambda: len(recorder.told) == 8, "the other observer")
    goes_on.set()
    await until(lambda: len(told) == 3, "what was kept")
    await user.say("message", "r", {"content": "later"})
    await until(lambda: len(told) == 5, "what came later")
    assert told[3] == EventsDropped(5)
    assert isinstance(told[4], MessageSent)
    await server.stop()


async def test_stopping_does_not_wait_for_an_observer_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_actors.observing.CLOSE_TIMEOUT", 0.01)

    async def hang(_event: RoomEvent) -> None:
        await asyncio.Event().wait()

    observing = Observing([hang], 10)
    observing.room_opened(RoomId("r"))
    await observing.close()
    observing.room_closed(RoomId("r"))
