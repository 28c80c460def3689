"""The administration over Redis: of rooms at other nodes, and while Redis is away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bench.engine import Engine
from mcp_actors.broker.administration import Outcome, RoomSummary
from mcp_actors.broker.redis import administration
from mcp_actors.protocol.errors import ErrorCode, Unavailable
from mcp_actors.protocol.events import (
    Announced,
    JoinRefused,
    Kind,
    LeaveReason,
    MemberLeft,
    Notice,
    RoomClosed,
    RoomLocked,
)
from mcp_actors.protocol.identifiers import NodeId, PeerId, RoomId
from tests.broker.administration_contract import AdministrationContract, live
from tests.broker.contract import MAX_ROOM_BANS, NODE, OTHER_ROOM, ROOM
from tests.support.brokers import LEASE, BrokerNode, redis_broker
from tests.support.loop import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado.ioloop import IOLoop

    from mcp_actors.broker.redis import RedisBroker
    from tests.conftest import ExpectedLogs
    from tests.support.brokers import StartNode


class TestRedisAdministration(AdministrationContract):
    @pytest.fixture(params=[1, 3], ids=["one-bucket", "three-buckets"])
    def broker(
        self, engine: Engine, prefix: str, io_loop: IOLoop, request: pytest.FixtureRequest
    ) -> Iterator[RedisBroker]:
        broker = redis_broker(
            engine.url,
            NODE,
            prefix=prefix,
            buckets=request.param,
            lease=20.0,
            max_room_bans=MAX_ROOM_BANS,
            resume_window=1.0,
        )
        broker.listen(lambda _room, _event: None)
        io_loop.run_sync(broker.start)
        yield broker
        for room in (ROOM, OTHER_ROOM):
            broker.abandon(room)
        io_loop.run_sync(broker.stop)


async def test_a_node_without_members_of_a_room_administers_it(nodes: StartNode) -> None:
    a, b, c = await nodes("a"), await nodes("b"), await nodes("c")
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    admin = c.broker.administration
    assert (await admin.list_rooms("", "", 9)).rooms == [
        RoomSummary(ROOM, {NodeId("a"): 1, NodeId("b"): 1}, 2, 0, locked=False)
    ]
    assert {member.incarnation: member for member in (await admin.room(ROOM)).members} == a.members
    assert await admin.lock(ROOM, locked=True) is Outcome.DONE
    assert await admin.announce(ROOM, "hello") is Outcome.DONE
    assert await admin.kick(ROOM, Kind.PEER, PeerId("ben"), Notice("spam", "", 60)) is Outcome.DONE
    for node in (a, b):
        await until(lambda node=node: ben not in node.members, "the kick")  # type: ignore[misc]
        changes = node.of_kind(RoomLocked, Announced, MemberLeft)
        assert [type(event) for event in changes] == [RoomLocked, Announced, MemberLeft]
        assert getattr(changes[-1], "reason", "") == LeaveReason.KICKED
    assert await admin.close(ROOM) is Outcome.DONE
    await until(lambda: a.of_kind(RoomClosed), "the close")
    assert c.events == {}
    again = b.join(Kind.PEER, "ben")
    await until(lambda: b.of_kind(JoinRefused), "the refusal")
    assert [(event.incarnation, event.code) for event in b.of_kind(JoinRefused) if isinstance(event, JoinRefused)] == [
        (again, ErrorCode.BANNED)
    ]


async def test_nodes_are_listed_with_their_leases(nodes: StartNode, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "node lease expired")
    a, b = await nodes("a"), await nodes("b")
    found = await a.broker.administration.nodes()
    assert live(found) == ["a", "b"]
    assert all(0 < (one.lease_seconds or 0) <= LEASE for one in found)
    await b.die()
    for _ in range(200):
        found = await a.broker.administration.nodes()
        if live(found) == ["a"]:
            break
        await asyncio.sleep(LEASE / 20)
    assert live(found) == ["a"]


async def test_many_names_are_looked_at_a_few_at_a_time(nodes: StartNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_actors.broker.redis.status.SCANNED", 10)
    a, b = await nodes("a"), await nodes("b")
    names = [f"room {number:03}" for number in range(150)]
    for name in names:
        a.join(Kind.PEER, "ana", room=RoomId(name))
    await until(lambda: len(a.rosters) == len(names) and all(a.rosters.values()), "all rooms")
    pages, after = [], ""
    while True:
        page = await b.broker.administration.list_rooms("room", after, 40)
        pages.append([room.name for room in page.rooms])
        if page.next is None:
            break
        after = page.next
    assert [len(page) for page in pages] == [40, 40, 40, 30]
    assert [name for page in pages for name in page] == names


async def test_requests_are_refused_while_redis_is_away(
    expected_logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    monkeypatch.setattr(administration, "PATIENCE", 0.5)
    with Engine() as engine:
        node = BrokerNode(engine.url, "a")
        await node.start()
        admin = node.broker.administration
        engine.pause()
        with pytest.raises(Unavailable, match="does not answer"):
            await admin.list_rooms("", "", 1)
        engine.resume()
        engine.kill()
        await until(lambda: not node.broker.ready, "that Redis is missed")
        for request in (admin.list_rooms("", "", 1), admin.room(ROOM), admin.nodes(), admin.lock(ROOM, locked=True)):
            with pytest.raises(Unavailable, match="down"):
                await request
        await asyncio.to_thread(engine.start)
        await until(lambda: node.broker.ready, "that Redis is back")
        assert (await admin.list_rooms("", "", 1)).rooms == []
        await node.stop()
