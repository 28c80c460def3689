"""Rooms in the admin API, asked at a process that has no members of theirs, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.admin import ask, get, post

if TYPE_CHECKING:
    from tests.support.client import Client
    from tests.support.server import Server


async def members(server: Server) -> tuple[Client, Client]:
    """Peer `a`, with metadata, and user `u` of room `r`."""
    a, u = await server.peer(), await server.user()
    await a.join("r", "a", metadata={"name": "Ada"})
    await u.enter("r", "u")
    return a, u


async def test_a_room_shows_its_members_wherever_they_are(servers: list[Server]) -> None:
    here, there = servers
    await members(here)
    nodes = {here.app.node.id: 2}
    entry = {"room": "r", "peers": 1, "users": 1, "locked": False, "nodes": nodes}
    assert await get(there, "/rooms") == {"rooms": [entry], "next": None}
    common = {"node": here.app.node.id, "order": 1, "detached": False, "verified": False}
    assert await get(there, "/rooms/r") == {
        "room": "r",
        "locked": False,
        "members": [
            {"kind": "peer", "id": "a", "metadata": {"name": "Ada"}, **common},
            {"kind": "user", "id": "u", "metadata": {}, **common},
        ],
        "bans": [],
    }


async def test_a_room_that_nobody_is_in_has_no_members(servers: list[Server]) -> None:
    assert await get(servers[1], "/rooms/%2F") == {"room": "/", "locked": False, "members": [], "bans": []}
    assert await get(servers[1], "/rooms") == {"rooms": [], "next": None}


async def test_rooms_are_listed_a_page_at_a_time(server: Server) -> None:
    a = await server.peer()
    for room in ("b/1", "a", "b 2", "b%3"):
        await a.join(room, "a")
    first = await get(server, "/rooms?limit=2&prefix=b")
    assert ([one["room"] for one in first["rooms"]], first["next"]) == (["b 2", "b%3"], "b%3")
    second = await get(server, "/rooms?limit=2&prefix=b&cursor=b%253")
    assert ([one["room"] for one in second["rooms"]], second["next"]) == (["b/1"], None)
    assert len((await get(server, "/rooms/b%2F1"))["members"]) == 1


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "nothing=1", "token=x"])
async def test_a_query_that_makes_no_sense_is_refused(server: Server, query: str) -> None:
    answer = await ask(server, "GET", f"/rooms?{query}")
    assert (answer.status, answer.content["error"]["code"]) == (400, "bad-request")


async def test_a_lock_keeps_newcomers_out_and_may_be_repeated(servers: list[Server]) -> None:
    here, there = servers
    a, u = await members(here)
    assert await post(there, "/rooms/r/lock") == {"room": "r", "locked": True, "changed": True}
    assert await post(there, "/rooms/r/lock") == {"room": "r", "locked": True, "changed": False}
    for client in (a, u):
        await client.expect("room-locked")
    late = await here.peer()
    await late.say("join", "r", {"peer_id": "late"})
    await late.expect_error("room-locked")
    assert (await get(there, "/rooms/r"))["locked"]
    assert await post(there, "/rooms/r/unlock") == {"room": "r", "locked": False, "changed": True}
    await a.expect("room-unlocked")
    assert await post(there, "/rooms/empty/lock") == {"room": "empty", "locked": False, "changed": False}


async def test_a_room_is_closed_with_the_words_of_the_operator(servers: list[Server]) -> None:
    here, there = servers
    a, u = await members(here)
    words = {"reason": "over", "message": "Good night."}
    assert await post(there, "/rooms/r/close", words) == {"room": "r", "closed": True}
    for client in (a, u):
        await client.expect("room-closed", **words)
        await client.expect_close(4505)
    assert await post(there, "/rooms/r/close") == {"room": "r", "closed": False}
