"""Several nodes in the loop of the test, each with its own broker, over one real Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import structs

from mcp_actors.broker.redis import RedisBroker, RedisSettings, Tls
from mcp_actors.protocol.events import (
    ClaimRefused,
    Kind,
    MemberJoined,
    MemberLeft,
    MemberMoved,
    PresenceChanged,
    Receipt,
    RemoteBroadcast,
    RemoteSignal,
)
from mcp_actors.protocol.identifiers import NodeId
from mcp_actors.redis_url import parse
from tests.broker.contract import ROOM, Recorder
from tests.support.loop import until

if TYPE_CHECKING:
    from mcp_actors.protocol.events import Event, Member
    from mcp_actors.protocol.identifiers import Incarnation, RoomId

LEASE = 1.0
"""Seconds: some tests wait for several leases, and no test holds up its loop for so long."""


def redis_broker(url: str, node: str, *, buckets: int = 1, prefix: str = "test", **settings: Any) -> RedisBroker:
    """A broker that is not started, with settings of `RedisSettings`, `timeout` and `files`."""
    access: dict[str, Any] = {"timeout": settings.pop("timeout", 5.0), "files": settings.pop("files", Tls())}
    chosen = RedisSettings(**{"lease": LEASE, "outage_patience": 0.3, **settings})
    return RedisBroker(parse(url), NodeId(node), prefix=prefix, buckets=buckets, settings=chosen, **access)


class BrokerNode(Recorder):
    """One node: its broker, and what it received."""

    broker: RedisBroker

    def __init__(self, url: str, node: str, **how: Any) -> None:
        super().__init__(redis_broker(url, node, **how), NodeId(node))

    def receive(self, room: RoomId, event: Event) -> None:
        super().receive(room, event)
        if isinstance(event, MemberMoved):
            self.broker.ack_cutover(room, event)

    async def start(self) -> None:
        await self.broker.start()

    async def stop(self) -> None:
        for room in self.events:
            self.broker.abandon(room)
        await self.broker.stop()

    async def die(self) -> None:
        """Be gone without a word, as after kill -9."""
        await self.broker.halt()

    def revive(self) -> None:
        """Go on after `die`, as after SIGCONT."""
        self.broker.resume()

    @property
    def members(self) -> dict[Incarnation, Member]:
        """The members of the room, as this node knows them."""
        return self.rosters.get(ROOM, {})

    @property
    def version(self) -> int:
        """The version of the room, as this node knows it."""
        return max(getattr(event, "version", 0) for event in self.events[ROOM])

    @property
    def counters(self) -> dict[str, Any]:
        """The health of its first bucket."""
        found: dict[str, Any] = self.broker.health()["buckets"][0]
        return found

    async def enter(self, name: str, kind: Kind = Kind.PEER, *, room: RoomId = ROOM) -> Incarnation:
        """Join, and wait until that is received."""
        incarnation = self.join(kind, name, room=room)
        await until(lambda: self.position(room, incarnation) is not None, f"{name} in {room} on {self.node}")
        return incarnation

    def ask_claim(self, member: Member, epoch: int = 1) -> None:
        """Claim a member of another node."""
        self.broker.claim(ROOM, structs.replace(member, node=self.node, metadata={}, epoch=epoch))

    async def claim(self, incarnation: Incarnation, member: Member | None = None, epoch: int = 1) -> MemberMoved:
        """Claim a member of another node, and wait until its move is received."""
        self.ask_claim(member or self.members[incarnation], epoch)
        await until(lambda: self.claim_ended(incarnation), f"the move of {incarnation}")
        (move,) = [event for event in self.of_kind(MemberMoved) if event.incarnation == incarnation]
        assert isinstance(move, MemberMoved)
        return move

    def claim_ended(self, incarnation: Incarnation) -> bool:
        """Whether a claim succeeded or was refused."""
        return any(event.incarnation == incarnation for event in self.of_kind(MemberMoved, ClaimRefused))

    def received_since(self, newcomer: Incarnation | None = None) -> list[tuple[Incarnation, str]]:
        """What was received about members after one of them joined."""
        start = 0 if newcomer is None else (self.position(ROOM, newcomer) or 0) + 1
        return [
            (event.member.incarnation if isinstance(event, MemberJoined) else event.incarnation, type(event).__name__)
            for event in self.events.get(ROOM, [])[start:]
            if isinstance(event, MemberJoined | MemberLeft | PresenceChanged | MemberMoved)
        ]

    async def knows(self, *incarnations: Incarnation) -> None:
        """Wait until exactly these are in the room."""
        await until(
            lambda: set(self.members) == set(incarnations), f"{incarnations} on {self.node}, not {list(self.members)}"
        )

    def of_kind(self, *kinds: type[Event], room: RoomId = ROOM) -> list[Any]:
        """The events of some kinds, in order."""
        return [event for event in self.events.get(room, []) if isinstance(event, kinds)]

    @property
    def frames(self) -> list[bytes]:
        """What other nodes sent, in order."""
        return [event.frame for event in self.of_kind(RemoteSignal, RemoteBroadcast)]

    @property
    def receipts(self) -> list[tuple[int, bool]]:
        """The receipts, in order."""
        return [(event.delivery_id, event.delivered) for event in self.of_kind(Receipt)]

    def signal(self, sender: Incarnation, target: Incarnation, frame: bytes, delivery_id: int = 0) -> None:
        """Send a frame to a member on another node."""
        self.broker.relay(ROOM, self.members[sender], self.members[target], frame, delivery_id)


class StartNode(Protocol):
    """Starts a node that stops after the test."""

    async def __call__(self, name: str, **how: Any) -> BrokerNode:
        """Start it with these settings beside those of the module."""
