"""Watching rooms for listeners."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mcp_actors.adapters.mcp.room_access import RoomAccess
from mcp_actors.adapters.mcp.room_watch import RoomWatch, TooManyRooms
from mcp_actors.protocol.identifiers import RoomId
from tests.support.loop import until

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.support.server import Server

A, B = RoomId("a"), RoomId("b")


class Listener:
    """A listener that records what it is told."""

    def __init__(self, *rooms: RoomId, wants_list: bool = False) -> None:
        self.rooms: Collection[RoomId] = set(rooms)
        self.wants_list = wants_list
        self.told: list[object] = []

    def roster_changed(self, room: RoomId) -> None:
        self.told.append(room)

    def list_changed(self, rooms: Collection[RoomId]) -> None:
        self.told.append(set(rooms))


async def test_each_listener_is_told_what_it_asked_for(server: Server) -> None:
    watch = RoomWatch(RoomAccess(server.app.node, is_open=True), 9)
    running = asyncio.create_task(watch.run())
    one, other, lists = Listener(A), Listener(B), Listener(wants_list=True)
    async with watch.listening(one), watch.listening(other), watch.listening(lists):
        person = await server.user()
        await person.enter("a", "ada")
        await until(lambda: one.told and lists.told, "the change")
        assert (one.told, other.told, lists.told) == ([A], [], [{A}])
    assert len(watch) == 0
    running.cancel()
    await asyncio.wait([running])


async def test_rooms_of_several_listeners_count_once(server: Server) -> None:
    watch = RoomWatch(RoomAccess(server.app.node, is_open=True), 1)
    async with watch.listening(Listener(A)), watch.listening(Listener(A)):
        with pytest.raises(TooManyRooms):
            async with watch.listening(Listener(B)):
                pass
    async with watch.listening(Listener(B)):
        assert len(watch) == 1
