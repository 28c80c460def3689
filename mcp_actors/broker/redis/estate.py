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
from mcp_actors.broker.redis.outgoing import Call
from mcp_actors.protocol.events import Announced, Kind, Signalled
from mcp_actors.protocol.identifiers import Incarnation, NodeId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcp_actors.broker.redis.connection import Reply
    from mcp_actors.broker.redis.entries import Frame
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.protocol.events import Member, MemberMoved
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
    """The inbox of one dead node, as far as it was read; all who take over its members share it."""

    def __init__(self, keys: Keys, node: NodeId, call: Callable[[Call], None]) -> None:
        self.node = node
        self._inbox = keys.inbox(node)
        self._call = call
        self._cursor = b"-"
        self._frames: dict[RoomId, list[tuple[Place, Frame]]] = {}
        self._channels = Channels()
        self._reading = asyncio.Lock()
        self._first: tuple[int, int] | None = None  # the entry that is left; what came before it is not known

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
        whole = False
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._read_on()
                while not self._heard(room, move):
                    await asyncio.sleep(PAUSE)
                    await self._read_on()
                whole = True
        if after is None or self._first is None or (after.milliseconds, after.sequence) < self._first:
            return Recovered()
        return Recovered(_after(after, self._frames.get(room, []), kind, move, members), whole)

    def _heard(self, room: RoomId, move: MemberMoved) -> bool:
        """Whether all others have said that they heard of a move."""
        said = {
            frame.source
            for _, frame in self._frames.get(room, ())
            if frame.kind == "w" and frame.target == move.incarnation
        }
        return said >= set(move.others) - {move.old, move.node}

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

        def answered(reply: Reply) -> None:
            if not answer.done():
                answer.set_result(reply)

        self._call(Call(("XRANGE", self._inbox, self._cursor, "+", "COUNT", AT_ONCE), answered))
        reply = await answer
        return [] if reply is None or isinstance(reply, ResponseError) else [(entry, flat) for entry, flat in reply]

    def _take(self, entry: bytes, flat: list[bytes]) -> None:
        milliseconds, sequence = map(int, entry.split(b"-"))
        self._first = self._first or (milliseconds, sequence)
        if flat[0] != b"r":
            return
        news = entries.read(flat)
        for index, frame in enumerate(news if isinstance(news, list) else ()):
            numbered = frame.kind in "sm"
            if numbered and self._channels.arrived(frame.source, frame.target, frame.number) is Arrival.AGAIN:
                continue
            if numbered or frame.kind == "w":
                where = Place(milliseconds, sequence, index)
                self._frames.setdefault(frame.room, []).append((where, frame))


def _after(
    after: Place,
    frames: list[tuple[Place, Frame]],
    kind: Kind,
    move: MemberMoved,
    members: Mapping[Incarnation, Member],
) -> list[Signalled | Announced]:
    """What was for a member: signals to it; for a user, too, what was said to all by nodes that had not heard of it."""
    events: list[Signalled | Announced] = []
    heard: set[str] = set()
    for where, frame in frames:
        source, target = Incarnation(frame.source), Incarnation(frame.target)
        if frame.kind == "w":
            heard |= {frame.source} if target == move.incarnation else set()
        elif where <= after:
            continue
        elif frame.kind == "s" and target == move.incarnation:
            events.append(Signalled(source, target, frame.body, frame.ticket, frame.step))
        elif frame.kind == "m" and kind is Kind.USER and source != move.incarnation:
            known = members.get(source)
            if known is None or known.node not in heard:
                ticket = frame.ticket if target == move.incarnation else 0
                events.append(Announced(source, move.incarnation, frame.body, ticket))
    return events
