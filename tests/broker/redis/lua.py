"""The scripts as tests call them, on a real server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

import msgspec
import redis
from msgspec import structs

from mcp_actors.broker.redis import entries, scripts
from mcp_actors.broker.redis.entries import (
    Audit,
    AuditedRoom,
    Changes,
    Entry,
    Left,
    Presence,
    Snapshot,
    StoredMember,
    field_of,
    pack,
    pack_metadata,
)
from mcp_actors.broker.redis.event_log import StoredEvent
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.broker.redis.link import PROTOCOL
from mcp_actors.broker.redis.settings import RedisSettings
from mcp_actors.protocol.events import Kind, LeaveReason, Member
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId, UserId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.engine import Engine
    from mcp_actors.broker.redis.scripts import Script

Argument = str | bytes | int

ROOM = RoomId("room123")
A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
RUN = "run"
LEASE = 60_000
INBOX_LIFE = 120_000
MAX_ENTRIES = 1000


def peer(name: str, node: NodeId = A, order: int = 0, **metadata: Any) -> Member:
    """A peer, whose incarnation is its name on its node."""
    return Member(Kind.PEER, PeerId(name), Incarnation(f"{node}.{name}"), node, metadata, order)


def user(name: str, number: int = 1, node: NodeId = A, order: int = 0) -> Member:
    """A connection of a user."""
    return Member(Kind.USER, UserId(name), Incarnation(f"{node}.{name}.{number}"), node, {}, order)


def leaving(member: Member, reason: LeaveReason | str = LeaveReason.LEFT, notice: str = "") -> Left:
    """The change that a member left."""
    return Left(member.incarnation, LeaveReason(reason), member.kind, member.id, notice)


def presence(member: Member, *, detached: bool) -> Presence:
    """The change that a member was detached or attached."""
    return Presence(member.incarnation, detached, member.kind, member.id)


class Store:
    """A server, emptied, with all scripts loaded."""

    def __init__(self, engine: Engine, keys: Keys | None = None) -> None:
        self.redis: Any = redis.Redis(port=engine.port, socket_timeout=10)
        self.keys = keys or Keys("test", 0, 1)
        self.max_events = 0
        """How many events are kept to be reported; 0 for none."""
        self.data = ""
        """The id of the data, as the last node to attach was told."""
        self.start = ""
        """The entry behind which that node reads its inbox, if it is new."""
        self.redis.flushall()
        for script in scripts.SCRIPTS:
            self.redis.script_load(script.text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.redis.close()

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """The reply of a script, with its strings decoded."""
        reply = self.redis.execute_command(*script.call(keys, arguments))
        if not isinstance(reply, list):
            return reply
        return [part.decode() if isinstance(part, bytes) else part for part in reply]

    def _room(
        self,
        script: Script,
        node: NodeId,
        room: RoomId,
        others: Sequence[NodeId],
        run: str,
        arguments: Sequence[Argument],
        extra: tuple[str, ...] = (),
    ) -> list[str]:
        named = self.keys.of_room(room, dict.fromkeys((node, *others)), extra)
        common = (node, room, self.keys.inboxes, MAX_ENTRIES, run)
        settings = RedisSettings(max_reported_events=self.max_events)
        command = scripts.room_call(script, self.keys, settings, named, (*common, *arguments))
        reply = self.redis.execute_command(*command)
        return [part.decode() if isinstance(part, bytes) else part for part in reply]

    def reported(self) -> list[tuple[str, str, str | None]]:
        """The events that are to be reported: each with its type, the id of its member, and its reason."""
        raw = self.redis.xrange(self.keys.reported[0])
        found = [msgspec.msgpack.decode(fields[b"event"], type=StoredEvent).restored() for _, fields in raw]
        return [(one.type.value, one.id, one.reason and one.reason.value) for one in found]

    def lease_events(self, node: NodeId, lease: int = LEASE, keep: int = 60_000, name: str = "log") -> list[str]:
        named = (self.keys.nodes, *self.keys.reported)
        reply: list[str] = self.run(scripts.LEASE_EVENTS, named, [node, lease, keep, name])
        return reply

    def settle_events(
        self, node: NodeId, ids: Sequence[str], *, given_up: int = 0, told: int | None = None
    ) -> list[str]:
        named = (self.keys.nodes, *self.keys.reported)
        own: list[Argument] = [node, pack(list(ids)), given_up, "" if told is None else told]
        reply: list[str] = self.run(scripts.SETTLE_EVENTS, named, own)
        return reply

    def attach(
        self,
        node: NodeId,
        *,
        lease: int = LEASE,
        version: str = PROTOCOL,
        buckets: int = 1,
        new: bool = False,
        run: str = RUN,
        restarted: bool = False,
        data: str = "",
        hold: int = 0,
    ) -> list[str]:
        keys = self.keys
        named = [keys.nodes, keys.inbox(node), keys.config, keys.tombstone(node)]
        own: list[Argument] = [node, lease, INBOX_LIFE, version, buckets, "1" if new else ""]
        last: list[Argument] = [run, "1" if restarted else "", data, hold]
        reply: list[str] = self.run(scripts.ATTACH, named, [*own, *last])
        if reply[0] in {"OK", "NEW"}:
            _, self.data, *first = reply
            self.start = first[0] if first else ""
        return reply if reply[0] == "CONFIG" else reply[:1]

    def heartbeat(self, node: NodeId, probe: int = 1, *, lease: int = LEASE, trim: str = "") -> list[Any]:
        named = [self.keys.nodes, self.keys.inbox(node), self.keys.config]
        reply: list[Any] = self.run(scripts.HEARTBEAT, named, [node, lease, INBOX_LIFE, probe, trim])
        return reply

    def fence(self, at_most: int = 100) -> list[str]:
        return self.fenced(at_most)[::3]

    def fenced(self, at_most: int = 100, window: int = 0) -> list[str]:
        """Nodes, each with "1" if its window is over, and "1" if it was fenced just now."""
        reply: list[str] = self.run(scripts.FENCE, [self.keys.nodes], [at_most, window])
        return reply

    def unregister(self, node: NodeId, window: int = 60_000) -> int:
        keys = self.keys
        named = [keys.nodes, keys.rooms_of(node), keys.inbox(node), keys.config]
        reply: int = self.run(scripts.UNREGISTER, named, [node, window])
        return reply

    def reap_node(self, node: NodeId, life: int = 60_000, *, keep_inbox: bool = False) -> int:
        keys = self.keys
        named = [keys.nodes, keys.rooms_of(node), keys.inbox(node), keys.tombstone(node), keys.left_by(node)]
        reply: int = self.run(scripts.REAP_NODE, named, [node, life, "1" if keep_inbox else ""])
        return reply

    def reap_room(
        self, dead: NodeId, *, room: RoomId = ROOM, others: Sequence[NodeId] = (), reason: str = "node-lost"
    ) -> list[str]:
        return self._room(scripts.REAP_ROOM, dead, room, others, RUN, [reason], (self.keys.left_by(dead),))

    def claim(
        self,
        node: NodeId,
        member: Member,
        epoch: int,
        *,
        owner: NodeId | None = None,
        others: Sequence[NodeId] = (),
        snapshot: bool = False,
    ) -> list[str]:
        own: list[Argument] = [field_of(member), member.incarnation, epoch, "1" if snapshot else "", owner or ""]
        return self._room(scripts.CLAIM, node, ROOM, others, RUN, own)

    def fence_owner(self, node: NodeId, member: Member, epoch: int, *, others: Sequence[NodeId] = ()) -> list[str]:
        own: list[Argument] = [field_of(member), member.incarnation, epoch]
        return self._room(scripts.FENCE_OWNER, node, ROOM, others, RUN, own)

    def end_recovery(self, node: NodeId, member: Member, epoch: int, *, others: Sequence[NodeId] = ()) -> list[str]:
        return self._room(scripts.END_RECOVERY, node, ROOM, others, RUN, [member.incarnation, epoch])

    def save_session(
        self,
        node: NodeId,
        session: str,
        generation: int,
        *,
        proved: bool = False,
        owner: str = "peer:",
        left: bytes = b"",
        life: int = 60_000,
        removed: str = "",
        epoch: int = 0,
        asked_at: int | str = "",
    ) -> str:
        oldest = generation if proved else generation - 1
        own: list[Argument] = [node, generation, oldest, owner, b'[["room123","ana","s.1",false]]', left, removed, life]
        own += [epoch, asked_at]
        return str(self.run(scripts.SAVE_SESSION, [self.keys.session(session)], own)[0])

    def acquire_session(
        self,
        node: NodeId,
        session: str,
        generation: int,
        *,
        owner: str = "peer:",
        hold: int = 1000,
        asked_at: int | str = "",
    ) -> list[str]:
        named = [self.keys.nodes, self.keys.session(session), self.keys.config]
        reply: list[str] = self.run(scripts.ACQUIRE_SESSION, named, [node, generation, owner, hold, asked_at])
        return reply

    def delete_session(self, node: NodeId, session: str) -> str:
        return str(self.run(scripts.DELETE_SESSION, [self.keys.session(session)], [node])[0])

    def join(
        self,
        member: Member,
        *,
        room: RoomId = ROOM,
        others: Sequence[NodeId] = (),
        capacity: int = 100,
        snapshot: bool = False,
        run: str = RUN,
        moderator: bool = False,
    ) -> list[str]:
        own: list[Argument] = [pack(StoredMember.of(member)), capacity]
        own += ["1" if snapshot else "", "1" if moderator else ""]
        return self._room(scripts.JOIN, member.node, room, others, run, own)

    def kick(
        self,
        by: Member,
        whom: Member,
        *,
        room: RoomId = ROOM,
        others: Sequence[NodeId] = (),
        life: int = 60_000,
        notice: str = "",
        ban: int = 0,
        max_bans: int = 100,
    ) -> list[str]:
        own: list[Argument] = [field_of(by), by.incarnation, whom.kind, whom.id, life, notice, ban, max_bans]
        return self._room(scripts.KICK, by.node, room, others, RUN, own)

    def close_room(
        self,
        by: Member,
        *,
        room: RoomId = ROOM,
        others: Sequence[NodeId] = (),
        life: int = 60_000,
        notice: str = "",
    ) -> list[str]:
        own: list[Argument] = [field_of(by), by.incarnation, life, notice]
        return self._room(scripts.CLOSE, by.node, room, others, RUN, own)

    def update(self, member: Member, *, others: Sequence[NodeId] = (), **metadata: Any) -> list[str]:
        own: list[Argument] = [field_of(member), member.incarnation, pack_metadata(metadata)]
        return self._room(scripts.UPDATE, member.node, ROOM, others, RUN, own)

    def list_bans(self, by: Member) -> list[str]:
        return self._room(scripts.LIST_BANS, by.node, ROOM, (), RUN, [field_of(by), by.incarnation])

    def unban(self, by: Member, whom: Member) -> list[str]:
        own: list[Argument] = [field_of(by), by.incarnation, whom.kind, whom.id]
        return self._room(scripts.UNBAN, by.node, ROOM, (), RUN, own)

    def lock(self, by: Member, *, locked: bool = True, room: RoomId = ROOM, others: Sequence[NodeId] = ()) -> list[str]:
        own: list[Argument] = [field_of(by), by.incarnation, "1" if locked else "0"]
        return self._room(scripts.LOCK, by.node, room, others, RUN, own)

    def set_presence(
        self,
        member: Member,
        *,
        detached: bool,
        room: RoomId = ROOM,
        others: Sequence[NodeId] = (),
        run: str = RUN,
        address: str = "",
    ) -> list[str]:
        own = [field_of(member), member.incarnation, "1" if detached else "0", address]
        return self._room(scripts.SET_PRESENCE, member.node, room, others, run, own)

    def leave(
        self,
        member: Member,
        *,
        room: RoomId = ROOM,
        others: Sequence[NodeId] = (),
        reason: str = "left",
        run: str = RUN,
    ) -> list[str]:
        own = [field_of(member), member.incarnation, reason]
        return self._room(scripts.LEAVE, member.node, room, others, run, own)

    def resync(
        self,
        node: NodeId,
        members: Sequence[tuple[Member, bool]],
        *,
        token: str = "1",  # noqa: S107 - of a request
        room: RoomId = ROOM,
        others: Sequence[NodeId] = (),
        run: str = RUN,
        lock: int = 0,
        elsewhere: Sequence[Member] = (),
        kicked: Sequence[Member] = (),
        notice: str = "",
    ) -> list[str]:
        """Announce members, each with whether it is confirmed, and those that are at other nodes or were kicked."""
        announced = [
            {"member": StoredMember.of(structs.replace(member, node=node)), "confirmed": confirmed}
            for member, confirmed in members
        ]
        moved = {one.incarnation: {"node": one.node, "epoch": one.epoch} for one in elsewhere}
        gone = [{"incarnation": one.incarnation, "notice": notice} for one in kicked]
        what: list[Argument] = [pack(announced), pack(moved), pack(gone), 60_000, LEASE]
        return self._room(scripts.RESYNC, node, room, others, run, [token, lock, *what])

    def announce(
        self, node: NodeId, nonce: str, content: str = "{}", *, room: RoomId = ROOM, others: Sequence[NodeId] = ()
    ) -> list[str]:
        """Tell a room something from the application."""
        return self._room(scripts.ANNOUNCE, node, room, others, RUN, [nonce, content, "", ""])

    def audit(self, node: NodeId, *rooms: tuple[RoomId, Sequence[Member]]) -> list[AuditedRoom]:
        """The reply to a node about rooms, each with its own members there."""
        keys = self.keys
        named = [keys.nodes, keys.inbox(node), keys.rooms_of(node)]
        named += [key for room, _ in rooms for key in (keys.members(room), keys.state(room))]
        asked = [{"room": room, "own": {field_of(one): one.incarnation for one in own}} for room, own in rooms]
        reply = self.run(scripts.AUDIT, named, [node, MAX_ENTRIES, pack(asked)])
        if reply == ["FENCED"]:
            return []
        news = self.inbox(node)[-1]
        assert isinstance(news, Audit)
        return news.rooms

    def expire(
        self, node: NodeId, members: Sequence[Member], *, room: RoomId = ROOM, others: Sequence[NodeId] = ()
    ) -> list[str]:
        listed = [StoredMember.of(one) for one in members]
        return self._room(scripts.EXPIRE, node, room, others, RUN, [pack(listed)])

    def inbox(self, node: NodeId) -> list[Entry]:
        """All entries of an inbox, decoded."""
        return [entries.read(flat) for _, flat in self.entries(node)]

    def told(self, node: NodeId) -> list[Changes | Snapshot]:
        """The changes and snapshots that a node was sent since the last call."""
        found = self.inbox(node)
        self.redis.xtrim(self.keys.inbox(node), maxlen=0, approximate=False)
        return [news for news in found if isinstance(news, Changes | Snapshot)]

    def entries(self, node: NodeId, start: str = "-", count: int = 10_000) -> list[tuple[bytes, list[bytes]]]:
        """The raw entries of an inbox, from an id on."""
        with self.redis.pipeline(transaction=False) as pipeline:
            pipeline.set_response_callback("XRANGE", lambda reply, **_options: reply)
            pipeline.execute_command("XRANGE", self.keys.inbox(node), start, "+", "COUNT", count)
            (found,) = pipeline.execute()
        return [(name, flat) for name, flat in found]

    def members(self, room: RoomId = ROOM) -> dict[Incarnation, Member]:
        """The members of a room, as the server keeps them."""
        packed = self.redis.hvals(self.keys.members(room))
        found = [msgspec.msgpack.decode(one, type=StoredMember).restored() for one in packed]
        return {member.incarnation: member for member in found}

    def incarnations(self, room: RoomId = ROOM) -> set[Incarnation]:
        """The incarnations in a room, as the server keeps them."""
        return set(self.members(room))

    def deadline(self, node: NodeId) -> float | None:
        """Milliseconds; negative if the node is fenced, None if it is not registered."""
        score = self.redis.zscore(self.keys.nodes, node)
        return None if score is None else float(score)

    def expire_leases(self, *nodes: NodeId) -> None:
        """Let leases have expired a second ago."""
        for node in nodes:
            self.redis.zadd(self.keys.nodes, {node: int((time.time() - 1) * 1000)})

    def fields(self, room: RoomId = ROOM) -> set[str]:
        """The fields of the members of a room."""
        return {field.decode() for field in self.redis.hkeys(self.keys.members(room))}

    def state(self, room: RoomId = ROOM) -> dict[str, str]:
        """The state of a room."""
        found = self.redis.hgetall(self.keys.state(room))
        return {field.decode(): value.decode() for field, value in found.items()}

    def key_names(self) -> set[str]:
        """All keys."""
        return {name.decode(errors="replace") for name in self.redis.execute_command("KEYS", "*")}
