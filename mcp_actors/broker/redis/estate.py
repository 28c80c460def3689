"""What a dead node leaves: its inbox, from which another node takes what came for the members that it takes over.

A place in an inbox is written `<entry>.<index>@<node>`: a client names the last one that it was told.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import ResponseError

from mcp_actors.broker import Recovered
from mcp_actors.broker.redis import entries
from mcp_actors.broker.redis.channels import Arrival, Channels
from mcp_actors.broker.redis.entries import Changes, Closed, Frame, Gone, Locked, Marked, Moved
from mcp_actors.broker.redis.outgoing import Call
from mcp_actors.protocol.events import Announced, Kind, Member, Missed, Signalled
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcp_actors.broker import Missable
    from mcp_actors.broker.redis.connection import Reply
    from mcp_actors.broker.redis.entries import Change
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.protocol.events import MemberMoved
    from mcp_actors.protocol.identifiers import RoomId

AT_ONCE = 500
"""Entries read in one go."""

PAUSE = 0.02
"""Seconds until what others may still write is looked for again."""

WHOLE = 999_999
"""As index: after all that the entry holds."""

TAG = 8
"""Characters of a node's id that a place names: the random ones at its end."""


class Place(NamedTuple):
    """One frame of an inbox: the parts of the entry's id, and which frame of the entry it is."""

    milliseconds: int
    sequence: int
    number: int


def place(entry: bytes, index: int, node: NodeId) -> bytes:
    """A place as clients are told it."""
    return b"%b.%d@%b" % (entry, index, node[-TAG:].encode())


def read_place(at: str, node: NodeId) -> Place | None:
    """A place in the inbox of that node; None if it is none."""
    where, _, tag = at.partition("@")
    entry, _, index = where.partition(".")
    milliseconds, _, sequence = entry.partition("-")
    if tag != node[-TAG:] or not (milliseconds.isdecimal() and sequence.isdecimal() and index.isdecimal()):
        return None
    return Place(int(milliseconds), int(sequence), int(index))


class Estate:
    """The inbox of one dead node, as far as it was read; all who take over its members share it.

    `call` adds a command to what waits for Redis; when the link breaks, it is dropped. `up`: whether there is a link.
    """

    def __init__(self, keys: Keys, node: NodeId, call: Callable[[Call], None], *, up: bool = True) -> None:
        self.node = node
        self._inbox = keys.inbox(node)
        self._call = call
        self._cursor = b"-"
        self._rooms: dict[RoomId, list[tuple[Place, Frame | Change]]] = {}
        self._channels = Channels()
        self._reading = asyncio.Lock()
        self._asked: asyncio.Future[Reply] | None = None
        self._up = asyncio.Event()
        if up:
            self._up.set()
        self._first: tuple[int, int] | None = None  # the entry that is left; what came before it is not known

    def attached(self) -> None:
        """The link is there."""
        self._up.set()

    def detached(self) -> None:
        """The link is gone, and the answer to what was asked with it."""
        self._up.clear()
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(None)

    async def recover(
        self,
        room: RoomId,
        kind: Kind,
        move: MemberMoved,
        at: str,
        patience: float,
        members: Mapping[Incarnation, Member],
    ) -> Recovered:
        """See `Broker.recover`; `members` are those of the room."""
        after = read_place(at, self.node)
        whole = await self._read_until_heard(room, move, patience)
        if after is not None and (self._first is None or (after.milliseconds, after.sequence) < self._first):
            after = None
        sift = _Sift(after, kind, move, members)
        for where, item in self._rooms.get(room, ()):
            sift.take(where, item)
        return Recovered(sift.events, sift.answered, known=after is not None, whole=whole and after is not None)

    async def _read_until_heard(self, room: RoomId, move: MemberMoved, patience: float) -> bool:
        """Read until all others have said that they heard of a move; False if they did not in time.

        While Redis is away no time passes.
        """
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience) as time_out:
                while True:
                    if not self._up.is_set():
                        time_out.reschedule(None)
                        await self._up.wait()
                        time_out.reschedule(loop.time() + patience)
                    await self._read_on()
                    if self._heard(room, move):
                        return True
                    await asyncio.sleep(PAUSE)
        return False

    def _heard(self, room: RoomId, move: MemberMoved) -> bool:
        """Whether all others have said that they heard of a move; of some nothing more comes."""
        said: set[str] = {move.old, move.node}
        for _, item in self._rooms.get(room, ()):
            if isinstance(item, Frame):
                if (item.kind, item.target, item.number) == ("w", move.incarnation, move.moves):
                    said.add(item.source)
            elif isinstance(item, Moved) and (item.incarnation, item.moves) == (move.incarnation, move.moves):
                said.update(item.silent)
        return said >= set(move.others)

    async def _read_on(self) -> None:
        async with self._reading:
            while True:
                found = await self._range()
                for entry, flat in found:
                    self._take(entry, flat)
                    self._cursor = b"(" + entry
                if len(found) < AT_ONCE:
                    return

    async def _range(self) -> list[tuple[bytes, list[bytes]]]:
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._asked = answer

        def answered(reply: Reply) -> None:
            if not answer.done():
                answer.set_result(reply)

        self._call(Call(("XRANGE", self._inbox, self._cursor, "+", "COUNT", AT_ONCE), answered))
        reply = await answer
        return [] if reply is None or isinstance(reply, ResponseError) else [(entry, flat) for entry, flat in reply]

    def _take(self, entry: bytes, flat: list[bytes]) -> None:
        milliseconds, sequence = map(int, entry.split(b"-"))
        self._first = self._first or (milliseconds, sequence)
        news = entries.read(flat)
        if isinstance(news, list):
            for index, frame in enumerate(news):
                if frame.kind == "w" or (frame.kind in "sm" and not self._is_known(frame)):
                    self._add(frame.room, Place(milliseconds, sequence, index), frame)
        elif isinstance(news, Changes):
            for index, change in enumerate(news.changes):
                self._add(news.room, Place(milliseconds, sequence, index), change)

    def _is_known(self, frame: Frame) -> bool:
        return self._channels.arrived(frame.source, frame.target, frame.number) is Arrival.AGAIN

    def _add(self, room: RoomId, where: Place, item: Frame | Change) -> None:
        self._rooms.setdefault(room, []).append((where, item))


class _Sift:
    """What of a room's part of an inbox was for a member, after a place, and what was there before.

    Signals to it; for a user, too, what was said to all by nodes that had not heard of its move; and, up to its move,
    who came and went among the peers.
    """

    def __init__(
        self, after: Place | None, kind: Kind, move: MemberMoved, members: Mapping[Incarnation, Member]
    ) -> None:
        self.events: list[Missable] = []
        self.answered: list[Signalled | Announced] = []
        self._after = after
        self._kind = kind
        self._move = move
        self._members = members
        self._heard: set[str] = set()
        self._has_moved = False

    def take(self, where: Place, item: Frame | Change) -> None:
        """Take the next one."""
        is_new = self._after is not None and where > self._after
        if isinstance(item, Frame):
            self._frame(item, is_new=is_new)
        elif isinstance(item, Moved):
            self._has_moved |= (item.incarnation, item.moves) == (self._move.incarnation, self._move.moves)
        elif is_new and not self._has_moved:
            self._change(item)

    def _frame(self, frame: Frame, *, is_new: bool) -> None:
        source, target = Incarnation(frame.source), Incarnation(frame.target)
        is_target = target == self._move.incarnation
        if frame.kind == "w":
            self._heard |= {frame.source} if is_target and frame.number == self._move.moves else set()
        elif frame.kind == "s" and is_target:
            signalled = Signalled(source, target, frame.body, frame.ticket, frame.step)
            (self.events if is_new else self.answered).append(signalled)
        elif frame.kind == "m" and self._kind is Kind.USER and source != self._move.incarnation:
            known = self._members.get(source)
            announced = Announced(source, self._move.incarnation, frame.body, frame.ticket if is_target else 0)
            if is_new and (known is None or known.node not in self._heard):
                self.events.append(announced)
            elif is_target:
                self.answered.append(announced)

    def _change(self, change: Member | Gone | Marked | Locked | Closed) -> None:
        if isinstance(change, Closed):  # who was there then is nowhere any more
            return
        if isinstance(change, Locked):
            self.events.append(Missed(PeerId(""), locked=change.locked))
            return
        if change.incarnation == self._move.incarnation:
            return
        if isinstance(change, Member):
            if change.kind is Kind.PEER:
                self.events.append(Missed(PeerId(change.id), change))
        elif change.field.startswith("p"):
            peer = PeerId(change.field[1:])
            if isinstance(change, Gone):
                self.events.append(Missed(peer, reason=change.reason))
            else:
                self.events.append(Missed(peer, away=change.away))
