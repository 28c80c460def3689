"""Rooms: who is there, what they say, and what moderators do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.client.behaviours.driver import Refused
from tests.support.tokens import REQUIRED, token

if TYPE_CHECKING:
    from tests.client.behaviours.conftest import Connects
    from tests.support.server import Server

DESCRIPTION = {"type": "offer", "sdp": "v=0"}
CANDIDATE = {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}


def told(detail: Any, *names: str) -> dict[str, Any]:
    """Some fields of a detail; the clients may leave out what is false, and have more."""
    return {name: detail.get(name) for name in names}


async def test_a_join_shows_who_is_there_and_others_are_told_in_order(server: Server, connect: Connects) -> None:
    a = await (await connect.peer(server)).join("r", "a", metadata={"name": "Ada"})
    b = await (await connect.peer(server)).join("r", "b")
    c = await (await connect.peer(server)).join("r", "c", metadata={"name": "Zoë"})
    views = [await room.view() for room in (a, b, c)]
    assert [view["peerId"] for view in views] == ["a", "b", "c"]
    assert views[0]["order"] < views[1]["order"] < views[2]["order"]
    assert list(views[2]["peers"].items()) == [("a", {"name": "Ada"}), ("b", {})]
    await b.call("update", value={"muted": True})
    await c.call("leave")
    joined_b, joined_c, updated, left = await a.hear("peer-joined", "peer-joined", "peer-updated", "peer-left")
    assert told(joined_b, "peerId", "order", "metadata") == {"peerId": "b", "order": views[1]["order"], "metadata": {}}
    assert told(joined_c, "peerId", "metadata") == {"peerId": "c", "metadata": {"name": "Zoë"}}
    assert told(updated, "peerId", "metadata") == {"peerId": "b", "metadata": {"muted": True}}
    assert told(left, "peerId", "reason") == {"peerId": "c", "reason": "left"}
    assert (await a.view())["peers"] == {"b": {"muted": True}}
    assert (await c.hear("peer-updated", "ended"))[1]["code"] == "left"
    assert not (await c.view())["joined"]


async def test_signals_of_all_kinds_arrive_with_the_number_of_their_offer(server: Server, connect: Connects) -> None:
    a = await (await connect.peer(server)).join("r", "a")
    b = await (await connect.peer(server)).join("r", "b")
    await a.hear("peer-joined")
    for number in (1, 2):
        assert await b.send("offer", "a", DESCRIPTION) == "delivered"
        assert await b.send("candidate", "a", CANDIDATE) == "delivered"
        offer, candidate = await a.hear("offer", "ice-candidate")
        assert told(offer, "sender", "offer", "negotiation") == {
            "sender": "b",
            "offer": DESCRIPTION,
            "negotiation": number,
        }
        assert told(candidate, "candidate", "negotiation") == {"candidate": CANDIDATE, "negotiation": number}
        await a.send("answer", "b", {"type": "answer", "sdp": "v=0"})
        await a.send("candidate", "b", None)
        answer, last = await b.hear("answer", "ice-candidate")
        assert told(answer, "sender", "answer", "negotiation") == {
            "sender": "a",
            "answer": {"type": "answer", "sdp": "v=0"},
            "negotiation": number,
        }
        assert told(last, "candidate", "negotiation") == {"candidate": None, "negotiation": number}
    with pytest.raises(Refused) as refused:
        await a.send("answer", "b", {"type": "answer", "sdp": "v=0"}, negotiation=1)
    assert refused.value.code == "stale-negotiation"
    for data in (None, [1, {"a": None}], "\ud83d", "Zoë"):
        await a.send("signal", "b", data)
        assert (await b.hear("signal"))[0]["data"] == data


async def test_errors_of_the_server_have_their_code_and_cost_nothing(server: Server, connect: Connects) -> None:
    one, other = await connect.peer(server), await connect.peer(server)
    a = await one.join("r", "a")
    with pytest.raises(Refused) as taken:
        await other.join("r", "a")
    assert (taken.value.code, taken.value.retryable) == ("peer-id-taken", True)
    with pytest.raises(Refused) as twice:
        await one.join("r", "b")
    assert twice.value.code == "already-in-room"
    with pytest.raises(Refused) as nobody:
        await a.send("signal", "b", 1)
    assert (nobody.value.code, nobody.value.retryable) == ("peer-not-found", False)
    with pytest.raises(Refused) as big:
        await a.send("signal", "b", "x" * 70_000)
    assert big.value.code == "message-too-big"
    b = await other.join("r", "b")
    await a.send("signal", "b", 1)
    assert await b.data(1) == [1]


@pytest.mark.settings(**REQUIRED)
async def test_moderators_kick_ban_and_lock_and_the_others_are_told_why(server: Server, connect: Connects) -> None:
    moderator = await connect.peer(server, tokens=[token("mod", can=["signal", "moderate"])])
    moderated = await moderator.join("r")
    client = await connect.peer(server, tokens=[token("ada")])
    kicked, other = await client.join("r"), await client.join("s")
    await moderated.call("kick", peerId="ada", reason="spam", message="No advertising.", banSeconds=60)
    [ended] = await kicked.hear("ended")
    assert told(ended, "code", "reason", "message") == {
        "code": "kicked",
        "reason": "spam",
        "message": "No advertising.",
    }
    _, left = await moderated.hear("peer-joined", "peer-left")
    assert told(left, "peerId", "reason") == {"peerId": "ada", "reason": "kicked"}
    with pytest.raises(Refused) as banned:
        await client.join("r")
    assert banned.value.code == "banned"
    await other.call("update", value={"still": "here"})

    await moderated.call("lock")
    late = await connect.peer(server, tokens=[token("late")])
    with pytest.raises(Refused) as locked:
        await late.join("r")
    assert locked.value.code == "room-locked"
    await moderated.call("unlock")
    present = await late.join("r")
    await moderated.call("lock")
    assert [change["locked"] for change in await present.hear("lock-changed")] == [True]
    assert (await present.view())["locked"]
    await moderated.call("close-room", reason="over", message="See you.")
    [ended] = await present.hear("ended")
    assert told(ended, "code", "reason", "message") == {
        "code": "room-closed",
        "reason": "over",
        "message": "See you.",
    }


async def test_users_hear_each_other_and_see_who_is_there(server: Server, connect: Connects) -> None:
    ada = await (await connect.user(server, userId="ada")).join("r")
    grace = await (await connect.user(server, userId="grace")).join("r")
    assert told((await ada.hear("user-joined"))[0], "userId") == {"userId": "grace"}
    await grace.call("send", value={"text": "Hello!"})
    [message] = await ada.hear("message")
    assert told(message, "sender", "content") == {"sender": "grace", "content": {"text": "Hello!"}}
    assert (await grace.view())["users"] == ["ada", "grace"]
    await grace.call("leave")
    assert told((await ada.hear("user-left"))[0], "userId", "reason") == {"userId": "grace", "reason": "left"}


@pytest.mark.settings(turn_urls=["turn:turn.example.org"], turn_secret=["x" * 32], turn_ttl=60)
async def test_ice_servers_are_renewed(server: Server, connect: Connects) -> None:
    a = await (await connect.peer(server)).join("r", "a")
    [given] = (await a.view())["iceServers"]
    assert given["username"].endswith(":a~mbENkxPk") or ":a" in given["username"]
    await a.call("renew-ice-servers")
    [event] = await a.hear("ice-servers")
    assert event["iceServers"] == (await a.view())["iceServers"]
    assert [server["urls"] for server in event["iceServers"]] == [["turn:turn.example.org"]]
