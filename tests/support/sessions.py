"""What tests of sessions share: a registry, and connections and memberships that record what they are told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.node import Node
from mcp_actors.protocol.events import Kind, LeaveReason
from mcp_actors.protocol.identifiers import NodeId, PeerId, RoomId
from mcp_actors.protocol.outgoing import Relayed
from mcp_actors.sessions import Greeting, Session, SessionLimits, Sessions
from mcp_actors.sessions.migration_buffer import MigrationBuffer
from mcp_actors.sessions.resume_tokens import new_session_id

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcp_actors.node import Membership
    from mcp_actors.protocol.errors import CloseCode, SignalingError

CLOCK = 0.002
"""How far the clock of uvloop, which counts milliseconds, may be off."""

ROOM, OTHER_ROOM = RoomId("room"), RoomId("other")
LIMITS: dict[str, Any] = {
    "window": 30.0, "max_frames": 1000, "max_bytes": 1_000_000, "max_rooms": 3, "max_detached": 10,
}  # fmt: skip
HEAD, BODY = b'"sender":"ben",', b'"type":"x"}'
MESSAGE = Relayed(HEAD, BODY)
NUMBERED = re.compile(rb'\{"delivery":(\d+),"sender":"ben","type":"x"\}')


class FakeConnection:
    """A connection that records what is written to it."""

    def __init__(self, charged_to: str = "192.0.2.1") -> None:
        self.charged_to = charged_to
        self.frames: list[bytes] = []
        self.pings = 0
        self.closes: list[CloseCode] = []
        self.charges: list[tuple[int, int]] = []
        self.waiting: list[int] = []
        self.room = 1000

    def send(self, prefix: bytes, body: bytes, bulk: bool = False) -> bool:
        if not self.closes:
            self.frames.append(prefix + body)
        return not self.closes

    def close(self, code: CloseCode, leave: LeaveReason = LeaveReason.DISCONNECTED) -> None:
        del leave
        self.closes.append(code)

    def ping(self) -> None:
        self.pings += 1

    def charge_delivery(self, receivers: int, size: int) -> None:
        self.charges.append((receivers, size))

    def charge_reply(self, size: int, members: int = 0) -> None:
        self.charges.append((size, members))

    def charge_waiting(self, size: int) -> None:
        self.waiting.append(size)

    @property
    def costs(self) -> FakeConnection:
        return self

    def has_room(self, size: int) -> bool:
        return size <= self.room

    @property
    def numbers(self) -> list[int]:
        return [number(frame) for frame in self.frames]


class FullConnection(FakeConnection):
    """A connection that is lost at the first message, as that of a client that does not read."""

    session: Session

    def send(self, prefix: bytes, body: bytes, bulk: bool = False) -> bool:
        del prefix, body
        self.session.connection_lost(self, LeaveReason.DISCONNECTED, final=False)
        return False


class FakeMembership:
    """A membership that records what it is told."""

    def __init__(self, member_id: str = "ana", refusal: type[SignalingError] | None = None) -> None:
        self.member_id = PeerId(member_id)
        self.told: list[str] = []
        self._refusal = refusal

    async def enter(self) -> None:
        if self._refusal is not None:
            raise self._refusal("refused")

    def mark(self, *, detached: bool, address: str = "") -> None:
        self.told.append("detached" if detached else "attached")

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
    node = Node(NodeId("n"), MemoryBroker(), room_capacity=9, max_rooms=9, max_inbox=9, max_pending_acks=9)
    return Sessions(node, secret, SessionLimits(**(LIMITS | changed)))


def opened(
    sessions: Sessions | None = None, connection: FakeConnection | None = None
) -> tuple[Session, FakeConnection]:
    connection = connection or FakeConnection()
    sessions = registry() if sessions is None else sessions
    return sessions.open(Kind.PEER, "", connection), connection


def join(session: Session, membership: FakeMembership, room: RoomId = ROOM) -> Awaitable[None]:
    return session.join(room, cast("Membership", membership), membership.enter(), Greeting())


async def joined(
    sessions: Sessions | None = None, connection: FakeConnection | None = None
) -> tuple[Session, FakeConnection, FakeMembership]:
    """A session in one room, which waits for its client when the connection breaks."""
    session, connection = opened(sessions, connection)
    membership = FakeMembership()
    await join(session, membership)
    return session, connection, membership


def cut(session: Session, connection: FakeConnection) -> None:
    session.connection_lost(connection, LeaveReason.DISCONNECTED, final=False)


def send(session: Session, times: int = 1) -> None:
    for _ in range(times):
        assert session.send(MESSAGE)


def reattach(session: Session, received: int) -> tuple[bool, list[int]]:
    """Attach a new connection; whether the client gets all it missed, and the numbers of what is written again."""
    connection = FakeConnection()
    complete = session.attach(connection, received)
    return complete, connection.numbers


def migrating(**limits: Any) -> Session:
    """A session that comes from another node, where its client had two connections."""
    bounds = SessionLimits(**(LIMITS | limits))
    session = Session(registry(**limits), bounds, Kind.PEER, "", new_session_id(), migration=MigrationBuffer())
    session.generations.latest = session.generations.oldest = 3
    return session
