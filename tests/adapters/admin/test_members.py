"""Members of rooms in the admin API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.admin import ask, get, post

if TYPE_CHECKING:
    from tests.support.server import Server


async def test_a_member_is_kicked_at_the_process_that_it_is_at(servers: list[Server]) -> None:
    here, there = servers
    a, b = await here.pair()
    kicked = {"room": "r", "kind": "peer", "id": "b"}
    words = {"reason": "spam", "message": "Stop it."}
    assert await post(there, "/rooms/r/members/peer/b/kick", words) == {**kicked, "removed": True, "banned": False}
    await b.expect("kicked", peer_id="b", **words)
    await b.expect_close(4504)
    await a.expect("peer-left", peer_id="b", reason="kicked")
    assert await post(there, "/rooms/r/members/peer/b/kick") == {**kicked, "removed": False, "banned": False}


async def test_a_ban_keeps_an_id_out_whether_it_is_there_or_not(servers: list[Server]) -> None:
    here, there = servers
    u = await here.user()
    await u.enter("r", "u /é")
    for removed in (True, False):
        answer = await post(there, "/rooms/r/members/user/u%20%2F%C3%A9/kick", {"ban_seconds": 60, "reason": "spam"})
        assert (answer["id"], answer["removed"], answer["banned"]) == ("u /é", removed, True)
    await u.expect("kicked", ban_seconds=60)
    again = await here.user()
    await again.say("connect", payload={"user_id": "u /é"})
    await again.expect("connected")
    await again.say("join-room", "r")
    await again.expect_error("banned")
    (ban,) = (await get(there, "/rooms/r"))["bans"]
    assert 0 < ban.pop("expires_in") <= 60
    assert ban == {"kind": "user", "id": "u /é", "by": "", "reason": "spam", "message": "", "address": False}


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        ("/rooms/r/members/robot/a/kick", None, "is 'peer' or 'user', not 'robot'"),
        ("/rooms/r/members/peer/%20a/kick", None, "start or end with a space"),
        ("/rooms/r%0A/members/peer/a/kick", None, "printable"),
        (f"/rooms/{'r' * 129}/members/peer/a/kick", None, "at most 128 characters"),
        ("/rooms/r/members/peer/a/kick", {"ban_seconds": -1}, ">= 0"),
        ("/rooms/r/members/peer/a/kick", {"ban_seconds": 2_592_001}, "MCP_ACTORS_MAX_BAN_SECONDS"),
        ("/rooms/r/members/peer/a/kick", {"reason": "two  spaces"}, "spaces"),
        ("/rooms/r/members/peer/a/kick", {"reason": "x" * 65}, "length <= 64"),
        ("/rooms/r/members/peer/a/kick", {"message": "x" * 501}, "length <= 500"),
        ("/rooms/r/members/peer/a/kick", {"seconds": 5}, "unknown field `seconds`"),
        ("/rooms/r/members/peer/a/kick", [], "Expected `object`"),
    ],
)
async def test_a_kick_that_makes_no_sense_is_refused_with_what_to_change(
    server: Server, path: str, body: Any, problem: str
) -> None:
    answer = await ask(server, "POST", path, body)
    assert (answer.status, answer.content["error"]["code"]) == (400, "bad-request")
    assert problem in answer.content["error"]["message"]


@pytest.mark.settings(max_room_bans=1)
async def test_a_ban_beyond_the_limit_of_a_room_is_refused(servers: list[Server]) -> None:
    await post(servers[1], "/rooms/r/members/peer/a/kick", {"ban_seconds": 60})
    answer = await ask(servers[1], "POST", "/rooms/r/members/peer/b/kick", {"ban_seconds": 60})
    assert (answer.status, answer.content["error"]["code"]) == (409, "limit-reached")
    assert "MCP_ACTORS_MAX_ROOM_BANS" in answer.content["error"]["message"]
