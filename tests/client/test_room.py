"""The common base of the rooms of peers and of users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors.client import Announcement, Peer, PeerJoined, PeerLeft, SignalingError, connect, connect_user
from tests.client.scripted import ScriptedServer
from tests.support.tokens import REQUIRED, token

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs
    from tests.support.server import Server


async def test_a_room_is_left_at_the_end_of_its_block(server: Server) -> None:
    async with connect(server.url("")) as one, connect(server.url("")) as other:
        a = await one.join("r", "a")
        async with await other.join("r", "b"):
            assert isinstance(await anext(a), PeerJoined)
        assert await anext(a) == PeerLeft(peer_id="b", reason="left")
        await a.leave()
        await a.leave()
        assert one.rooms == {}


async def test_a_room_is_up_to_date_when_its_event_is_read() -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        room = await client.join("r", "a")
        await server.send(type="peer-joined", payload={"peer_id": "b", "order": 2, "metadata": {"n": 1}})
        await server.send(type="room-locked")
        await server.send(type="peer-updated", payload={"peer_id": "unknown", "metadata": {}})
        await server.send(type="announcement", payload={"content": "Hello!"})
        events = [await anext(room) for _ in range(4)]
        assert events[-1] == Announcement(content="Hello!")
        assert room.peers["b"] == Peer(peer_id="b", order=2, metadata={"n": 1})
        assert room.locked


async def test_a_message_of_another_shape_is_passed_over(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.client.room", "A message of the server is not understood: Expected `str`, got `int`")
    async with ScriptedServer() as server, connect(server.url) as client:
        room = await client.join("r", "a")
        await server.send(type="peer-left", payload={"peer_id": 1, "reason": "left"})
        await server.send(type="peer-left", payload={"peer_id": "b", "reason": "left"})
        assert await anext(room) == PeerLeft(peer_id="b", reason="left")


@pytest.mark.settings(**REQUIRED)
async def test_a_member_that_may_not_moderate_is_told_so(server: Server) -> None:
    async with connect_user(server.url(""), token=token("ada")) as client:
        room = await client.join("r")
        for request in (room.kick(user_id="bob"), room.unban(peer_id="bob"), room.bans(), room.lock(), room.close()):
            with pytest.raises(SignalingError, match="forbidden"):
                await request
        with pytest.raises(ValueError, match="either a peer_id or a user_id"):
            await room.kick()


@pytest.mark.settings(**REQUIRED)
async def test_a_room_that_a_new_token_does_not_allow_ends_with_the_reason(server: Server) -> None:
    tokens = [token("ada", 3, rooms=["r"]), token("ada", 60)]
    async with connect(server.url(""), token=tokens.pop) as client:
        await client.join("r")
        room = await client.join("s")
        await client.authenticate()
        with pytest.raises(SignalingError, match="forbidden"):
            await anext(room)
        assert set(client.rooms) == {"r"}
