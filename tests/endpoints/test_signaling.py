"""Peers over real sockets."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.auth.turn import TurnServers, turn_user
from mcp_actors.protocol.pairs import PairFailure, PairOutcome
from tests.support.tokens import REQUIRED, bearer

if TYPE_CHECKING:
    from tests.support.server import Server

OFFER = {"type": "offer", "sdp": "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"}
CANDIDATE = {"candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ host", "sdpMLineIndex": 0, "sdpMid": "0"}


@pytest.mark.parametrize("path", ["/ws/signaling/", "/ws/signaling"])
async def test_the_messages_of_the_original_document_work_to_the_letter(server: Server, path: str) -> None:
    first, second = await server.client(path), await server.client(path)
    await first.send('{"type": "join", "payload": {"peer_id": "peer123"}, "room": "room123"}')
    await first.expect("joined", peer_id="peer123", order=1)
    await second.send('{"type": "join", "payload": {"peer_id": "peer456"}, "room": "room123"}')
    await second.expect("joined", peer_id="peer456", order=2)
    await first.expect("peer-joined", peer_id="peer456", order=2)
    relayed = [
        (
            '{"type": "offer", "payload": {"target_peer_id": "%s", "offer": {"type": "offer", "sdp": "..."}}, '
            '"room": "room123"}'
        ),
        (
            '{"type": "answer", "payload": {"target_peer_id": "%s", "answer": {"type": "answer", "sdp": "..."}}, '
            '"room": "room123"}'
        ),
        (
            '{"type": "ice-candidate", "payload": {"target_peer_id": "%s", "candidate": '
            '{"candidate": "...", "sdpMLineIndex": 0, "sdpMid": "0"}}, "room": "room123"}'
        ),
    ]
    for template in relayed:
        for number, source, name, target, other in (
            (1, first, "peer123", second, "peer456"),
            (2, second, "peer456", first, "peer123"),
        ):
            text = template % other
            await source.send(text)
            negotiation = f'"negotiation":{number},' if template is relayed[0] else ""
            assert await target.hear_stamped() == '{"sender":"%s",%s%s' % (name, negotiation, text[1:])


async def test_a_join_is_answered_with_the_exact_roster(server: Server) -> None:
    a, b = await server.peer(), await server.peer()
    joined = await a.join("r", "a", metadata={"name": "Ada"})
    assert joined.pop("resume")
    assert joined == {
        "resumed": False,
        "peer_id": "a",
        "order": 1,
        "peers": [{"peer_id": "a", "metadata": {"name": "Ada"}, "order": 1}],
        "ice_servers": [],
        "ping_interval": 10.0,
        "max_message_bytes": 65_536,
    }
    joined = await b.join("r", "b")
    assert [(peer["peer_id"], peer["order"]) for peer in joined["peers"]] == [("a", 1), ("b", 2)]
    assert joined["peers"][0]["metadata"] == {"name": "Ada"}


async def test_a_request_with_an_id_gets_an_answer_with_it(server: Server) -> None:
    a, b = await server.peer(), await server.peer()
    await a.say("join", "r", {"peer_id": "a"}, id="first")
    assert (await a.expect("joined"))["id"] == "first"
    await b.say("join", "r", {"peer_id": "b"}, id=2)
    assert (await b.expect("joined"))["id"] == 2
    await a.expect("peer-joined")
    await b.say("offer", "r", {"target_peer_id": "a", "offer": OFFER}, id=3)
    ack = await b.expect("ack", status="delivered")
    assert (ack["id"], ack["room"]) == (3, "r")
    await b.say("signal", "r", {"target_peer_id": "nobody", "data": 1}, id=4)
    assert (await b.expect("error", code="peer-not-found"))["id"] == 4
    await b.say("leave", "r", id=5)
    left = await b.expect("left", peer_id="b")
    assert left["id"] == 5


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("offer", {"offer": OFFER}),
        ("answer", {"answer": {"type": "answer", "sdp": "é\r\n\u2028"}}),
        ("ice-candidate", {"candidate": CANDIDATE}),
        ("ice-candidate", {"candidate": None}),
        ("ice-candidate", {"candidate": ""}),
        ("signal", {"data": [None, 1.50, {"deep": ["x"]}]}),
        ("signal", {"data": None, "more": "fields are passed on"}),
    ],
)
async def test_a_signal_reaches_only_its_target_with_its_sender_and_otherwise_unchanged(
    server: Server, kind: str, payload: dict[str, Any]
) -> None:
    a, b = await server.pair()
    c = await server.peer()
    await c.join("r", "c")
    await a.expect("peer-joined")
    await b.expect("peer-joined")
    text = ' {\t"payload" : %s,\n "room":"r", "type":"%s" }  ' % (
        json.dumps(payload | {"target_peer_id": "b"}, ensure_ascii=False),
        kind,
    )
    await a.send(text)
    negotiation = '"negotiation":1,' if kind == "offer" else ""
    assert await b.hear_stamped() == '{"sender":"a",' + negotiation + text.lstrip()[1:]
    assert await c.drain("r") == []


async def test_a_binary_frame_is_relayed_as_text(server: Server) -> None:
    a, b = await server.pair()
    text = '{"type":"signal","room":"r","payload":{"target_peer_id":"b","data":"é"}}'
    await a.send(text.encode())
    assert await b.hear_stamped() == '{"sender":"a",' + text[1:]


async def test_messages_right_behind_a_join_find_the_peer_in_the_room(server: Server) -> None:
    a, b = await server.peer(), await server.peer()
    await a.join("r", "a")
    await b.say("join", "r", {"peer_id": "b"})
    await b.say("offer", "r", {"target_peer_id": "a", "offer": OFFER})
    await b.say("leave", "r")
    await b.say("join", "r", {"peer_id": "b2"})
    heard = [(await a.hear())["type"] for _ in range(4)]
    assert heard == ["peer-joined", "offer", "peer-left", "peer-joined"]
    assert [(await b.hear())["type"] for _ in range(3)] == ["joined", "left", "joined"]


async def test_the_room_is_told_when_a_peer_leaves_or_closes_and_why(server: Server) -> None:
    a, b = await server.pair()
    c = await server.peer()
    await c.join("r", "c")
    await a.expect("peer-joined", peer_id="c")
    await b.say("leave", "r")
    await a.expect("peer-left", peer_id="b", reason="left")
    await c.expect("peer-left", peer_id="b", reason="left")
    await c.close()
    await a.expect("peer-left", peer_id="c", reason="disconnected")
    await b.expect("peer-joined")
    await b.expect("left")
    await b.say("leave", "r")
    await b.expect_error("not-in-room")


async def test_a_peer_may_have_another_id_in_each_of_its_rooms(server: Server) -> None:
    a, b = await server.pair()
    await a.join("other", "somebody else")
    await b.join("other", "b")
    await a.expect("peer-joined", peer_id="b")
    await b.say("signal", "other", {"target_peer_id": "somebody else", "data": 1})
    assert (await a.expect("signal"))["room"] == "other"
    await a.close()
    assert {(await b.expect("peer-left"))["room"] for _ in range(2)} == {"r", "other"}


async def test_an_id_is_taken_until_its_holder_leaves(server: Server) -> None:
    a, b = await server.pair()
    thief = await server.peer()
    await thief.say("join", "r", {"peer_id": "a"}, id=1)
    await thief.expect_error("peer-id-taken")
    assert await b.drain("r") == []
    await a.close()
    await b.expect("peer-left")
    await thief.join("r", "a")


@pytest.mark.settings(ice_servers=[{"urls": ["stun:127.0.0.1:3478"]}])
async def test_a_joining_peer_gets_the_ice_servers_of_the_settings(server: Server) -> None:
    peer = await server.peer()
    assert (await peer.join("r", "a"))["ice_servers"] == [{"urls": ["stun:127.0.0.1:3478"]}]


STUN = {"urls": "stun:127.0.0.1:3478"}
URLS = ["turn:127.0.0.1:3478", "turns:127.0.0.1:5349?transport=tcp"]
TURN = {"ice_servers": [STUN], "turn_urls": URLS, "turn_secret": ["north", "south"], "turn_ttl": 600, "debug": True}


def check_turn(payload: dict[str, Any], user: str, started: int) -> None:
    """The ICE servers of a reply: those of the settings, and credentials of 600 seconds made since a moment."""
    stun, turn = payload["ice_servers"]
    assert (stun, payload["ice_servers_expire_in"]) == (STUN, 600)
    ends, _, whose = turn["username"].partition(":")
    assert whose == user
    assert started + 600 <= int(ends) <= time.time() + 600
    assert turn == TurnServers(tuple(URLS), "north", 600).ice_server(user, int(ends) - 600)


@pytest.mark.settings(**TURN)
async def test_a_peer_gets_credentials_for_turn_servers_and_asks_for_new_ones(server: Server) -> None:
    started = int(time.time())
    a, b = await server.pair()
    joined = await (await server.peer()).join("s", "a:b")
    check_turn(joined, turn_user("a:b", "s", verified=False), started)
    await a.say("ice-servers", "r", id="new")
    fresh = await a.hear()
    assert (fresh["type"], fresh["room"], fresh["id"]) == ("ice-servers", "r", "new")
    assert fresh["payload"].keys() == {"ice_servers", "ice_servers_expire_in"}
    check_turn(fresh["payload"], turn_user("a", "r", verified=False), started)
    assert await b.drain("r") == []


@pytest.mark.settings(**TURN)
async def test_only_members_of_a_room_get_ice_servers(server: Server) -> None:
    a = await server.peer()
    await a.say("ice-servers", "r", id=1)
    await a.expect_error("not-in-room")
    await a.join("r", "a")
    await a.say("ice-servers", "s", id=2)
    await a.expect_error("not-in-room")
    await a.say("leave", "r")
    await a.say("ice-servers", "r", id=3)
    assert {(await a.hear())["type"] for _ in range(2)} == {"left", "error"}


@pytest.mark.settings(**TURN, max_room_members=1)
async def test_a_peer_gets_no_ice_servers_before_its_join_is_done(server: Server) -> None:
    await (await server.peer()).join("r", "a")
    b = await server.peer()
    await b.say("join", "r", {"peer_id": "b"}, id=1)
    await b.say("ice-servers", "r", id=2)
    codes = {message["id"]: message["payload"]["code"] for message in [await b.hear(), await b.hear()]}
    assert codes.pop(1) == "room-full"
    assert codes.pop(2) in {"unavailable", "not-in-room"}


@pytest.mark.settings(ice_servers=[STUN])
async def test_without_turn_servers_new_ice_servers_are_those_of_the_settings(server: Server) -> None:
    a = await server.peer()
    joined = await a.join("r", "a")
    assert "ice_servers_expire_in" not in joined
    await a.say("ice-servers", "r")
    assert await a.hear() == {"type": "ice-servers", "room": "r", "payload": {"ice_servers": [STUN]}}


@pytest.mark.settings(**TURN, **REQUIRED)
async def test_a_token_makes_the_user_and_one_that_may_not_signal_gets_no_credentials(server: Server) -> None:
    started = int(time.time())
    alice = await server.peer(**bearer("alice"))
    await alice.expect("authenticated")
    check_turn(await alice.join("r", "alice"), "alice", started)
    bob = await server.peer(**bearer("bob", can=["message"]))
    await bob.expect("authenticated")
    joined = await bob.join("r", "bob")
    assert (joined["ice_servers"], "ice_servers_expire_in" in joined) == ([STUN], False)
    await bob.say("ice-servers", "r")
    await bob.expect("ice-servers", ice_servers=[STUN])


@pytest.mark.settings(**TURN, connection_message_rate=5, connection_message_burst=3, max_slowed_seconds=0.2)
async def test_requests_for_ice_servers_are_limited_as_messages_are(server: Server) -> None:
    a = await server.peer()
    await a.join("r", "a")
    for number in range(20):  # at this rate, they take four seconds
        await a.say("ice-servers", "r", id=number)
    while (reply := await a.hear())["type"] == "ice-servers":
        continue
    assert reply["payload"]["code"] == "rate-limited"


async def test_a_report_is_counted_and_answered_and_nobody_else_is_told(server: Server) -> None:
    a, b = await server.pair()
    await a.say("report", "r", {"pair": "healed", "milliseconds": 1840}, id=7)
    assert await a.hear() == {"type": "ack", "room": "r", "id": 7, "payload": {"status": "counted"}}
    await a.say("report", "r", {"pair": "failed", "reason": "no-turn", "milliseconds": 1})
    assert await a.drain("r") == await b.drain("r") == []
    assert server.app.node.pairs.reports == {
        (PairOutcome.HEALED, None): 1,
        (PairOutcome.FAILED, PairFailure.NO_TURN): 1,
    }
    assert server.app.node.pairs.seconds[PairOutcome.HEALED].sum == 1.84


async def test_only_members_of_a_room_report(server: Server) -> None:
    a, report = await server.peer(), {"pair": "connected", "milliseconds": 1}
    await a.say("report", "r", report, id=1)
    await a.expect_error("not-in-room")
    await a.join("r", "a")
    await a.say("report", "s", report, id=2)
    await a.expect_error("not-in-room")
    assert not server.app.node.pairs.reports


@pytest.mark.settings(max_room_members=1)
async def test_a_peer_reports_nothing_before_its_join_is_done(server: Server) -> None:
    await (await server.peer()).join("r", "a")
    b = await server.peer()
    await b.say("join", "r", {"peer_id": "b"}, id=1)
    await b.say("report", "r", {"pair": "connected", "milliseconds": 1}, id=2)
    codes = {message["id"]: message["payload"]["code"] for message in [await b.hear(), await b.hear()]}
    assert codes.pop(1) == "room-full"
    assert codes.pop(2) in {"unavailable", "not-in-room"}
    assert not server.app.node.pairs.reports


@pytest.mark.settings(connection_message_rate=5, connection_message_burst=3, max_slowed_seconds=0.2)
async def test_reports_are_limited_as_messages_are(server: Server) -> None:
    a = await server.peer()
    await a.join("r", "a")
    for number in range(20):  # at this rate, they take four seconds
        await a.say("report", "r", {"pair": "connected", "milliseconds": 1}, id=number)
    while (reply := await a.hear())["type"] == "ack":
        continue
    assert reply["payload"]["code"] == "rate-limited"
    assert server.app.node.pairs.reports[PairOutcome.CONNECTED, None] < 20
