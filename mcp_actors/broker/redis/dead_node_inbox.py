"""The inbox of a dead node, from which other nodes take what arrived for the members that move to them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import structlog
from redis.exceptions import ResponseError

from mcp_actors.broker import Recovered
from mcp_actors.broker.redis import entries
from mcp_actors.broker.redis.connection import LinkLost, pairs
from mcp_actors.broker.redis.entries import (
    Announced,
    Changes,
    Closed,
    Frame,
    Left,
    Locked,
    Moved,
    OwnerFenced,
    Presence,
    RecoveryEnded,
    Snapshot,
    Updated,
    unpack_metadata,
)
from mcp_actors.broker.redis.frames import receipt_in
from mcp_actors.broker.redis.offsets import Offset, parse_offset
from mcp_actors.broker.redis.sequence_tracker import Arrival, SequenceTracker
from mcp_actors.protocol.events import Kind, Member, MissedChange, Receipt, RemoteBroadcast, RemoteSignal
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.broker import Missable
    from mcp_actors.broker.redis.entries import Change
    from mcp_actors.broker.redis.executor import Executor
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.protocol.events import MemberMoved
    from mcp_actors.protocol.identifiers import RoomId

log = structlog.get_logger("mcp_actors.redis")

BATCH = 500
"""Entries read at once, unless Redis breaks the connection over a reply of that size."""

PAUSE = 0.02
"""Seconds between looks at what others may still write."""


class DeadNodeInbox:
    """The inbox of one dead node, as far as it was read; all members that moved from it share it."""

    def __init__(self, keys: Keys, node: NodeId, executor: Executor) -> None:
        self.node = node
        self._inbox = keys.inbox(node)
        self._executor = executor
        self._cursor = b"-"
        self._rooms: dict[RoomId, list[tuple[Offset, Frame | Change]]] = {}
        self._arrivals: dict[Incarnation, Offset] = {}  # where members joined or moved here, if that was not trimmed
        self._nodes: dict[tuple[Incarnation, int], NodeId] = {}  # of members, by epoch, as far as was read
        self._sequences = SequenceTracker()
        self._reading = asyncio.Lock()
        self._refused = False
        self._batch = BATCH
        self._first: tuple[int, int] | None = None  # the oldest entry that is left

    async def recover(
        self,
        room: RoomId,
        kind: Kind,
        move: MemberMoved,
        offset: str,
        patience: float,
        members: Mapping[Incarnation, Member],
    ) -> Recovered:
        """See `Relay.recover`; `members` are those of the room.

        Nothing from before the member came to this node is recovered, whatever the offset.
        """
        after = parse_offset(offset, self.node)
        whole = await self._read_until_acked(room, move, patience)
        if after is not None and (self._first is None or after[:2] < self._first):
            after = None
        arrival = self._arrivals.get(move.incarnation)
        if after is not None and arrival is not None and after < arrival:
            after, whole = arrival, False  # the client was never told that offset
        recovery = _Recovery(after, kind, move, members, self._nodes)
        for where, item in self._rooms.get(room, ()):
            recovery.take(where, item)
        known = after is not None
        return Recovered(recovery.events, recovery.answered, known, whole and known, tuple(recovery.receipts))

    async def _read_until_acked(self, room: RoomId, move: MemberMoved, patience: float) -> bool:
        """Read until all other nodes have acknowledged the move; return False if they did not in time.

        No time passes while Redis is away.
        """
        loop, up = asyncio.get_running_loop(), self._executor.up
        with suppress(TimeoutError):
            async with asyncio.timeout(patience) as timeout:
                while True:
                    if not up.is_set():
                        timeout.reschedule(None)
                        await up.wait()
                        timeout.reschedule(loop.time() + patience)
                    with suppress(LinkLost):
                        await self._read_on()
                        if self._all_acked(room, move):
                            return True
                    await asyncio.sleep(PAUSE)
        return False

    def _all_acked(self, room: RoomId, move: MemberMoved) -> bool:
        acked: set[str] = {move.old, move.node}
        for _, item in self._rooms.get(room, ()):
            if isinstance(item, Frame):
                if (item.kind, item.target, item.number) == ("cutover", move.incarnation, move.epoch):
                    acked.add(item.source)
            elif isinstance(item, Moved) and (item.incarnation, item.epoch) == (move.incarnation, move.epoch):
                acked.update(item.silent)
        return acked >= set(move.others)

    async def _read_on(self) -> None:
        async with self._reading:
            while True:
                batch = self._batch
                command = ("XRANGE", self._inbox, self._cursor, "+", "COUNT", batch)
                try:
                    (found,) = await self._executor.run([command])
                except LinkLost:
                    self._batch = max(1, batch // 2)
                    raise
                if isinstance(found, ResponseError) and not self._refused:
                    self._refused = True
                    log.warning("inbox of a dead node cannot be read", node=self.node, reason=str(found))
                found = pairs(found)
                for entry, flat in found:
                    self._take(entry, flat)
                    self._cursor = b"(" + entry
                if len(found) < batch:
                    return

    def _take(self, entry: bytes, flat: list[bytes]) -> None:
        milliseconds, sequence = map(int, entry.split(b"-"))
        self._first = self._first or (milliseconds, sequence)
        try:
            news = entries.read(flat)
        except entries.UnreadableEntry as error:
            log.error("inbox entry unreadable", entry=entry.decode(), error=str(error))  # noqa: TRY400 - one line
            return
        if isinstance(news, list):
            for index, frame in enumerate(news):
                if self._is_wanted(frame):
                    self._add(frame.room, Offset(milliseconds, sequence, index), frame)
        elif isinstance(news, Changes):
            for index, change in enumerate(news.changes):
                self._add(news.room, Offset(milliseconds, sequence, index), change)
                self._note_node(Offset(milliseconds, sequence, index), change)
        elif isinstance(news, Snapshot):
            for member in news.members:
                self._note_node(Offset(milliseconds, sequence, 0), member)

    def _note_node(self, where: Offset, change: Change) -> None:
        if isinstance(change, Member | Moved):
            self._nodes[change.incarnation, change.epoch] = change.node
            if change.node == self.node:
                self._arrivals.setdefault(change.incarnation, where)

    def _is_wanted(self, frame: Frame) -> bool:
        if frame.kind in ("signal", "broadcast"):
            return self._sequences.arrived(frame.source, frame.target, frame.number) is not Arrival.AGAIN
        return frame.kind in ("cutover", "receipt")

    def _add(self, room: RoomId, where: Offset, item: Frame | Change) -> None:
        self._rooms.setdefault(room, []).append((where, item))


class _Recovery:
    """Selects the entries of a room that were for one member: after an offset (`events`) and before (`answered`).

    That is signals to it, and receipts for its own messages; for a user, broadcasts of nodes that had not acknowledged
    its move; and, up to its move, which peers joined, left, and were detached or attached.
    """

    def __init__(
        self,
        after: Offset | None,
        kind: Kind,
        move: MemberMoved,
        members: Mapping[Incarnation, Member],
        nodes: Mapping[tuple[Incarnation, int], NodeId],
    ) -> None:
        self.events: list[Missable] = []
        self.answered: list[RemoteSignal | RemoteBroadcast] = []
        self.receipts: list[Receipt] = []
        self._after = after
        self._kind = kind
        self._move = move
        self._members = members
        self._nodes = nodes
        self._left: set[Incarnation] = set()
        self._acked: set[str] = set()
        self._has_moved = False

    def take(self, where: Offset, item: Frame | Change) -> None:
        """Process the next frame or change."""
        is_new = self._after is not None and where > self._after
        if isinstance(item, Frame):
            self._frame(item, is_new=is_new)
            return
        self._note_member(item)
        if isinstance(item, Moved):
            self._has_moved |= (item.incarnation, item.epoch) == (self._move.incarnation, self._move.epoch)
        elif is_new and not self._has_moved and not isinstance(item, OwnerFenced | RecoveryEnded):
            self._change(item)

    def _frame(self, frame: Frame, *, is_new: bool) -> None:
        member, source = self._move.incarnation, Incarnation(frame.source)
        is_target = frame.target == member
        if frame.kind == "cutover":
            self._acked |= {frame.source} if is_target and frame.number == self._move.epoch else set()
        elif frame.kind == "receipt":
            self.receipts += [receipt_in(frame)] if is_target and is_new else []
        elif source in self._left:
            return  # Redis took it too late: the member is not to hear of those that left
        elif frame.kind == "signal" and is_target:
            signal = RemoteSignal(source, member, frame.body, frame.delivery_id, frame.step)
            (self.events if is_new else self.answered).append(signal)
        elif frame.kind == "broadcast" and self._kind is Kind.USER and source != member:
            epoch = SequenceTracker.epoch(frame.number) - frame.epoch
            sender = self._members.get(source)
            node = self._nodes.get((source, epoch), None if sender is None else sender.node)
            broadcast = RemoteBroadcast(source, member, frame.body, frame.delivery_id if is_target else 0)
            if is_new and node not in self._acked:
                self.events.append(broadcast)
            elif is_target:
                self.answered.append(broadcast)

    def _note_member(self, change: Change) -> None:
        if isinstance(change, Left):
            self._left.add(change.incarnation)
        elif isinstance(change, Member):
            self._left.discard(change.incarnation)  # announced again

    def _change(self, change: Member | Left | Presence | Updated | Locked | Closed | Announced) -> None:
        if isinstance(change, Closed):  # the member would not be in the room
            return
        if isinstance(change, Locked):
            self.events.append(MissedChange(PeerId(""), locked=change.locked))
        elif isinstance(change, Announced):
            if self._is_told(change):
                self.events.append(MissedChange(PeerId(""), announced=(msgspec.json.decode(change.content),)))
        elif isinstance(change, Updated):
            if change.kind is Kind.PEER and change.by != self._move.incarnation:
                self.events.append(MissedChange(PeerId(change.id), metadata=unpack_metadata(change.metadata)))
        elif change.kind is Kind.PEER and change.incarnation != self._move.incarnation:
            peer = PeerId(change.id)
            match change:
                case Left():
                    missed = MissedChange(peer, reason=change.reason)
                case Presence():
                    missed = MissedChange(peer, detached=change.detached)
                case _:
                    missed = MissedChange(peer, change)
            self.events.append(missed)

    def _is_told(self, change: Announced) -> bool:
        member = self._members.get(self._move.incarnation)
        return change.to is None or (member is not None and (member.kind, member.id) == change.to)
