"""Several nodes in the test's own loop, each with its own broker, over one real Redis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import structs

from mcp_actors.broker.redis import RedisBroker, RedisSettings
from mcp_actors.protocol.events import (
    Announced,
    ClaimRefused,
    Kind,
    MemberJoined,
    MemberLeft,
    MemberMarked,
    MemberMoved,
    Receipt,
    Signalled,
)
from mcp_actors.protocol.identifiers import NodeId
from mcp_actors.redis_url import parse
from tests.broker.contract import ROOM, Ear
from tests.support.loop import until

if TYPE_CHECKING:
    from mcp_actors.protocol.events import Event, Member
    from mcp_actors.protocol.identifiers import Incarnation, RoomId

LEASE = 0.6
"""Seconds: short, as some tests wait for several; the loop of a test is never held up for so long."""


def redis_broker(url: str, node: str, *, buckets: int = 1, prefix: str = "test", **settings: Any) -> RedisBroker:
    """A broker that is not started; its settings are those of `RedisSettings`, `timeout` and `ca_file`."""
    access = {"timeout": settings.pop("timeout", 1.0), "ca_file": settings.pop("ca_file", "")}
    chosen = RedisSettings(**{"lease": LEASE, "outage_patience": 0.3, **settings})
    return RedisBroker(parse(url), NodeId(node), prefix=prefix, buckets=buckets, settings=chosen, **access)


class Site(Ear):
    """One node: its broker, and what it heard."""

    broker: RedisBroker

    def __init__(self, url: str, node: str, **how: Any) -> None:
        super().__init__(redis_broker(url, node, **how), NodeId(node))

    def _hear(self, room: RoomId, event: Event) -> None:
        super()._hear(room, event)
        if isinstance(event, MemberMoved):
            self.broker.switch(room, event)

    async def start(self) -> None:
        await self.broker.start()

    async def stop(self) -> None:
        for link in self.broker._links:
            for room in list(link.bucket._replicas):
                self.broker.abandon(room)
        await self.broker.stop()

    async def die(self) -> None:
        """Be gone without a word, as after kill -9."""
        for task in self.broker._tasks:
            task.cancel()
        await asyncio.gather(*self.broker._tasks, return_exceptions=True)
        for link in self.broker._links:
            link.hang_up()

    def revive(self) -> None:
        """Go on after `die`, as after SIGCONT."""
        self.broker._tasks = [asyncio.create_task(link.run()) for link in self.broker._links]

    @property
    def members(self) -> dict[Incarnation, Member]:
        """Who is in the room, as this node knows it."""
        bucket = self.broker._bucket(ROOM)
        replica = bucket._replicas.get(ROOM)
        return {} if replica is None else replica.members

    @property
    def version(self) -> int | None:
        """Of the room, as this node knows it."""
        replica = self.broker._bucket(ROOM)._replicas.get(ROOM)
        return None if replica is None else replica.version

    async def enter(self, name: str, kind: Kind = Kind.PEER, *, room: RoomId = ROOM) -> Incarnation:
        """Join, and wait until it is heard."""
        incarnation = self.join(kind, name, room=room)
        await until(lambda: self._position(room, incarnation) is not None, f"{name} in {room} on {self.node}")
        return incarnation

    def ask_claim(self, member: Member, moves: int = 1) -> None:
        """Claim a member of another node."""
        self.broker.claim(ROOM, structs.replace(member, node=self.node, metadata={}, moves=moves))

    async def claim(self, incarnation: Incarnation, member: Member | None = None, moves: int = 1) -> MemberMoved:
        """Claim a member of another node, and wait until its move is heard."""
        self.ask_claim(member or self.members[incarnation], moves)
        await until(lambda: self.claim_ended(incarnation), f"the move of {incarnation}")
        (move,) = [event for event in self.heard_of(MemberMoved) if event.incarnation == incarnation]
        assert isinstance(move, MemberMoved)
        return move

    def claim_ended(self, incarnation: Incarnation) -> bool:
        """Whether a claim was heard to be done, or refused."""
        return any(event.incarnation == incarnation for event in self.heard_of(MemberMoved, ClaimRefused))

    def told_since(self, newcomer: Incarnation | None = None) -> list[tuple[Incarnation, str]]:
        """What was heard of members after one of them came."""
        start = 0 if newcomer is None else (self._position(ROOM, newcomer) or 0) + 1
        return [
            (event.member.incarnation if isinstance(event, MemberJoined) else event.incarnation, type(event).__name__)
            for event in self._heard.get(ROOM, [])[start:]
            if isinstance(event, MemberJoined | MemberLeft | MemberMarked | MemberMoved)
        ]

    async def knows(self, *incarnations: Incarnation) -> None:
        """Wait until exactly these are in the room."""
        await until(
            lambda: set(self.members) == set(incarnations), f"{incarnations} on {self.node}, not {list(self.members)}"
        )

    def heard_of(self, *kinds: type[Event], room: RoomId = ROOM) -> list[Any]:
        """The events of some kinds, in order."""
        return [event for event in self._heard.get(room, []) if isinstance(event, kinds)]

    @property
    def frames(self) -> list[bytes]:
        """What other nodes sent, in order."""
        return [event.frame for event in self.heard_of(Signalled, Announced)]

    @property
    def receipts(self) -> list[tuple[int, bool]]:
        """The receipts, in order."""
        return [(event.ticket, event.delivered) for event in self.heard_of(Receipt)]

    def signal(self, sender: Incarnation, target: Incarnation, frame: bytes, ticket: int = 0) -> None:
        """Send a frame to a member on another node."""
        self.broker.relay(ROOM, self.members[sender], self.members[target], frame, ticket)
