"""The administration of a single process."""

from __future__ import annotations

import asyncio

import pytest

from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.broker.memory_administration import SLICE
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import RoomId
from tests.broker.administration_contract import AdministrationContract
from tests.broker.contract import MAX_ROOM_BANS, Recorder


class TestMemoryAdministration(AdministrationContract):
    @pytest.fixture
    def broker(self) -> MemoryBroker:
        return MemoryBroker(max_room_bans=MAX_ROOM_BANS)


async def test_a_single_process_shares_rooms_with_no_nodes() -> None:
    assert await MemoryBroker().administration.nodes() == ()


async def test_others_run_while_many_rooms_are_listed() -> None:
    broker = MemoryBroker()
    recorder = Recorder(broker)
    for number in range(3 * SLICE):
        await recorder.joins(Kind.PEER, "ana", room=RoomId(f"room {number}"))
    listing = asyncio.ensure_future(broker.administration.list_rooms("room 1", "", 10))
    turns = 0
    while not listing.done():
        await asyncio.sleep(0)
        turns += 1
        broker.abandon(RoomId("room 10"))  # a room may disappear meanwhile
    assert turns >= 3
    page = await listing
    assert [room.name for room in page.rooms][:3] == ["room 1", "room 100", "room 1000"]
    assert (len(page.rooms), page.next) == (9, "room 1006")
