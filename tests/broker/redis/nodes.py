"""Nodes without sockets, on a real server: each is a `Bucket` whose link runs step by step, and breaks on demand.

The events of a node are checked as they arrive, for what a room relies on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import structs

from mcp_actors.broker.redis import entries
from mcp_actors.broker.redis.bucket import Bucket
from mcp_actors.broker.redis.connection import LinkLost
from mcp_actors.broker.redis.entries import Probe, Revoked, pack_metadata
from mcp_actors.broker.redis.requests import Operation
from mcp_actors.broker.redis.settings import RedisSettings
from mcp_actors.protocol.events import (
    Event,
    JoinRefused,
    LeaveReason,
    Member,
    MemberJoined,
    MemberLeft,
    MemberUpdated,
    RemoteSignal,
    Unsubscribed,
)
from tests.broker.redis.lua import ROOM

if TYPE_CHECKING:
    from mcp_actors.broker.redis.write_queue import Batch
    from mcp_actors.protocol.identifiers import Incarnation, NodeId, RoomId
    from tests.broker.redis.lua import Store

CALM = 3
"""Rounds in which nothing happens, after which nothing will."""

CAPACITY = 4
SETTINGS = RedisSettings(lease=6.0, outage_patience=2.0, replay_seconds=1000.0, audit_interval=1.0)


class World:
    """The server, its run, and the time."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.run = 1
        self.now = 0.0
        self.nodes: list[SteppedNode] = []
        store.redis.flushall()

    def clock(self) -> float:
        """Seconds."""
        return self.now

    def restart(self, *, empty: bool) -> None:
        """Let the server come back, with its data or without; all links break."""
        for node in self.nodes:
            node.detach()
        self.run += 1
        if empty:
            self.store.redis.flushall()

    def declare_dead(self, node: SteppedNode) -> None:
        """Reap a node, as another would do whose beat says that its lease ran out."""
        store = self.store
        store.expire_leases(node.id)
        store.fence()
        for name in store.redis.smembers(store.keys.rooms_of(node.id)):
            room: Any = name.decode()
            reply = store.reap_room(node.id, room=room)
            if reply[0] == "KEYS":
                others: Any = reply[1:]
                store.reap_room(node.id, room=room, others=others)
        store.reap_node(node.id, keep_inbox=True)

    def settle(self) -> None:
        """Let all that is under way come to its end."""
        calm = 0
        for _ in range(60):
            before = self._state()
            for node in self.nodes:
                node.attach()
                node.write()
                node.read()
                node.bucket.housekeeping()
            self.now += 2.0
            calm = calm + 1 if self._state() == before else 0
            if calm >= CALM and self.now > self._enough:
                return
        raise AssertionError("the nodes do not come to rest")

    _enough = 0.0

    def come_to_rest(self) -> None:
        """The same, with the time that suspects, late snapshots and missing inboxes have."""
        self._enough = self.now + 4 * SETTINGS.lease
        self.settle()

    def _state(self) -> list[Any]:
        return [(len(node.heard), len(node.bucket.queue)) for node in self.nodes]


class SteppedNode:
    """One node, and the rooms it hears of as it hears of them."""

    def __init__(self, world: World, node: NodeId) -> None:
        self.id = node
        self.world = world
        self.bucket = Bucket(world.store.keys, node, self._hear, SETTINGS, lambda: None, world.clock)
        self.cursor = self.start = b"0-0"
        self.run = 0
        self.heard: list[tuple[RoomId, Event]] = []
        self.rosters: dict[RoomId, dict[Incarnation, Member]] = {}
        self.asked: dict[Incarnation, str] = {}  # own members: asked, joined, refused or left
        self.rooms: dict[Incarnation, RoomId] = {}  # of own members
        self.leaving: set[Incarnation] = set()
        self.frames: list[RemoteSignal] = []
        world.nodes.append(self)

    def join(self, member: Member, room: RoomId = ROOM, capacity: int = CAPACITY) -> None:
        """Ask for a member."""
        self.asked[member.incarnation] = "asked"
        self.rooms[member.incarnation] = room
        self.bucket.open_room(room).join(member, capacity)

    def leave(self, incarnation: Incarnation) -> None:
        """Ask for a member to be removed."""
        self.leaving.add(incarnation)
        room = self.bucket.rooms.get(self.rooms[incarnation])
        if room is not None:
            room.leave(incarnation, LeaveReason.LEFT)

    def update(self, incarnation: Incarnation, metadata: dict[str, Any]) -> None:
        """Ask for other metadata of a member."""
        room = self.bucket.rooms.get(self.rooms[incarnation])
        if room is not None:
            room.moderate(incarnation, Operation.UPDATE, (pack_metadata(metadata),))

    def signal(self, sender: Incarnation, target: Member, number: int, room: RoomId = ROOM) -> None:
        """Send a numbered frame."""
        self.bucket.sender.send(room, "signal", self.rosters[room][sender], [target], str(number).encode(), 0)

    def _hear(self, room: RoomId, event: Event) -> None:
        self.heard.append((room, event))
        roster = self.rosters.setdefault(room, {})
        match event:
            case MemberJoined(_, member):
                assert member.incarnation not in roster, f"{self.id}: joined twice: {member}"
                assert member.order > 0, f"{self.id}: joined without an order: {member}"
                rivals = [one for one in roster.values() if (one.kind, one.id) == (member.kind, member.id)]
                assert not rivals or member.kind == "user", f"{self.id}: {member} beside {rivals}"
                roster[member.incarnation] = member
                if member.node == self.id and not self._is_refused(room, member.incarnation):
                    assert self.asked[member.incarnation] == "asked", f"{self.id}: heard again: {member}"
                    self.asked[member.incarnation] = "joined"
            case MemberLeft(_, incarnation, _):
                assert incarnation in roster, f"{self.id}: left without having joined: {incarnation}"
                del roster[incarnation]
                if self.asked.get(incarnation) == "joined":
                    self.asked[incarnation] = "left"
            case MemberUpdated():
                alike = [one for one in roster.values() if (one.kind, one.id) == (event.kind, event.id)]
                assert any(one.metadata != event.metadata for one in alike), f"{self.id}: no update: {event}"
                for one in alike:
                    roster[one.incarnation] = structs.replace(one, metadata=event.metadata)
            case JoinRefused(incarnation, _):
                assert self.asked[incarnation] == "asked", f"{self.id}: refused after all: {incarnation}"
                self.asked[incarnation] = "refused"
            case Unsubscribed():
                assert not any(member.node == self.id for member in roster.values()), f"{self.id}: vacated too early"
                roster.clear()
            case RemoteSignal():
                assert event.sender in roster, f"{self.id}: a frame of nobody: {event}"
                self.frames.append(event)
        versions = [
            told.version
            for where, told in self.heard
            if where == room and isinstance(told, MemberJoined | MemberLeft | MemberUpdated)
        ]
        assert versions == sorted(versions), f"{self.id}: versions fall: {versions}"

    def _is_refused(self, room: RoomId, incarnation: Incarnation) -> bool:
        """Whether a member is in the room only until its leave is carried out."""
        local = self.bucket.rooms[room].replica.local.get(incarnation)
        return local is not None and local.refused

    @property
    def _run_id(self) -> str:
        return f"run{self.world.run}"

    def attach(self) -> None:
        """As `Link` does; a beat tells it when it was declared dead."""
        if self.bucket.up and self.world.store.heartbeat(self.id)[0] == "FENCED":
            self.detach()
        if self.bucket.up:
            return
        store, same = self.world.store, self.run == self.world.run
        (word,) = store.attach(self.id)
        fenced = word == "NEW" and same
        if word in {"WAIT", "GONE"}:
            if word == "WAIT":
                self.world.declare_dead(self)
            (word,) = store.attach(self.id, new=True)
            fenced = True
        if word == "NEW":
            self.start = store.start.encode()
        if word == "NEW" or not same:
            self.cursor = self.start
        self.run = self.world.run
        self.bucket.link_up(self._run_id, fenced=fenced)

    def detach(self) -> None:
        """The connections break, with nothing under way."""
        self.bucket.link_down()

    def write(self, *, done: bool = True, answered: bool = True) -> None:
        """Write a batch. It may be done without the answer coming back, or not be done: then the link breaks."""
        if not self.bucket.up:
            return
        if not self.bucket.queue and done and answered:
            return
        batch = self.bucket.queue.take()
        replies = self._execute(batch) if done else []
        if not (done and answered):
            self.bucket.queue.give_back(batch)
            self.detach()
            return
        try:
            self.bucket.queue.settle(batch, replies, self.bucket.up_time.seconds)
        except LinkLost:
            self.detach()

    def _execute(self, batch: Batch) -> list[Any]:
        with self.world.store.redis.pipeline(transaction=False) as pipeline:
            for command in batch.commands:
                pipeline.execute_command(*command)
            replies: list[Any] = pipeline.execute(raise_on_error=False)
        return replies

    def read(self, count: int = 1000) -> None:
        """Read so many entries of the inbox."""
        if not self.bucket.up:
            return
        store = self.world.store
        for name, flat in store.entries(self.id, f"({self.cursor.decode()}", count):
            self.cursor = name
            news = entries.read(flat)
            if not isinstance(news, Probe | Revoked):
                self.bucket.receive(news)

    @property
    def versions(self) -> dict[RoomId, int | None]:
        """Of the rooms it is in."""
        return {name: room.replica.version for name, room in self.bucket.rooms.items()}


def _shown(members: dict[Incarnation, Member]) -> dict[Incarnation, Member]:
    """The members without what rooms do not show."""
    return {incarnation: structs.replace(member, updated=0) for incarnation, member in members.items()}


def check_at_rest(world: World, rooms: list[RoomId]) -> None:
    """All agree with the server, and everybody is where he was told to be."""
    store = world.store
    for room in rooms:
        whole = _shown(store.members(room))
        told = {
            incarnation: member
            for node in world.nodes
            for incarnation, member in _shown(node.rosters.get(room, {})).items()
            if member.node == node.id
        }
        users = {(member.id, pack_metadata(member.metadata)) for member in whole.values() if member.kind == "user"}
        assert len(users) == len({user for user, _ in users}), "connections of a user have different metadata"
        assert whole == told, "the server and the nodes disagree on who is in the room"
        for node in world.nodes:
            roster = _shown(node.rosters.get(room, {}))
            if any(member.node == node.id for member in roster.values()):
                assert roster == whole, f"{node.id} knows others"
                assert node.versions[room] == int(store.state(room)["#version"])
            else:
                assert roster == {}, f"{node.id} knows members of a room it is not in"
                assert room not in node.versions, f"{node.id} keeps a room it is not in"
    for node in world.nodes:
        for incarnation, state in node.asked.items():
            assert state != "asked", f"{node.id}: nothing came of the join of {incarnation}"
            assert not (state == "joined" and incarnation in node.leaving), f"{node.id}: {incarnation} did not leave"
