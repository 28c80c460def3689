"""A bucket of one node without Redis: batches and entries are played by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import structs

from mcp_actors.broker.redis import entries
from mcp_actors.broker.redis.bucket import Bucket
from mcp_actors.broker.redis.entries import Change, Changes, Frame, Moved, Snapshot
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.broker.redis.settings import RedisSettings
from mcp_actors.protocol.events import (
    Event,
    Member,
    RemoteSignal,
)
from tests.broker.redis.lua import ROOM, A, B, peer, user

if TYPE_CHECKING:
    from mcp_actors.broker.redis.write_queue import Batch
    from mcp_actors.protocol.identifiers import NodeId, RoomId

LEASE = 6.0
KEYS = Keys("test", 0, 1)
ANA = structs.replace(peer("ana"), order=1)
BEN = structs.replace(peer("ben", B), order=2)
CIA = structs.replace(peer("cia", B), order=3)
UNA = structs.replace(user("una", node=B), order=1)
OK = b"1-1"


class BucketHarness:
    """A bucket of node A with a clock that is set by hand, and what its rooms hear."""

    def __init__(self, node: NodeId = A, **fields: Any) -> None:
        self.now = 100.0
        self.heard: list[Event] = []
        self.woken = 0
        settings = RedisSettings(**{"lease": LEASE, "audit_interval": 0.0} | fields)
        self.bucket = Bucket(KEYS, node, self._hear, settings, self._wake, lambda: self.now)
        self.bucket.link_up("run", fenced=False)

    def _hear(self, room: RoomId, event: Event) -> None:
        assert room == ROOM
        self.heard.append(event)

    def _wake(self) -> None:
        self.woken += 1

    def news(self) -> list[Event]:
        """The events since the last call."""
        heard, self.heard = self.heard, []
        return heard

    def written(self) -> Batch:
        """The batch that would be written now."""
        return self.bucket.queue.take()

    def answer(self, *replies: Any) -> Batch:
        """Write, and get these replies."""
        batch = self.written()
        self.bucket.queue.settle(batch, [*replies], self.bucket.up_time.seconds)
        return batch

    def asked(self) -> list[str]:
        """The digests of the scripts that would be called now."""
        return [command[1] for command in self.written().commands if command[0] == "EVALSHA"]

    def snapshot(self, *members: Member, version: int = 10, token: str = "", run_id: str = "run") -> None:
        """The room as a whole is read."""
        self.bucket.receive(Snapshot(ROOM, version, run_id, token, [*members]))

    def changed(self, version: int, *changes: Change) -> None:
        """A change of the room is read."""
        self.bucket.receive(Changes(ROOM, version - 1, version, [*changes]))

    def frame(
        self, number: int, sender: Member = BEN, target: Member = ANA, kind: Any = "signal", delivery_id: int = 0
    ) -> None:
        """A frame is read."""
        body = f"frame {number}".encode()
        self.bucket.receive([Frame(ROOM, sender.incarnation, target.incarnation, number, kind, delivery_id, body)])

    def signalled(self, number: int, sender: Member = BEN) -> RemoteSignal:
        """The event of a frame."""
        return RemoteSignal(sender.incarnation, ANA.incarnation, f"frame {number}".encode(), 0)


def make_bucket(**fields: Any) -> BucketHarness:
    made = BucketHarness(**fields)
    made.bucket.open_room(ROOM).join(peer("ana"), 10)
    made.answer([b"OK", b"10"])
    made.snapshot(ANA, BEN, UNA)
    return made


def frames_by_inbox(batch: Batch) -> dict[str, list[Frame]]:
    """The frames that a batch writes, by inbox."""
    found: dict[str, list[Frame]] = {}
    for command in batch.commands:
        if command[0] == "XADD":
            frames = entries.read([b"frames", command[-1]])
            assert isinstance(frames, list)
            found.setdefault(command[1], []).extend(frames)
    return found


def receive_cutover(home: BucketHarness, of: NodeId, epoch: int = 1) -> None:
    """The word of a node that it has heard of ana's move is read."""
    home.bucket.receive([Frame(ROOM, of, ANA.incarnation, epoch, "cutover", 0, b"")])


def claim_ben(home: BucketHarness, *, epoch: int) -> None:
    """Ben goes on here."""
    home.bucket.open_room(ROOM).claim(structs.replace(BEN, node=A, epoch=epoch))
    home.answer([b"OK", b"11", b"1"])
    home.changed(11, Moved(BEN.incarnation, A, epoch))
    home.news()
