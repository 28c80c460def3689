"""The base of both endpoints, over real sockets."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.client import Closed
from tests.support.tokens import REQUIRED, bearer

if TYPE_CHECKING:
    from tests.support.server import Server

PATHS = ["/ws/signaling/", "/ws/mcp/"]
MODERATION = [("kick", {"peer_id": "b"}), ("lock", {}), ("unlock", {}), ("close-room", {})]


@pytest.mark.parametrize(("kind", "payload"), MODERATION)
async def test_moderation_is_forbidden_without_tokens(server: Server, kind: str, payload: dict[str, str]) -> None:
    a, b = await server.pair()
    await a.say(kind, "r", payload, id=1)
    error = await a.expect("error", code="forbidden")
    assert (error["id"], error["room"]) == (1, "r")
    assert await b.drain("r") == []


@pytest.mark.settings(**REQUIRED)
@pytest.mark.parametrize(("kind", "payload"), MODERATION)
async def test_a_moderator_must_be_in_the_room(server: Server, kind: str, payload: dict[str, str]) -> None:
    moderator = await server.peer(**bearer("m", can=["moderate"]))
    await moderator.expect("authenticated")
    await moderator.say(kind, "r", payload)
    await moderator.expect_error("not-in-room")


@pytest.mark.parametrize("path", PATHS)
async def test_a_ping_is_answered_at_any_time_and_is_no_part_of_the_session(server: Server, path: str) -> None:
    client = await server.client(path)
    await client.send('{"type":"ping"}')
    assert await client.hear() == {"type": "pong"}
    await client.say("ping", None, {}, id="p")
    assert await client.hear() == {"type": "pong", "id": "p"}
    await (client.join("r", "a") if path == PATHS[0] else client.enter("r", "a"))
    so_far = client.received
    await client.say("ping", None, id=0)
    assert await client.hear() == {"type": "pong", "id": 0}
    assert client.received == so_far


@pytest.mark.settings(max_bad_messages=2)
@pytest.mark.parametrize("path", PATHS)
async def test_pings_never_add_up_to_a_close(server: Server, path: str) -> None:
    client = await server.client(path)
    for _ in range(50):
        await client.send('{"type":"ping"}')
    for _ in range(50):
        assert await client.hear() == {"type": "pong"}


@pytest.mark.settings(first_message_timeout=1.0)
@pytest.mark.parametrize("path", PATHS)
async def test_a_ping_is_no_first_message(server: Server, path: str) -> None:
    client = await server.client(path)
    await client.send('{"type":"ping"}')
    await client.expect("pong")
    await client.expect_close(4510)


@pytest.mark.settings(ping_interval=0.1, idle_timeout=0.5)
async def test_pings_do_not_keep_a_connection_open_that_is_in_no_room(server: Server) -> None:
    client = await server.peer()
    closed: Closed | None = None
    while closed is None:
        with suppress(ConnectionClosed):  # `expect` tells how
            await client.send('{"type":"ping"}')
        try:
            await client.expect("pong")
        except Closed as end:
            closed = end
    assert closed.code == 4510


@pytest.mark.settings(ping_interval=3)
async def test_both_endpoints_tell_the_heartbeat_and_the_largest_message(server: Server) -> None:
    joined = await (await server.peer()).join("r", "a")
    user = await server.user()
    await user.say("connect", None, {"user_id": "u"})
    connected = (await user.expect("connected"))["payload"]
    for payload in (joined, connected):
        assert (payload["ping_interval"], payload["max_message_bytes"]) == (3.0, 65_536)
