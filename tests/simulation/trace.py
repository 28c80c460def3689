"""The steps of a run, for the model: read where the simulated Redis runs scripts, and where nodes deliver.

Redis executes one command after the other, so that its steps have one order. The scripts about session records are
steps of the model; the changes of a room are read from the entries that scripts append to inboxes, and deliveries are
noted where a node hands on a frame from another one.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

from mcp_actors.broker.redis import entries, scripts
from mcp_actors.broker.redis.bucket import Bucket
from mcp_actors.broker.redis.frames import FrameReceiver
from mcp_actors.broker.redis.sequence_tracker import SequenceTracker
from mcp_actors.protocol.events import LeaveReason, Member, OwnerFenced, RemoteBroadcast, RemoteSignal
from tests.simulation.model import Acquired, Model, Record, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcp_actors.broker.redis.entries import Frame
    from mcp_actors.protocol.events import Event
    from tests.simulation.redis.commands import Keyspace


class Trace:
    """Tells the model every step of a run. `process` tells which process of a node runs now."""

    def __init__(self, process: Callable[[], str], now: Callable[[], float]) -> None:
        self.refused: list[str] = []
        self.steps = 0
        self._model = Model()
        self._process = process
        self._now = now
        self._frame: Frame | None = None
        self._seen: dict[tuple[bytes, bytes], bytes] = {}
        self._scripts = {
            scripts.SAVE_SESSION.digest.encode(): self._save,
            scripts.ACQUIRE_SESSION.digest.encode(): self._acquire,
            scripts.DELETE_SESSION.digest.encode(): self._delete,
        }

    def lost(self) -> None:
        """Redis lost data: the model knows nothing any more."""
        self._model.lost()
        self._seen.clear()

    def watch(self, keyspace: Keyspace) -> None:
        """Watch what is appended to the streams of a server."""
        keyspace.on_entry = self._entry

    def script(self, digest: bytes, keys: list[bytes], arguments: list[bytes], reply: Any) -> None:
        """A script was run."""
        step = self._scripts.get(digest)
        if step is not None and isinstance(reply, list):
            step(keys, arguments, reply)

    def _tell(self, step: Callable[..., None], *what: Any) -> None:
        self.steps += 1
        try:
            step(*what)
        except Refused as error:
            self.refused.append(f"{self._now():.3f} s: {error}")

    def _save(self, keys: list[bytes], arguments: list[bytes], reply: list[Any]) -> None:
        record = Record(arguments[0].decode(), int(arguments[8]), int(arguments[1]))
        self._tell(self._model.saved, _session(keys[0]), record, reply[0] == b"OK")

    def _acquire(self, keys: list[bytes], arguments: list[bytes], reply: list[Any]) -> None:
        if reply[0] == b"OK":
            step = Acquired(arguments[0].decode(), int(arguments[1]), int(reply[6]), int(reply[1]))
            self._tell(self._model.acquired, _session(keys[1]), step)

    def _delete(self, keys: list[bytes], _arguments: list[bytes], _reply: list[Any]) -> None:
        self._model.deleted(_session(keys[0]))

    def _entry(self, fields: list[bytes]) -> None:
        """An entry was appended to an inbox; each node of a room gets the same changes."""
        if fields[1] == b"snapshot":
            self._model.shown(fields[3].decode(), int(fields[5]))
        if fields[1] != b"changes":
            return
        name, content = (fields[3], fields[7]), fields[9]
        if self._seen.get(name) == content:
            return
        self._seen[name] = content
        found = entries.read(fields)
        assert isinstance(found, entries.Changes)
        self._tell(self._model.changed, found.room, found.after, found.version)
        for change in found.changes:
            match change:
                case Member():
                    self._tell(self._model.joined, found.room, change.incarnation, str(change.node), change.epoch)
                case entries.Moved():
                    self._tell(self._model.moved, found.room, change.incarnation, str(change.node), change.epoch)
                case entries.OwnerFenced():
                    self._tell(self._model.owner_fenced, found.room, change.incarnation, change.epoch)
                case entries.Left():
                    node_lost = change.reason is LeaveReason.NODE_LOST
                    self._model.left(found.room, change.incarnation, node_lost=node_lost)

    def _emitted(self, room: str, event: Event) -> None:
        """A node told its room something."""
        match event:
            case OwnerFenced():
                self._model.heard_of_fence(self._process(), room, event.incarnation, event.epoch)
            case RemoteSignal() | RemoteBroadcast() if self._frame is not None:
                frame = self._frame
                epoch = SequenceTracker.epoch(frame.number) - frame.epoch
                self._tell(
                    self._model.delivered, self._process(), room, frame.source, frame.target, epoch, frame.number
                )

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Note what the nodes of this interpreter deliver."""
        emit, receive = Bucket.emit, FrameReceiver._from_member

        def emitted(bucket: Bucket, room: Any, event: Event) -> None:
            self._emitted(room, event)
            emit(bucket, room, event)

        def received(receiver: FrameReceiver, room: Any, frame: Frame, offset: bytes) -> None:
            before, self._frame = self._frame, frame
            try:
                receive(receiver, room, frame, offset)
            finally:
                self._frame = before

        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(Bucket, "emit", emitted))
            stack.enter_context(mock.patch.object(FrameReceiver, "_from_member", received))
            yield


def _session(key: bytes) -> str:
    return key.decode().rpartition(":session:")[2]
