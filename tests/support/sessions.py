"""What tests of sessions stand on: connections and places in rooms that remember what they were told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from mcp_actors.actors.mail import Greeting
from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.node import Node
from mcp_actors.protocol.events import Kind, LeaveReason
from mcp_actors.protocol.identifiers import NodeId, PeerId, RoomId
from mcp_actors.sessions import Session, Sessions

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcp_actors.node import Membership
    from mcp_actors.protocol.errors import (
        CloseCode,
        SignalingError,
    )

CLOCK = 0.002
"""What uvloop's clock, which counts milliseconds, may be off."""

ROOM, OTHER_ROOM = RoomId("room"), RoomId("other")
FRAME = b'{"type":"x"}'
NUMBERED = re.compile(rb'\{"delivery":(\d+),"type":"x"\}')


class FakeWire:
    """A connection that remembers what was written to it."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.pings = 0
        self.closes: list[CloseCode] = []

    def put(self, frame: bytes) -> bool:
        if not self.closes:
            self.frames.append(frame)
        return not self.closes

    def close(self, code: CloseCode, leave: LeaveReason = LeaveReason.DISCONNECTED) -> None:
        del leave
        self.closes.append(code)

    def ping(self) -> None:
        self.pings += 1

    @property
    def numbers(self) -> list[int]:
        return [number(frame) for frame in self.frames]


class FullWire(FakeWire):
    """A connection that gives up at the first frame, as one does whose client does not read."""

    session: Session

    def put(self, frame: bytes) -> bool:
        del frame
        self.session.lost(self, LeaveReason.DISCONNECTED, final=False)
        return False


class FakeMembership:
    """A place in a room that remembers what it was told."""

    def __init__(self, member_id: str = "ana", refusal: type[SignalingError] | None = None) -> None:
        self.member_id = PeerId(member_id)
        self.told: list[str] = []
        self._refusal = refusal

    async def enter(
        self, outlet: object, greeting: Greeting, *, presence: bool = False, moderator: bool = False
    ) -> None:
        del outlet, greeting, presence, moderator
        if self._refusal is not None:
            raise self._refusal("refused")

    def mark(self, *, away: bool) -> None:
        self.told.append("away" if away else "back")

    async def leave(self, request_id: object) -> None:
        self.told.append(f"leave {request_id}")

    def end(self, reason: LeaveReason) -> None:
        self.told.append(reason)

    async def depart(self) -> None:
        self.told.append("depart")


def number(frame: bytes) -> int:
    found = NUMBERED.fullmatch(frame)
    assert found, frame
    return int(found[1])


def registry(secret: bytes = b"secret", **changed: Any) -> Sessions:
    bounds = {"window": 30.0, "max_frames": 1000, "max_bytes": 1_000_000, "max_rooms": 3, "max_away": 10}
    node = Node(NodeId("n"), MemoryBroker(), room_capacity=9, max_rooms=9, max_inbox=9, max_unanswered=9)
    return Sessions(node, secret, **{**bounds, **changed})


def opened(of: Sessions | None = None, wire: FakeWire | None = None) -> tuple[Session, FakeWire]:
    wire = wire or FakeWire()
    of = registry() if of is None else of
    return of.open(Kind.PEER, "", wire), wire


def enter(session: Session, membership: FakeMembership, room: RoomId = ROOM) -> Awaitable[None]:
    return session.enter(room, cast("Membership", membership), Greeting())


async def joined(of: Sessions | None = None, wire: FakeWire | None = None) -> tuple[Session, FakeWire, FakeMembership]:
    """A session in a room: one that is worth waiting for."""
    session, wire = opened(of, wire)
    membership = FakeMembership()
    await enter(session, membership)
    return session, wire, membership


def cut(session: Session, wire: FakeWire) -> None:
    session.lost(wire, LeaveReason.DISCONNECTED, final=False)


def put(session: Session, times: int = 1) -> None:
    for _ in range(times):
        assert session.put(FRAME)


def come_back(session: Session, received: int) -> tuple[bool, list[int]]:
    """Whether it says that all is there, and the numbers of what is written again."""
    wire = FakeWire()
    complete = session.attach(wire, received)
    return complete, wire.numbers
