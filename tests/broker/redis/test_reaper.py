from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.broker.redis.connection import Access, Address, RedisConnection
from mcp_actors.broker.redis.entries import Changes, Gone
from mcp_actors.broker.redis.reaper import AT_ONCE, TOMBSTONE_LIFE, Condemned, Reaper
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.identifiers import NodeId, RoomId
from tests.broker.redis.lua import MAX_ENTRIES, ROOM, RUN, A, B, C, Store, peer, user

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tornado.ioloop import IOLoop

    from bench.engine import Engine
    from mcp_actors.broker.redis.connection import Command, Reply


class Sender:
    """Executes what a reaper asks for, and counts it."""

    def __init__(self, connection: RedisConnection) -> None:
        self.connection = connection
        self.sizes: list[int] = []

    async def __call__(self, commands: Sequence[Command]) -> list[Reply]:
        """See `Execute`."""
        self.sizes.append(len(commands))
        return await self.connection.send(commands)


@pytest.fixture
def senders(engine: Engine, io_loop: IOLoop) -> Iterator[list[Sender]]:
    """Two ways to the server."""
    opened: list[Any] = [
        io_loop.run_sync(lambda: RedisConnection.open(Address("127.0.0.1", engine.port), Access())) for _ in range(2)
    ]
    yield [Sender(connection) for connection in opened]
    for connection in opened:
        connection.close()


def _reaper(store: Store, sender: Sender, window: float = 0.0) -> Reaper:
    return Reaper(sender, store.keys, RUN, MAX_ENTRIES, window)


async def test_only_the_dead_are_condemned(store: Store, senders: list[Sender]) -> None:
    for node in (A, B):
        store.attach(node)
    store.run_out(A)
    reaper = _reaper(store, senders[0])
    assert await reaper.condemn() == [Condemned(A, over=True, just_now=True)]
    deadlines = [store.deadline(node) or 0 for node in (A, B)]
    assert deadlines[0] < 0 < deadlines[1]
    assert await reaper.condemn() == [Condemned(A, over=True, just_now=False)]


async def test_a_dead_node_leaves_its_rooms_and_the_others_are_told(store: Store, senders: list[Sender]) -> None:
    for node in (A, B, C):
        store.attach(node)
    for member, others in ((peer("ana"), []), (user("una"), []), (peer("ben", B), [A]), (peer("cia", C), [A, B])):
        store.join(member, others=others)
    store.join(peer("alone"), room=RoomId("empty soon"))
    for node in (B, C):
        store.told(node)
    store.run_out(A)
    reaper = _reaper(store, senders[0])
    await reaper.condemn()
    assert (await reaper.reap(A))[0] == 2
    gone = {peer("ana").incarnation, user("una").incarnation}
    for node in (B, C):
        (left,) = store.told(node)
        assert isinstance(left, Changes)
        assert {(gone.incarnation, gone.reason) for gone in left.changes if isinstance(gone, Gone)} == {
            (incarnation, LeaveReason.NODE_LOST) for incarnation in gone
        }
    assert store.fields() == {"pben", "pcia"}
    keys = store.keys
    of_room = {keys.room(ROOM), keys.nodes_of(ROOM), keys.rooms_of(B), keys.rooms_of(C)}
    of_nodes = {keys.nodes, keys.config, keys.inbox(B), keys.inbox(C)}
    assert store.names() == {*of_room, *of_nodes, keys.tombstone(A)}
    assert 0 < store.redis.pttl(keys.tombstone(A)) <= TOMBSTONE_LIFE


async def test_a_node_of_many_rooms_is_reaped_in_bounded_steps(store: Store, senders: list[Sender]) -> None:
    rooms = [RoomId(f"room{number}") for number in range(2 * AT_ONCE + 7)]
    store.attach(A)
    store.attach(B)
    for room in rooms:
        store.join(peer("ana"), room=room)
        store.join(user("una"), room=room)
    for room in rooms[::2]:
        store.join(peer("ben", B), room=room, others=[A])
    store.told(B)
    store.run_out(A)
    reaper = _reaper(store, senders[0])
    await reaper.condemn()
    assert (await reaper.reap(A))[0] == len(rooms)
    assert max(senders[0].sizes) <= AT_ONCE
    told = [news for news in store.told(B) if isinstance(news, Changes)]
    assert {news.room for news in told} == set(rooms[::2])
    assert len(told) == len(rooms[::2])
    assert {len(news.changes) for news in told} == {2}
    assert not store.redis.exists(store.keys.rooms_of(A))
    assert store.attach(A) == ["GONE"]


async def test_a_node_that_is_no_longer_condemned_keeps_its_members(store: Store, senders: list[Sender]) -> None:
    store.attach(A)
    store.join(peer("ana"))
    before = store.names()
    await _reaper(store, senders[0]).reap(A)
    assert store.fields() == {"pana"}
    assert store.names() == before


async def test_two_may_reap_one_node_at_once(store: Store, senders: list[Sender]) -> None:
    rooms = [RoomId(f"room{number}") for number in range(AT_ONCE + 20)]
    for node in (A, B):
        store.attach(node)
    for room in rooms:
        store.join(peer("ana"), room=room)
        store.join(peer("ben", B), room=room, others=[A])
    store.told(B)
    store.run_out(A)
    await asyncio.gather(*(_condemn_and_reap(_reaper(store, sender)) for sender in senders))
    told = [news.room for news in store.told(B)]
    assert sorted(told) == sorted(rooms)
    for room in rooms:
        assert store.fields(room) == {"pben"}
        assert "a" not in store.state(room)
    assert store.deadline(A) is None
    assert store.redis.exists(store.keys.tombstone(A))


async def _condemn_and_reap(reaper: Reaper) -> None:
    for dead, _over, _now in await reaper.condemn():
        await reaper.reap(dead)


async def test_a_dead_node_is_reaped_though_another_in_its_room_is_dead_too(
    store: Store, senders: list[Sender]
) -> None:
    for node in (A, B, C):
        store.attach(node)
    store.join(peer("ana"))
    store.join(peer("ben", B), others=[A])
    store.join(peer("cia", C), others=[A, B])
    store.told(C)
    store.run_out(A, B)
    reaper = _reaper(store, senders[0])
    assert sorted(node for node, _over, _now in await reaper.condemn()) == [A, B]
    store.redis.delete(store.keys.inbox(B))
    for dead in (A, B):
        await reaper.reap(dead)
    told = [news for news in store.told(C) if isinstance(news, Changes)]
    assert [len(news.changes) for news in told] == [1, 1]
    assert told[1].version == told[0].version + 1
    assert store.fields() == {"pcia"}
    assert not store.redis.exists(store.keys.inbox(B))


async def test_a_node_that_is_reaped_may_come_back_and_join_again(store: Store, senders: list[Sender]) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.run_out(A)
    reaper = _reaper(store, senders[0])
    await reaper.condemn()
    await reaper.reap(A)
    assert store.attach(A) == ["GONE"]
    assert store.attach(A, anew=True) == ["NEW"]
    assert store.join(peer("ana"))[0] == "OK"


async def test_a_node_in_no_room_is_forgotten(store: Store, senders: list[Sender]) -> None:
    node = NodeId("idle")
    store.attach(node)
    store.run_out(node)
    reaper = _reaper(store, senders[0])
    await reaper.condemn()
    assert await reaper.reap(node) == (0, [])
    assert store.names() == {store.keys.config, store.keys.tombstone(node)}
