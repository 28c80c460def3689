"""The rooms of a server, as the application in which it runs moderates them; in one process and in two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors.protocol.errors import NotInRoom, PeerNotFound
from mcp_actors.rooms import Rooms

if TYPE_CHECKING:
    from tests.support.client import Client
    from tests.support.server import Server


async def members(servers: list[Server]) -> tuple[Client, Client]:
    """Peer `a` and user `u` of room `r`, at the first and at the second server, with nothing left to hear."""
    a, u = await servers[0].peer(), await servers[1].user()
    await a.join("r", "a")
    await u.enter("r", "u")
    return a, u


async def test_a_room_is_known_by_its_members(servers: list[Server]) -> None:
    rooms = Rooms(servers[0].app.node)
    assert list(rooms) == []
    await members(servers)
    assert (list(rooms), len(rooms), "r" in rooms, "s" in rooms) == (["r"], 1, True, False)
    assert {member.id for member in rooms["r"].members} >= {"a"}
    assert rooms["s"].members == []


async def test_all_members_hear_what_is_sent(servers: list[Server]) -> None:
    a, u = await members(servers)
    for number, server in enumerate(servers):
        content = {"text": "Five minutes, é", "number": number}
        await Rooms(server.app.node)["r"].send(content)
        for client in (a, u):
            told = await client.expect("announcement", content=content)
            assert (told["room"], "sender" in told) == ("r", False)


async def test_what_json_cannot_hold_is_not_sent(server: Server) -> None:
    a = await server.peer()
    await a.join("r", "a")
    with pytest.raises(TypeError):
        await Rooms(server.app.node)["r"].send(object())
    assert await a.drain("r") == []


async def test_no_client_can_announce(server: Server) -> None:
    a = await server.peer()
    await a.join("r", "a")
    await a.send('{"type": "announce", "room": "r", "content": 1}')
    await a.expect_error("bad-message")


async def test_a_member_is_kicked_and_banned(servers: list[Server]) -> None:
    a, u = await members(servers)
    room = Rooms(servers[1].app.node)["r"]
    await room.kick(peer_id="a", reason="spam", message="Enough.", ban_seconds=60)
    await a.expect("kicked", peer_id="a", reason="spam", message="Enough.")
    await u.expect("peer-left", peer_id="a", reason="kicked")
    again = await servers[0].peer()
    await again.say("join", "r", {"peer_id": "a"})
    await again.expect_error("banned")
    await room.unban(peer_id="a")
    await again.join("r", "a")
    with pytest.raises(PeerNotFound):
        await room.kick(user_id="nobody")
    with pytest.raises(PeerNotFound):
        await room.unban(user_id="nobody")
    with pytest.raises(TypeError, match="either"):
        await room.kick(peer_id="a", user_id="u")


async def test_a_lock_keeps_clients_out_until_it_is_lifted(servers: list[Server]) -> None:
    a, u = await members(servers)
    room = Rooms(servers[0].app.node)["r"]
    await room.lock()
    for client in (a, u):
        assert (await client.hear())["type"] == "room-locked"
    late = await servers[1].peer()
    await late.say("join", "r", {"peer_id": "late"})
    await late.expect_error("room-locked")
    await room.unlock()
    await late.join("r", "late")


async def test_a_closed_room_is_left_by_all(servers: list[Server]) -> None:
    a, u = await members(servers)
    room = Rooms(servers[0].app.node)["r"]
    await room.close(reason="over", message="See you.")
    for client in (a, u):
        told = await client.hear()
        assert (told["type"], told["payload"]) == ("room-closed", {"reason": "over", "message": "See you."})
    with pytest.raises(NotInRoom):
        await room.lock()


async def test_a_lone_member_can_be_kicked(server: Server) -> None:
    a = await server.peer()
    await a.join("r", "a")
    room = Rooms(server.app.node)["r"]
    await room.kick(peer_id="a")
    await a.expect("kicked")


async def test_a_room_without_members_cannot_be_moderated(server: Server) -> None:
    with pytest.raises(NotInRoom, match="'r' has no members"):
        await Rooms(server.app.node)["r"].send("hello")
