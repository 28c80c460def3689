"""Users over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.server import Server


@pytest.mark.parametrize("path", ["/ws/mcp/", "/ws/mcp"])
async def test_the_messages_of_the_original_document_work_to_the_letter(server: Server, path: str) -> None:
    other = await server.user()
    await other.enter("room123", "user456")
    user = await server.client(path)
    await user.send('{"type": "connect", "payload": {"user_id": "user123"}}')
    connected = await user.expect("connected", user_id="user123")
    assert connected["payload"]["server"]["name"] == "mcp_actors"
    await user.send('{"type": "join-room", "payload": {}, "room": "room123"}')
    await user.expect("room-joined", users=[{"user_id": "user456"}, {"user_id": "user123"}], peers=[])
    await other.expect("user-joined", user_id="user123")
    text = '{"type": "message", "payload": {"content": "Hello, room!"}, "room": "room123"}'
    await user.send(text)
    assert await other.hear_stamped() == '{"sender":"user123",' + text[1:]
    await user.send('{"type": "leave-room", "payload": {}, "room": "room123"}')
    await user.expect("room-left", user_id="user123")
    await other.expect("user-left", user_id="user123", reason="left")


@pytest.mark.parametrize("content", ["text", 0, False, "", [], {"any": ["json", None]}, 1e300])
async def test_content_may_be_any_json_but_null(server: Server, content: Any) -> None:
    a, b = await server.user(), await server.user()
    await a.enter("r", "a")
    await b.enter("r", "b")
    await a.expect("user-joined")
    await a.say("message", "r", {"content": content}, id=1)
    assert (await a.expect("ack", status="delivered"))["id"] == 1
    assert await b.expect("message", content=content) == {
        "sender": "a",
        "type": "message",
        "room": "r",
        "payload": {"content": content},
        "id": 1,
    }
    await a.say("message", "r", {"content": None})
    assert (await a.expect_error("bad-message"))["details"] == {"field": "payload.content"}


async def test_a_user_must_connect_first_and_under_one_id(server: Server) -> None:
    user = await server.user()
    for kind, payload in (("join-room", {}), ("leave-room", {}), ("message", {"content": 1})):
        await user.say(kind, "r", payload)
        await user.expect_error("not-connected")
    await user.say("connect", None, {"user_id": "a"}, id=1)
    assert (await user.expect("connected"))["id"] == 1
    await user.say("connect", None, {"user_id": "a"})
    await user.expect("connected", user_id="a")
    await user.say("connect", None, {"user_id": "b"})
    assert (await user.expect_error("bad-message"))["details"] == {"field": "payload.user_id"}
    await user.say("message", "r", {"content": 1})
    await user.expect_error("not-in-room")


async def test_a_user_with_several_connections_is_listed_once_and_leaves_with_the_last(server: Server) -> None:
    watcher, tab, other_tab = await server.user(), await server.user(), await server.user()
    await watcher.enter("r", "watcher")
    await tab.enter("r", "ada")
    await watcher.expect("user-joined", user_id="ada")
    roster = await other_tab.enter("r", "ada")
    assert roster["users"] == [{"user_id": "watcher"}, {"user_id": "ada"}]
    await tab.say("message", "r", {"content": "to all but this connection"})
    assert (await other_tab.expect("message"))["sender"] == "ada"
    await watcher.expect("message")
    await tab.close()
    await other_tab.say("message", "r", {"content": "still here"})
    await watcher.expect("message")
    await other_tab.close()
    await watcher.expect("user-left", user_id="ada", reason="disconnected")


async def test_users_see_the_peers_of_their_room_and_peers_do_not_see_users(server: Server) -> None:
    peer, user = await server.peer(), await server.user()
    await peer.join("r", "p", metadata={"name": "Ada"})
    roster = await user.enter("r", "u")
    assert roster["peers"] == [{"peer_id": "p", "metadata": {"name": "Ada"}, "order": 1}]
    late = await server.peer()
    await late.join("r", "late")
    await user.expect("peer-joined", peer_id="late", order=2)
    await user.say("message", "r", {"content": "for users"})
    await late.close()
    await user.expect("peer-left", peer_id="late", reason="disconnected")
    assert [message["type"] for message in await peer.drain("r")] == ["peer-joined", "peer-left"]
