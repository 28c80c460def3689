"""Frames between nodes: numbering and queueing what this node sends, and dispatching what it receives."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import structlog

from mcp_actors.broker.redis.entries import Frame
from mcp_actors.broker.redis.sequence_tracker import Arrival
from mcp_actors.protocol import events
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.protocol.identifiers import Incarnation, NodeId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mcp_actors.broker.redis.entries import FrameKind
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.broker.redis.room import Room
    from mcp_actors.broker.redis.sequence_tracker import SequenceTracker
    from mcp_actors.broker.redis.settings import Counters
    from mcp_actors.broker.redis.write_queue import WriteQueue
    from mcp_actors.protocol.events import Event, Member, MemberMoved, Receipt
    from mcp_actors.protocol.identifiers import RoomId

log = structlog.get_logger("mcp_actors.redis")


class FrameSender:
    """Queues frames for the inboxes of other nodes; `wake` is called after each."""

    def __init__(
        self, node: NodeId, keys: Keys, rooms: dict[RoomId, Room], queue: WriteQueue, wake: Callable[[], None]
    ) -> None:
        self._node = node
        self._keys = keys
        self._rooms = rooms
        self._queue = queue
        self._wake = wake

    def send(
        self,
        room: RoomId,
        kind: FrameKind,
        sender: Member,
        targets: Sequence[Member],
        body: bytes,
        delivery_id: int,
        step: events.NegotiationStep | None = None,
    ) -> None:
        """Send a signal, or a broadcast with one target per node. Raises `Unavailable`."""
        if self._queue.full:
            raise Unavailable("The other servers are out of reach, and their queue is full; try again in a moment.")
        found = self._rooms.get(room)
        if found is None:  # the room is about to learn that its members left
            raise Unavailable("This server has lost the others in this room; join it again.")
        for target in targets:
            source, to, epoch = sender.incarnation, target.incarnation, target.epoch
            number = found.replica.sequences.next(source, to, sender.epoch + epoch)
            self._put(target.node, Frame(room, source, to, number, kind, delivery_id, body, step, epoch))

    def send_receipt(self, room: RoomId, sender: Member, receipt: Receipt) -> None:
        """Send a receipt to the node of the sender."""
        told = (receipt.queued, b"2"), (receipt.delivered, b"1"), (receipt.moved, b"3"), (receipt.full, b"4")
        body = next((word for is_so, word in told if is_so), b"0")
        step = events.NegotiationStep("offer", receipt.superseded) if receipt.superseded else None
        frame = Frame(room, receipt.target, receipt.sender, 0, "receipt", receipt.delivery_id, body, step)
        self._put(sender.node, frame)

    def ack_cutover(self, room: RoomId, move: MemberMoved) -> None:
        """Tell both nodes of a move that this node applied it."""
        for node in {move.old, move.node} - {self._node}:
            self._put(node, Frame(room, self._node, move.incarnation, move.epoch, "cutover", 0, b""))

    def hand_over(self, room: RoomId, member: Member, body: bytes) -> None:
        """Send the state of a member to the node that it moved to."""
        self._put(member.node, Frame(room, self._node, member.incarnation, member.epoch, "handover", 0, body))

    def _put(self, node: NodeId, frame: Frame) -> None:
        self._queue.put(self._keys.inbox(node), frame)
        self._wake()


def receipt_in(frame: Frame) -> events.Receipt:
    """The receipt that a frame of that kind holds."""
    return events.Receipt(
        Incarnation(frame.target),
        Incarnation(frame.source),
        frame.delivery_id,
        delivered=frame.body in (b"1", b"2"),
        queued=frame.body == b"2",
        superseded=frame.step.number if frame.step else 0,
        moved=frame.body == b"3",
        full=frame.body == b"4",
    )


def _is_ahead(room: Room, frame: Frame) -> bool:
    """Whether a frame comes from a node to which its sender has moved without this node having learned of it."""
    epoch = room.replica.sequences.epoch(frame.number) - frame.epoch
    return epoch > room.replica.members[Incarnation(frame.source)].epoch


class FrameReceiver:
    """Turns received frames into events, once and in order. At most `limit` frames wait for their senders to join."""

    def __init__(
        self, sender: FrameSender, emit: Callable[[RoomId, Event], None], counters: Counters, limit: int
    ) -> None:
        self._sender = sender
        self._emit = emit
        self._counters = counters
        self._limit = limit
        self._waiting: dict[RoomId, list[tuple[Frame, bytes]]] = {}
        self._waiting_count = 0
        self._left: deque[tuple[float, Room, SequenceTracker, Incarnation]] = deque()

    def receive(self, room: Room | None, frame: Frame, offset: bytes) -> None:
        """Process a frame that was read at an offset."""
        if room is None:
            self._counters.stale += 1  # the leave of its target is on its way to the sender, and answers it
        elif frame.kind == "receipt":
            self._emit(frame.room, receipt_in(frame))
        elif frame.kind == "handover":
            self._handover(room, frame)
        elif frame.kind == "cutover" and room.id not in self._waiting:
            self._emit(room.id, events.CutoverAcked(Incarnation(frame.target), NodeId(frame.source), frame.number))
        elif frame.source in room.replica.members and (room.replica.settled or not _is_ahead(room, frame)):
            self._from_member(room, frame, offset)
        elif (room.replica.settled and room.id not in self._waiting) or self._waiting_count >= self._limit:
            self._counters.stale += 1
        else:
            self._waiting.setdefault(room.id, []).append((frame, offset))
            self._waiting_count += 1

    def _handover(self, room: Room, frame: Frame) -> None:
        target = Incarnation(frame.target)
        if room.replica.local.epoch(target) != frame.number:  # read again, from when the member was here before
            self._counters.stale += 1
        elif room.replica.sequences.arrived(frame.source, target, frame.number) is Arrival.AGAIN:
            self._counters.duplicates += 1
        else:
            self._emit(room.id, events.HandedOver(target, frame.body, NodeId(frame.source)))

    def _from_member(self, room: Room, frame: Frame, offset: bytes) -> None:
        sender, target = Incarnation(frame.source), Incarnation(frame.target)
        sequences, fences = room.replica.sequences, room.replica.fences
        if fences and sequences.epoch(frame.number) - frame.epoch < fences.get(sender, 0):
            self._counters.stale += 1  # its client sends it again at the node that has the sender now
            return
        if target not in room.replica.local and not sequences.expects(target):  # read again, from an earlier stay here
            self._return(room, frame, moved=target in room.replica.members)
            return
        arrival = sequences.arrived(sender, target, frame.number)
        if arrival is Arrival.AGAIN:
            self._counters.duplicates += 1
            return
        if frame.epoch < room.replica.local.epoch(target):  # its sender has missed two moves
            self._return(room, frame, moved=True)
            return
        if arrival is Arrival.GAP:
            self._counters.gaps += 1
            log.warning("frames from another node were lost", room=room.id, sender=sender, target=target)
            self._emit(room.id, events.FramesLost(target))
        if frame.kind == "signal":
            told: Event = events.RemoteSignal(sender, target, frame.body, frame.delivery_id, frame.step, offset)
        else:
            epoch = sequences.epoch(frame.number) - frame.epoch
            told = events.RemoteBroadcast(sender, target, frame.body, frame.delivery_id, offset, epoch)
        self._emit(room.id, told)

    def _return(self, room: Room, frame: Frame, *, moved: bool) -> None:
        """Answer the sender of a frame whose target is not here any more."""
        self._counters.stale += 1
        sender, target = Incarnation(frame.source), Incarnation(frame.target)
        receipt = events.Receipt(sender, target, frame.delivery_id, delivered=False, moved=moved)
        self._sender.send_receipt(room.id, room.replica.members[sender], receipt)

    def receive_waiting(self, room: Room) -> None:
        """Process the frames that wait for their senders again, because members joined."""
        for frame, offset in self.drop_waiting(room.id):
            self.receive(room, frame, offset)

    def drop_waiting(self, room: RoomId) -> list[tuple[Frame, bytes]]:
        """Take the frames that wait in a room."""
        frames = self._waiting.pop(room, [])
        self._waiting_count -= len(frames)
        return frames

    def return_lost(self, frames: Iterable[Frame]) -> None:
        """Answer the senders of frames whose target node is gone."""
        for frame in frames:
            self._counters.unreachable += 1
            if frame.kind in ("signal", "broadcast"):
                source, target = Incarnation(frame.source), Incarnation(frame.target)
                self._emit(frame.room, events.Receipt(source, target, frame.delivery_id, delivered=False))

    def member_left(self, room: Room, incarnation: Incarnation, now: float) -> None:
        """Note that the sequence numbers of a member can be dropped later: its frames may still be read again.

        `now` and `before` are seconds of the link's up time, since Redis replays nothing while it is away.
        """
        self._left.append((now, room, room.replica.sequences, incarnation))

    def forget_left(self, before: float) -> None:
        """Drop the sequence numbers of members that left before a time, and are not back."""
        while self._left and self._left[0][0] < before:
            _, room, sequences, incarnation = self._left.popleft()
            if sequences is not room.replica.sequences or incarnation not in room.replica.members:
                sequences.forget(incarnation)
