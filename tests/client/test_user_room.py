"""Messages to a room, and its users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.client import Message, PeerJoined, PeerLeft, Rejoined, UserJoined, UserUpdated, connect, connect_user
from tests.client.scripted import ScriptedServer

if TYPE_CHECKING:
    from tests.support.server import Server


async def test_users_and_peers_see_who_is_there(servers: list[Server]) -> None:
    async with connect_user(servers[0].url(""), "u") as one, connect_user(servers[1].url(""), "v") as other:
        u, v = await one.join("r"), await other.join("r")
        assert await anext(u) == UserJoined(user_id="v")
        await v.update({"name": "V"})
        assert await anext(u) == UserUpdated(user_id="v", metadata={"name": "V"})
        assert u.users["v"].metadata == {"name": "V"}
        async with connect(servers[1].url("")) as third:
            p = await third.join("r", "p")
            assert await anext(u) == PeerJoined(peer_id="p", order=p.order)
            assert list(u.peers) == ["p"]
        assert await anext(u) == PeerLeft(peer_id="p", reason="disconnected")
        assert not u.peers
        await v.send({"any": ["JSON"]})
        assert await anext(u) == Message(sender="v", content={"any": ["JSON"]})


async def test_a_roster_that_the_server_sends_replaces_the_old_one() -> None:
    async with ScriptedServer() as server:
        server.answers |= {"connect": ("connected", {"user_id": "u"}), "join-room": ("room-joined", {"users": []})}
        async with connect_user(server.url, "u") as client:
            room = await client.join("r")
            await server.send(type="room-joined", payload={"users": [{"user_id": "v"}], "peers": [], "locked": True})
            assert await anext(room) == Rejoined(resumed=True)
            assert (list(room.users), room.locked) == (["v"], True)
