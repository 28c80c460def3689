from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from mcp_actors.broker.redis.connection import Access, Address, RedisConnection
from mcp_actors.broker.redis.entries import Changes, Left, Presence
from mcp_actors.broker.redis.log_limit import LogLimit
from mcp_actors.broker.redis.reaper import BATCH, TOMBSTONE_MS, FencedNode, Reaper
from mcp_actors.broker.redis.settings import RedisSettings
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.identifiers import Incarnation, NodeId, RoomId
from tests.broker.redis.lua import MAX_ENTRIES, ROOM, RUN, A, B, C, Store, peer, user

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tornado.ioloop import IOLoop

    from bench.engine import Engine
    from mcp_actors.broker.redis.connection import Command, Reply
    from tests.conftest import ExpectedLogs


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
    settings = RedisSettings(resume_window=window, max_inbox_entries=MAX_ENTRIES)
    return Reaper(sender, store.keys, RUN, settings, LogLimit(time.monotonic))


async def test_only_dead_nodes_are_fenced(store: Store, senders: list[Sender]) -> None:
    for node in (A, B):
        store.attach(node)
    store.expire_leases(A)
    reaper = _reaper(store, senders[0])
    assert await reaper.fence() == [FencedNode(A, over=True, just_now=True)]
    deadlines = [store.deadline(node) or 0 for node in (A, B)]
    assert deadlines[0] < 0 < deadlines[1]
    assert await reaper.fence() == [FencedNode(A, over=True, just_now=False)]


async def test_a_dead_node_is_removed_from_its_rooms(store: Store, senders: list[Sender]) -> None:
    for node in (A, B, C):
        store.attach(node)
    for member, others in ((peer("ana"), []), (user("una"), []), (peer("ben", B), [A]), (peer("cia", C), [A, B])):
        store.join(member, others=others)
    store.join(peer("alone"), room=RoomId("empty soon"))
    for node in (B, C):
        store.told(node)
    store.expire_leases(A)
    reaper = _reaper(store, senders[0])
    await reaper.fence()
    assert (await reaper.reap(A))[0] == 2
    gone = {peer("ana").incarnation, user("una").incarnation}
    for node in (B, C):
        (left,) = store.told(node)
        assert isinstance(left, Changes)
        assert {(gone.incarnation, gone.reason) for gone in left.changes if isinstance(gone, Left)} == {
            (incarnation, LeaveReason.NODE_LOST) for incarnation in gone
        }
    assert store.fields() == {"peer:ben", "peer:cia"}
    keys = store.keys
    of_room = {keys.members(ROOM), keys.state(ROOM), keys.rooms_of(B), keys.rooms_of(C)}
    of_nodes = {keys.nodes, keys.config, keys.inbox(B), keys.inbox(C)}
    assert store.key_names() == {*of_room, *of_nodes, keys.tombstone(A)}
    assert 0 < store.redis.pttl(keys.tombstone(A)) <= TOMBSTONE_MS


async def test_a_node_with_many_rooms_is_reaped_in_batches(store: Store, senders: list[Sender]) -> None:
    rooms = [RoomId(f"room{number}") for number in range(2 * BATCH + 7)]
    store.attach(A)
    store.attach(B)
    for room in rooms:
        store.join(peer("ana"), room=room)
        store.join(user("una"), room=room)
    for room in rooms[::2]:
        store.join(peer("ben", B), room=room, others=[A])
    store.told(B)
    store.expire_leases(A)
    reaper = _reaper(store, senders[0])
    await reaper.fence()
    assert (await reaper.reap(A))[0] == len(rooms)
    assert max(senders[0].sizes) <= BATCH
    told = [news for news in store.told(B) if isinstance(news, Changes)]
    assert {news.room for news in told} == set(rooms[::2])
    assert len(told) == len(rooms[::2])
    assert {len(news.changes) for news in told} == {2}
    assert not store.redis.exists(store.keys.rooms_of(A))
    assert store.attach(A) == ["GONE"]


async def test_a_node_that_is_not_fenced_keeps_its_members(store: Store, senders: list[Sender]) -> None:
    store.attach(A)
    store.join(peer("ana"))
    before = store.key_names()
    await _reaper(store, senders[0]).reap(A)
    assert store.fields() == {"peer:ana"}
    assert store.key_names() == before


async def test_two_nodes_may_reap_one_node_at_once(store: Store, senders: list[Sender]) -> None:
    rooms = [RoomId(f"room{number}") for number in range(BATCH + 20)]
    for node in (A, B):
        store.attach(node)
    for room in rooms:
        store.join(peer("ana"), room=room)
        store.join(peer("ben", B), room=room, others=[A])
    store.told(B)
    store.expire_leases(A)
    await asyncio.gather(*(_fence_and_reap(_reaper(store, sender)) for sender in senders))
    told = [news.room for news in store.told(B)]
    assert sorted(told) == sorted(rooms)
    for room in rooms:
        assert store.fields(room) == {"peer:ben"}
        assert "a" not in store.state(room)
    assert store.deadline(A) is None
    assert store.redis.exists(store.keys.tombstone(A))


async def _fence_and_reap(reaper: Reaper) -> None:
    for dead, _over, _now in await reaper.fence():
        await reaper.reap(dead)


async def test_two_dead_nodes_of_one_room_are_reaped(store: Store, senders: list[Sender]) -> None:
    for node in (A, B, C):
        store.attach(node)
    store.join(peer("ana"))
    store.join(peer("ben", B), others=[A])
    store.join(peer("cia", C), others=[A, B])
    store.told(C)
    store.expire_leases(A, B)
    reaper = _reaper(store, senders[0])
    assert sorted(node for node, _over, _now in await reaper.fence()) == [A, B]
    store.redis.delete(store.keys.inbox(B))
    for dead in (A, B):
        await reaper.reap(dead)
    told = [news for news in store.told(C) if isinstance(news, Changes)]
    assert [len(news.changes) for news in told] == [1, 1]
    assert told[1].version == told[0].version + 1
    assert store.fields() == {"peer:cia"}
    assert not store.redis.exists(store.keys.inbox(B))


async def test_a_reaped_node_may_come_back_and_join_again(store: Store, senders: list[Sender]) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.expire_leases(A)
    reaper = _reaper(store, senders[0])
    await reaper.fence()
    await reaper.reap(A)
    assert store.attach(A) == ["GONE"]
    assert store.attach(A, new=True) == ["NEW"]
    assert store.join(peer("ana"))[0] == "OK"


async def test_a_node_without_rooms_is_reaped(store: Store, senders: list[Sender]) -> None:
    node = NodeId("idle")
    store.attach(node)
    store.expire_leases(node)
    reaper = _reaper(store, senders[0])
    await reaper.fence()
    assert await reaper.reap(node) == (0, [])
    assert store.key_names() == {store.keys.config, store.keys.tombstone(node)}


def _detached(store: Store, node: NodeId) -> list[tuple[str, bool]]:
    """The changes of presence that a node was told: members, and whether they are detached."""
    told = [news for news in store.told(node) if isinstance(news, Changes)]
    return [(one.incarnation, one.detached) for news in told for one in news.changes if isinstance(one, Presence)]


async def _dead(store: Store, sender: Sender) -> Reaper:
    """Node A, with ana in two rooms and una in one, is dead; ben, of node B, is in the first."""
    for node in (A, B):
        store.attach(node)
    store.join(peer("ana"))
    store.join(user("una"))
    store.join(peer("ben", B), others=[A])
    store.join(structs.replace(peer("ana"), incarnation=Incarnation("a.ana.2")), room=RoomId("another"))
    store.told(B)
    store.expire_leases(A)
    reaper = _reaper(store, sender, 60.0)
    assert await reaper.fence() == [FencedNode(A, over=False, just_now=True)]
    return reaper


async def test_the_members_of_a_dead_node_are_detached_first_and_leave_later(
    store: Store, senders: list[Sender]
) -> None:
    reaper = await _dead(store, senders[0])
    await reaper.detach_members(A)
    assert sorted(_detached(store, B)) == [("a.ana", True), ("a.una.1", True)]
    assert store.members()[peer("ana").incarnation].detached
    rooms, gone = await reaper.reap(A, LeaveReason.TIMEOUT)
    assert (rooms, sorted(gone)) == (2, ["a.ana", "a.ana.2", "a.una.1"])
    (left,) = store.told(B)
    assert isinstance(left, Changes)
    assert {one.reason for one in left.changes if isinstance(one, Left)} == {LeaveReason.TIMEOUT}
    assert store.incarnations() == {peer("ben", B).incarnation}


async def test_detaching_members_again_changes_nothing(store: Store, senders: list[Sender]) -> None:
    reaper = await _dead(store, senders[0])
    await reaper.detach_members(A)
    store.told(B)
    assert await reaper.fence() == [FencedNode(A, over=False, just_now=False)]
    await reaper.detach_members(A)
    assert store.told(B) == []


async def test_the_inbox_of_a_dead_node_stays_until_its_members_leave(store: Store, senders: list[Sender]) -> None:
    reaper = await _dead(store, senders[0])
    await reaper.detach_members(A)
    assert store.redis.exists(store.keys.inbox(A))
    assert sorted(_detached(store, A)) == [("a.ana", True), ("a.ana.2", True), ("a.una.1", True)]
    await reaper.reap(A, LeaveReason.TIMEOUT)
    assert not store.redis.exists(store.keys.inbox(A), store.keys.left_by(A))


async def test_a_member_that_moved_does_not_leave_with_its_dead_node(store: Store, senders: list[Sender]) -> None:
    reaper = await _dead(store, senders[0])
    await reaper.detach_members(A)
    assert store.claim(B, peer("ana"), 1, owner=A, others=[A])[0] == "OK"
    _, gone = await reaper.reap(A, LeaveReason.TIMEOUT)
    assert sorted(gone) == ["a.ana.2", "a.una.1"]
    assert store.incarnations() == {peer("ana").incarnation, peer("ben", B).incarnation}


async def test_members_leave_also_if_they_were_not_detached_before(store: Store, senders: list[Sender]) -> None:
    reaper = await _dead(store, senders[0])
    assert (await reaper.reap(A, LeaveReason.TIMEOUT))[0] == 2
    assert store.incarnations() == {peer("ben", B).incarnation}


async def test_a_room_with_corrupt_keys_keeps_no_other_from_being_reaped(
    store: Store, senders: list[Sender], expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "dead node cannot be removed completely")
    store.attach(A)
    for room in ("good", "spoilt"):
        store.join(peer("ana"), room=RoomId(room))
    store.redis.delete(store.keys.state(RoomId("spoilt")))
    store.redis.set(store.keys.state(RoomId("spoilt")), "something else")
    store.expire_leases(A)
    reaper = _reaper(store, senders[0])
    await reaper.fence()
    _, gone = await reaper.reap(A)
    assert gone == [peer("ana").incarnation]
    assert not store.redis.exists(store.keys.members(RoomId("good")))
    assert store.deadline(A) is not None
    store.redis.delete(store.keys.state(RoomId("spoilt")))
    await reaper.reap(A)
    assert store.deadline(A) is None
