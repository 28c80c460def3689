"""What clients of y-webrtc and trystero are refused, how they are told, and that nobody else notices."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from mcp_actors.auth.authorization import Handshake, JoinRequest, Refused
from mcp_actors.auth.grants import Grant, Permission
from mcp_actors.protocol.identifiers import RoomId, UserId
from mcp_actors.protocol.messages import Kick, KickPayload
from tests.support.admin import get
from tests.support.asgi import AsgiServer
from tests.support.tokens import OPTIONAL, REQUIRED, token
from tests.support.y_webrtc import ROOM_OF, Pages, YClient, count, has

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ExpectedLogs
    from tests.support.server import Server

TOPIC = "notes"

pytestmark = pytest.mark.settings(gateways="y-webrtc")

MALFORMED: list[str | bytes] = [
    *("", " ", "{", "[]", "null", "1", '"publish"', "{}", "\x00", "[" * 5000, '{"type":' * 5000),
    *(b"\xff", b'{"type":"ping"', b'{"type":"publish","topic":"notes","data":"\xff"}'),
    *('{"type":5}', '{"type":null}', '{"type":["publish"]}', '{"topics":["notes"]}'),
    *('{"type":"subscribe"}', '{"type":"subscribe","topics":"notes"}', '{"type":"subscribe","topics":[["notes"]]}'),
    *('{"type":"subscribe","topics":[null]}', '{"type":"subscribe","topics":[""]}', '{"type":"subscribe","topic":{}}'),
    *('{"type":"unsubscribe"}', '{"type":"unsubscribe","topics":[1]}', '{"type":"unsubscribe","topic":""}'),
    *('{"type":"publish"}', '{"type":"publish","topic":1,"data":1}', '{"type":"publish","topic":"notes"}'),
    *('{"type":"publish","topic":"notes","data":}', '{"type":"publish","topic":"","data":1}'),
    *('{"type":"publish","topic":"other","data":1}', '{"type":"publish","data":{"from":"ada"}}'),
    json.dumps({"type": "publish", "topic": TOPIC, "data": "x" * 70_000}),
]


async def refused(client: YClient, code: str, topic: str | None = None) -> str:
    """The text of the next message, which is this error."""
    error = await client.hear()
    assert (error["type"], error["code"], error.get("topic")) == ("error", code, topic), error
    return str(error["message"])


async def test_a_malformed_frame_is_answered_and_others_go_on(server: Server) -> None:
    async with Pages() as pages:
        ada, bob = [await pages.subscribed(server, name, TOPIC) for name in ("ada", "bob")]
        for number, frame in enumerate(MALFORMED):
            eve = await pages.open(server)
            await eve.send(frame)
            error = await eve.hear()
            assert (error["type"], bool(error["message"])) == ("error", True), frame
            await eve.ping()  # it may go on, too
            await ada.publish(TOPIC, str(number))
            assert await bob.data() == str(number)


@pytest.mark.settings(max_bad_messages=3)
async def test_a_client_that_sends_only_malformed_frames_is_closed(server: Server) -> None:
    async with Pages() as pages:
        eve = await pages.open(server)
        for frame in MALFORMED[:3]:
            await eve.send(frame)
        await eve.expect_close(4500)


async def test_a_frame_that_is_far_too_long_closes(server: Server) -> None:
    async with Pages() as pages:
        eve = await pages.open(server)
        await eve.send("x" * 300_000)
        await eve.expect_close(1009)


@pytest.mark.settings(max_rooms_per_connection=2)
async def test_a_connection_has_only_so_many_topics(server: Server) -> None:
    async with Pages() as pages:
        ada = await pages.open(server)
        await ada.subscribe("a", "b", "c")
        assert "2 topics" in await refused(ada, "too-many-rooms")
        await ada.subscribe("d")
        await refused(ada, "too-many-rooms", "d")
        await ada.tell("unsubscribe", topics=["a"])
        await has(server, "a", 0)
        await ada.subscribe("d")
        await has(server, "d", 1)
        assert [count(server, topic) for topic in ("b", "c", "d")] == [1, 0, 1]


@pytest.mark.settings(max_room_members=2)
async def test_a_topic_has_only_so_many_subscribers(server: Server) -> None:
    async with Pages() as pages:
        ada, _bob = [await pages.subscribed(server, name, TOPIC) for name in ("ada", "bob")]
        eve = await pages.open(server)
        await eve.subscribe(TOPIC, "another")
        await refused(eve, "room-full", TOPIC)
        await has(server, "another", 1)
        await ada.tell("unsubscribe", topics=[TOPIC])
        await has(server, TOPIC, 1)
        await eve.subscribe(TOPIC)
        await has(server, TOPIC, 2)


@pytest.mark.settings(max_id_length=80, max_message_bytes=1024)
async def test_topics_and_messages_have_a_length(server: Server) -> None:
    async with Pages() as pages:
        ada, bob = [await pages.subscribed(server, name, TOPIC) for name in ("ada", "bob")]
        await ada.subscribe("x" * 81)
        assert "80 characters" in await refused(ada, "bad-message")
        await ada.publish(TOPIC, "y" * 1024)
        assert "1024 are allowed" in await refused(ada, "message-too-big")
        await ada.publish(TOPIC, "y" * 512)
        assert await bob.data() == "y" * 512


@pytest.mark.settings(connection_join_rate=0.01, connection_join_burst=2)
async def test_a_client_that_subscribes_too_often_is_closed_so_that_it_tries_again(server: Server) -> None:
    async with Pages() as pages:
        ada = await pages.open(server)
        await ada.subscribe("a", "b", "c", "d", "e")
        assert (await ada.hear())["code"] == "rate-limited"
        await ada.expect_close(1013)


@pytest.mark.settings(max_rooms=1)
async def test_what_will_pass_closes_so_that_a_client_tries_again(server: Server) -> None:
    async with Pages() as pages:
        ada = await pages.subscribed(server, "ada", "a")
        eve = await pages.open(server)
        await eve.subscribe("b")
        await refused(eve, "unavailable", "b")
        await eve.expect_close(1013)
        await ada.ping()


@pytest.mark.settings(connection_message_rate=1.0, connection_message_burst=10, max_slowed_seconds=0.5)
async def test_a_client_that_publishes_too_much_is_refused(server: Server) -> None:
    async with Pages() as pages:
        ada, bob = [await pages.subscribed(server, name, TOPIC) for name in ("ada", "bob")]
        for _ in range(20):
            await ada.publish(TOPIC, "x")
        assert "You send too much" in await refused(ada, "rate-limited")
        assert await bob.data() == "x"


async def test_a_client_cannot_make_the_server_keep_more_than_one_name(server: Server) -> None:
    node, room = server.app.node, ROOM_OF(TOPIC)
    async with Pages() as pages:
        ada, bob = [await pages.subscribed(server, name, TOPIC) for name in ("ada", "bob")]
        for number in range(100):
            ada.name = f"name {number}".replace(" ", "-")
            await ada.announce(TOPIC)
            await bob.data()
        assert [node.holders(room, f"name-{number}") for number in (0, 98, 99)] == [0, 0, 1]
        for name in ('a"b', "a b", "x" * 200, "é"):
            ada.name = name
            await ada.announce(TOPIC)
            await bob.data()
            assert node.holders(room, name) == 0
        await ada.end()
        await has(server, TOPIC, 1)
        assert node.holders(room, "name-99") == 0


@pytest.mark.settings(**REQUIRED)
async def test_an_access_token_says_who_a_client_is_and_which_topics_it_may_use(server: Server) -> None:
    async with Pages() as pages:
        own = f"?token={token('ada', rooms=['y-webrtc:notes*'])}"
        ada, other = [await pages.subscribed(server, name, TOPIC, query=own) for name in ("ada", "other")]
        await ada.publish(TOPIC, "x")  # one user, several pages
        assert await other.data() == "x"
        assert {member.id for member in server.app.node.roster(ROOM_OF(TOPIC))} == {"ada"}
        await ada.subscribe("secrets", "notes 2")
        await refused(ada, "forbidden", "secrets")
        await has(server, "notes 2", 1)
        await ada.tell("publish", topic="secrets", payload="x")
        await refused(ada, "forbidden", "secrets")
        listening = token("bob", rooms=["y-webrtc:notes"], can=["message"])
        bob = await pages.subscribed(server, "bob", TOPIC, query=f"?token={listening}")
        for content in ({"data": "x"}, {"payload": "x"}):
            await bob.tell("publish", topic=TOPIC, **content)
            await refused(bob, "forbidden")
        await ada.publish(TOPIC, "y")
        assert await bob.data() == "y"
        eve = await pages.open(server)
        for kind, content in (("subscribe", {}), ("publish", {"payload": "x"})):
            await eve.tell(kind, topic=TOPIC, **content)
            assert (await eve.hear())["code"] == "unauthorized"


@pytest.mark.settings(**OPTIONAL)
async def test_a_token_that_cannot_be_used_is_refused(server: Server) -> None:
    async with Pages() as pages:
        eve = await pages.open(server, query="?token=nonsense")
        assert (await eve.hear())["code"] == "unauthorized"
        await eve.expect_close(4502)
        anonymous = await pages.subscribed(server, "", TOPIC)
        owner = await pages.subscribed(server, "", TOPIC, query=f"?token={token('ada')}")
        await owner.publish(TOPIC, "x")
        assert await anonymous.data() == "x"


@pytest.mark.settings(**REQUIRED)
async def test_a_client_that_is_kicked_is_told_and_closed_with_all_its_pages(server: Server) -> None:
    async with Pages() as pages:
        own = f"?token={token('ada')}"
        opened = [await pages.subscribed(server, "", TOPIC, query=own) for _ in range(2)]
        kick = Kick(room=ROOM_OF(TOPIC), payload=KickPayload(user_id=UserId("ada"), ban_seconds=60))
        await server.app.node.moderate(kick.room, kick)
        for page in opened:
            await refused(page, "kicked", TOPIC)
            await page.expect_close(4504)
        again = await pages.open(server, query=own)
        await again.subscribe(TOPIC)
        await refused(again, "banned", TOPIC)


async def test_the_application_decides_who_enters_and_publishes_where(tmp_path: Path) -> None:
    asked: list[str] = []

    async def authorize(what: Handshake | JoinRequest) -> Grant | None:
        if isinstance(what, Handshake):
            return None
        asked.append(what.room)
        if what.room == "y-webrtc:secrets":
            raise Refused("Not this one.")
        return Grant("ada", None, frozenset({Permission.SIGNAL}), time.time() + 60)

    serving = AsgiServer(tmp_path, authorize, gateways="y-webrtc")
    await serving.start()
    async with Pages() as pages:
        ada, bob = [await pages.open(serving.url("")) for _ in range(2)]
        for page in (ada, bob):
            await page.subscribe(TOPIC)
            await page.ping()
        await ada.publish(TOPIC, "x")
        assert await bob.data() == "x"
        for kind, content in (("subscribe", {}), ("publish", {"payload": "x"})):
            await ada.tell(kind, topic="secrets", **content)
            assert "Not this one." in await refused(ada, "forbidden", "secrets")
        await ada.tell("publish", topic="self of somebody", payload="x")
        await ada.ping()
    await serving.stop()
    rooms = [TOPIC, TOPIC, "secrets", "secrets", "self of somebody"]
    assert asked == [f"y-webrtc:{name}" for name in rooms]


async def test_operators_see_topics_and_connections(server: Server) -> None:
    async with Pages() as pages:
        ada = await pages.subscribed(server, "ada", TOPIC)
        listed = await get(server, "/rooms?prefix=y-webrtc:")
        assert [(one["room"], one["users"], one["peers"]) for one in listed["rooms"]] == [("y-webrtc:notes", 1, 0)]
        room = await get(server, "/rooms/y-webrtc:notes")
        assert room["members"][0]["id"].startswith("anonymous-")
        assert server.app.counters.open["y-webrtc"] == 1
        await server.app.node.broker.administration.announce(RoomId("y-webrtc:notes"), "maintenance at noon")
        assert await ada.hear() == {"type": "announcement", "topic": TOPIC, "content": "maintenance at noon"}


@pytest.mark.settings(max_connections=1)
async def test_a_server_that_is_full_refuses_handshakes(server: Server, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.connection", "handshake refused")
    async with Pages() as pages:
        await pages.open(server)
        with pytest.raises(Exception, match="503"):
            await pages.open(server)


@pytest.mark.settings(gateways="")
async def test_the_gateway_is_off_unless_it_is_switched_on(server: Server) -> None:
    async with Pages() as pages:
        with pytest.raises(Exception, match="404"):
            await pages.open(server)
