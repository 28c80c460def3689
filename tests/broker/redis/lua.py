"""The scripts as tests call them, on a real server: each with its keys in place, and its reply as text."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

import msgspec
import redis

from mcp_actors.broker.redis import entries
from mcp_actors.broker.redis.entries import Changes, Frame, Probe, Snapshot, field_of, member_text, user_text
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.broker.redis.link import PROTOCOL
from mcp_actors.broker.redis.scripts import (
    ATTACH,
    BEAT,
    BYE,
    CLAIM,
    CLOSE,
    CONDEMN,
    EXPIRE,
    FORGET,
    JOIN,
    KICK,
    LEAVE,
    LOCK,
    MARK,
    NOTE,
    REAP_NODE,
    REAP_ROOM,
    RESYNC,
    RETIRE,
    SCRIPTS,
    TAKE,
)
from mcp_actors.protocol.events import Kind, Member
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId, UserId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.engine import Engine
    from mcp_actors.broker.redis.scripts import Script

ROOM = RoomId("room123")
A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
RUN = "run"
LEASE = 60_000
INBOX_LIFE = 120_000
MAX_ENTRIES = 1000


def peer(name: str, node: NodeId = A, order: int = 0, **metadata: Any) -> Member:
    """A peer whose incarnation is `name` on its node."""
    return Member(Kind.PEER, PeerId(name), Incarnation(f"{node}.{name}"), node, metadata, order)


def user(name: str, number: int = 1, node: NodeId = A, order: int = 0) -> Member:
    """One of the connections of a user."""
    return Member(Kind.USER, UserId(name), Incarnation(f"{node}.{name}.{number}"), node, {}, order)


class Store:
    """A server, emptied, with all scripts loaded."""

    def __init__(self, engine: Engine, keys: Keys | None = None) -> None:
        self.redis: Any = redis.Redis(port=engine.port, socket_timeout=10)
        self.keys = keys or Keys("test", 0, 1)
        self.redis.flushall()
        for script in SCRIPTS:
            self.redis.script_load(script.text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.redis.close()

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        """Its reply; the strings in a list are decoded."""
        reply = self.redis.evalsha(script.digest, len(keys), *keys, *arguments)
        return [part.decode() for part in reply] if isinstance(reply, list) and script is not BEAT else reply

    def _room(
        self,
        script: Script,
        node: NodeId,
        room: RoomId,
        others: Sequence[NodeId],
        run: str,
        arguments: Sequence[str | bytes | int],
        also: Sequence[str] = (),
    ) -> list[str]:
        keys = self.keys
        named = [keys.nodes, keys.room(room), keys.nodes_of(room), keys.rooms_of(node)]
        named += [keys.inbox(NodeId(name)) for name in dict.fromkeys((node, *others))]
        named += also
        reply: list[str] = self.run(script, named, [node, room, keys.inboxes, MAX_ENTRIES, run, *arguments])
        return reply

    def attach(
        self,
        node: NodeId,
        *,
        lease: int = LEASE,
        version: str = PROTOCOL,
        buckets: int = 1,
        anew: bool = False,
        run: str = RUN,
        hold: int | None = None,
    ) -> list[str]:
        keys = self.keys
        named = [keys.nodes, keys.inbox(node), keys.config, keys.tombstone(node)]
        known = "" if hold is None else "1"
        last: list[str | bytes | int] = [run, known, known, hold or 0]
        reply: list[str] = self.run(
            ATTACH, named, [node, lease, INBOX_LIFE, version, buckets, "1" if anew else "", *last]
        )
        return reply

    def beat(self, node: NodeId, probe: int = 1, *, lease: int = LEASE, cut: str = "") -> list[Any]:
        named = [self.keys.nodes, self.keys.inbox(node), self.keys.config]
        reply: list[Any] = self.run(BEAT, named, [node, lease, INBOX_LIFE, probe, cut])
        return reply

    def condemn(self, at_most: int = 100) -> list[str]:
        return self.condemned(at_most)[::3]

    def condemned(self, at_most: int = 100, window: int = 0) -> list[str]:
        """Nodes, each with "1" if the time is over that its members have, and "1" if it was condemned just now."""
        reply: list[str] = self.run(CONDEMN, [self.keys.nodes], [at_most, window])
        return reply

    def bye(self, node: NodeId) -> int:
        keys = self.keys
        named = [keys.nodes, keys.rooms_of(node), keys.inbox(node), keys.config]
        reply: int = self.run(BYE, named, [node])
        return reply

    def retire(self, node: NodeId, window: int) -> int:
        reply: int = self.run(RETIRE, [self.keys.nodes], [node, window])
        return reply

    def reap_node(self, node: NodeId, life: int = 60_000) -> int:
        keys = self.keys
        named = [keys.nodes, keys.rooms_of(node), keys.inbox(node), keys.tombstone(node), keys.left_by(node)]
        reply: int = self.run(REAP_NODE, named, [node, life])
        return reply

    def reap_room(
        self, dead: NodeId, *, room: RoomId = ROOM, others: Sequence[NodeId] = (), reason: str = "node-lost"
    ) -> list[str]:
        return self._room(REAP_ROOM, dead, room, others, RUN, [reason], [self.keys.left_by(dead)])

    def claim(
        self,
        node: NodeId,
        member: Member,
        moves: int,
        *,
        rival: NodeId | None = None,
        others: Sequence[NodeId] = (),
        whole: bool = False,
    ) -> list[str]:
        own: list[str | bytes | int] = [field_of(member), member.incarnation, moves, "1" if whole else "", rival or ""]
        return self._room(
            CLAIM, node, ROOM, others, RUN, own, [self.keys.out_of(ROOM), self.keys.rooms_of(rival or node)]
        )

    def note(
        self,
        node: NodeId,
        session: str,
        generation: int,
        *,
        proved: bool = False,
        whose: str = "peer:",
        left: bytes = b"",
        life: int = 60_000,
        out: str = "",
    ) -> str:
        rooms = b'[["room123","ana","s.1",false]]'
        arguments: list[str | bytes | int] = [
            node,
            generation,
            generation if proved else generation - 1,
            whose,
            rooms,
            left,
            life,
            out,
        ]
        return str(self.run(NOTE, [self.keys.session(session)], arguments)[0])

    def take(
        self, node: NodeId, session: str, generation: int, *, whose: str = "peer:", patience: int = 1000
    ) -> list[str]:
        named = [self.keys.nodes, self.keys.session(session)]
        reply: list[str] = self.run(TAKE, named, [node, generation, whose, patience])
        return reply

    def forget(self, node: NodeId, session: str) -> str:
        return str(self.run(FORGET, [self.keys.session(session)], [node])[0])

    def join(
        self,
        member: Member,
        *,
        room: RoomId = ROOM,
        others: Sequence[NodeId] = (),
        capacity: int = 100,
        whole: bool = False,
        run: str = RUN,
        rival: NodeId | None = None,
        moderator: bool = False,
    ) -> list[str]:
        own: list[str | bytes | int] = [field_of(member), member.incarnation, member_text(member), capacity]
        own += ["1" if whole else "", rival or ""]
        own.append("1" if moderator else "")
        also = (self.keys.rooms_of(rival or member.node), self.keys.config)
        return self._room(JOIN, member.node, room, others, run, own, also)

    def kick(
        self, by: Member, whom: Member, *, room: RoomId = ROOM, others: Sequence[NodeId] = (), life: int = 60_000
    ) -> list[str]:
        is_peer = whom.kind is Kind.PEER
        own: list[str | bytes | int] = [field_of(by), by.incarnation, field_of(whom) if is_peer else ""]
        own += [b"" if is_peer else user_text(whom.id), life]
        return self._room(KICK, by.node, room, others, RUN, own, self._of_nodes(by, room, others))

    def close_room(
        self, by: Member, *, room: RoomId = ROOM, others: Sequence[NodeId] = (), life: int = 60_000
    ) -> list[str]:
        own: list[str | bytes | int] = [field_of(by), by.incarnation, life]
        return self._room(CLOSE, by.node, room, others, RUN, own, self._of_nodes(by, room, others))

    def _of_nodes(self, by: Member, room: RoomId, others: Sequence[NodeId]) -> list[str]:
        nodes = [NodeId(name) for name in dict.fromkeys((by.node, *others))]
        return [*map(self.keys.rooms_of, nodes), self.keys.config, self.keys.out_of(room)]

    def lock(self, by: Member, *, locked: bool = True, room: RoomId = ROOM, others: Sequence[NodeId] = ()) -> list[str]:
        own: list[str | bytes | int] = [field_of(by), by.incarnation, "1" if locked else "0"]
        return self._room(LOCK, by.node, room, others, RUN, own)

    def mark(
        self, member: Member, *, away: bool, room: RoomId = ROOM, others: Sequence[NodeId] = (), run: str = RUN
    ) -> list[str]:
        own = [field_of(member), member.incarnation, "1" if away else "0"]
        return self._room(MARK, member.node, room, others, run, own)

    def leave(
        self,
        member: Member,
        *,
        room: RoomId = ROOM,
        others: Sequence[NodeId] = (),
        reason: str = "left",
        run: str = RUN,
    ) -> list[str]:
        return self._room(LEAVE, member.node, room, others, run, [field_of(member), member.incarnation, reason])

    def resync(
        self,
        node: NodeId,
        members: Sequence[tuple[Member, str]],
        *,
        token: str = "1",  # noqa: S107 - of a question
        room: RoomId = ROOM,
        others: Sequence[NodeId] = (),
        run: str = RUN,
        lock: int = 0,
    ) -> list[str]:
        own: list[str | bytes | int] = [token, lock]
        for member, whether in members:
            kind = "p" if member.kind is Kind.PEER else "u"
            own += [field_of(member), member.incarnation, kind, member.order, member_text(member)]
            own += ["1" if member.away else "0", member.moves, whether]
        return self._room(RESYNC, node, room, others, run, own, [self.keys.out_of(room)])

    def expire(
        self, node: NodeId, members: Sequence[Member], *, room: RoomId = ROOM, others: Sequence[NodeId] = ()
    ) -> list[str]:
        pairs = [part for member in members for part in (field_of(member), member.incarnation)]
        return self._room(EXPIRE, node, room, others, RUN, pairs)

    def inbox(self, node: NodeId) -> list[list[Frame] | Changes | Snapshot | Probe]:
        """All that lies in a node's inbox, read."""
        return [entries.read(flat) for _, flat in self.entries(node)]

    def told(self, node: NodeId) -> list[Changes | Snapshot]:
        """What a node was told of rooms, since it was last asked for here."""
        found = self.inbox(node)
        self.redis.xtrim(self.keys.inbox(node), maxlen=0, approximate=False)
        return [news for news in found if isinstance(news, Changes | Snapshot)]

    def entries(self, node: NodeId, start: str = "-", count: int = 10_000) -> list[tuple[bytes, list[bytes]]]:
        """Entries of an inbox, as they are, from an id on."""
        with self.redis.pipeline(transaction=False) as pipeline:
            pipeline.set_response_callback("XRANGE", lambda reply, **_options: reply)
            pipeline.execute_command("XRANGE", self.keys.inbox(node), start, "+", "COUNT", count)
            (found,) = pipeline.execute()
        return [(name, flat) for name, flat in found]

    def members(self, room: RoomId = ROOM) -> dict[Incarnation, Member]:
        """Who is in a room, as the server keeps it."""
        found = {}
        for packed in self.redis.hvals(self.keys.room(room)):
            node, incarnation, order, text, away, moves = msgspec.msgpack.decode(packed)
            kind, name, metadata, verified = msgspec.json.decode(text)
            found[Incarnation(incarnation)] = Member(
                Kind(kind),
                PeerId(name),
                Incarnation(incarnation),
                NodeId(node),
                metadata,
                order,
                away == "1",
                moves,
                verified,
            )
        return found

    def incarnations(self, room: RoomId = ROOM) -> set[Incarnation]:
        """The incarnations in a room."""
        return set(self.members(room))

    def deadline(self, node: NodeId) -> float | None:
        """Milliseconds; below 0 if it is condemned, None if it is not registered."""
        score = self.redis.zscore(self.keys.nodes, node)
        return None if score is None else float(score)

    def run_out(self, *nodes: NodeId) -> None:
        """Let leases have run out a second ago."""
        for node in nodes:
            self.redis.zadd(self.keys.nodes, {node: int((time.time() - 1) * 1000)})

    def fields(self, room: RoomId = ROOM) -> set[str]:
        """Under what a room's members are kept."""
        return {field.decode() for field in self.redis.hkeys(self.keys.room(room))}

    def state(self, room: RoomId = ROOM) -> dict[str, str]:
        """The nodes and counters of a room."""
        found = self.redis.hgetall(self.keys.nodes_of(room))
        return {field.decode(): value.decode() for field, value in found.items()}

    def names(self) -> set[str]:
        """All keys there are."""
        return {name.decode(errors="replace") for name in self.redis.execute_command("KEYS", "*")}
