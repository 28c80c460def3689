"""What this node lets all nodes know of its sessions, so that any of them can go on with one: one hash per session.

What Redis did not answer is written again when the link is back; where Redis lost its data, all of it is.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

import msgspec
from redis.exceptions import ResponseError

from mcp_actors.broker import Taken
from mcp_actors.broker.redis.outgoing import Call
from mcp_actors.broker.redis.scripts import FORGET, NOTE, TAKE
from mcp_actors.protocol.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.broker import Note
    from mcp_actors.broker.redis.connection import Reply
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.protocol.identifiers import NodeId

REWRITTEN_AT_ONCE = 100

RETRY = 0.05
"""Seconds until a session that another node is taking over is asked for again."""

_pack = msgspec.json.Encoder().encode
_unpack = msgspec.json.Decoder(list[tuple[str, str, str, bool]]).decode
_unpack_out = msgspec.json.Decoder(dict[str, str]).decode


class Notes:
    """The notes of one bucket. `call` adds a command to what waits for Redis; when the link breaks, it is dropped.

    `life`: seconds after which Redis forgets a note that is not written again, as the node is gone.
    """

    def __init__(
        self, keys: Keys, node: NodeId, call: Callable[[Call], None], clock: Callable[[], float], life: float
    ) -> None:
        self._keys = keys
        self._node = node
        self._call = call
        self._clock = clock
        self._life = life
        self._written_at: dict[str, float] = {}  # the earliest first
        self._up = False
        self._notes: dict[str, Note] = {}
        self._unwritten: dict[str, None] = {}  # of which Redis is to be told a note, or that there is none
        self._asking: set[asyncio.Future[list[bytes]]] = set()

    @property
    def all_written(self) -> bool:
        """Whether Redis knows all of it."""
        return not self._unwritten

    def note(self, note: Note) -> None:
        """Let the other nodes know of a session of this node, or what is new of it."""
        self._notes[note.session] = note
        self._write(note.session)

    def forget(self, session: str) -> None:
        """A session of this node has ended."""
        if self._notes.pop(session, None) is not None:
            self._written_at.pop(session, None)
            self._write(session)

    def tend(self) -> None:
        """Write again what Redis would forget soon."""
        before = self._clock() - self._life / 2
        for session, written_at in list(islice(self._written_at.items(), REWRITTEN_AT_ONCE)):
            if written_at > before:
                break
            self._write(session)

    def drop(self, session: str) -> None:
        """Another node has a session now; what it says of it counts."""
        self._notes.pop(session, None)
        self._written_at.pop(session, None)
        self._unwritten.pop(session, None)

    def bury(self, session: str, dead: NodeId) -> None:
        """A session that a dead node left behind has ended, unless another node has gone on with it."""
        if self._up:
            self._call(Call(("EVALSHA", FORGET.digest, 1, self._keys.session(session), dead), lambda _reply: None))

    def attached(self, *, anew: bool) -> None:
        """The link is there; `anew`: Redis may have lost what it was told."""
        self._up = True
        if anew:
            self._unwritten |= dict.fromkeys(self._notes)
        for session in list(self._unwritten):
            self._write(session)

    def detached(self) -> None:
        """The link is gone."""
        self._up = False
        for reply in self._asking:
            if not reply.done():
                reply.set_exception(_away())
                reply.exception()  # it is known, even if nobody waits any more
        self._asking.clear()

    def _write(self, session: str) -> None:
        self._unwritten[session] = None
        note = self._notes.get(session)
        if note is not None:
            self._written_at.pop(session, None)
            self._written_at[session] = self._clock()
        if not self._up:
            return
        script = FORGET if note is None else NOTE
        said = () if note is None else (*_said(note), int(self._life * 1000), _pack(note.out) if note.out else b"")
        command = ("EVALSHA", script.digest, 1, self._keys.session(session), self._node, *said)

        def answered(_reply: Reply) -> None:
            if self._notes.get(session) is note:
                self._unwritten.pop(session, None)

        self._call(Call(command, answered))

    async def take(self, session: str, generation: int, whose: str, patience: float) -> Taken | None:
        """See `Broker.take`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while True:
            reply = await self._ask(session, generation, whose, patience)
            if reply[0] == b"OK":
                out = _unpack_out(reply[5]) if reply[5] else {}
                return Taken(int(reply[1]), int(reply[2]), _unpack(reply[3]), reply[4], out)
            if reply[0] != b"LATER":
                return None
            if loop.time() > until:
                raise Unavailable("Another connection is taking your session over; try again in a moment.")
            await asyncio.sleep(RETRY)

    async def _ask(self, session: str, generation: int, whose: str, patience: float) -> list[bytes]:
        if not self._up:
            raise _away()
        answer: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        self._asking.add(answer)

        def answered(reply: Reply) -> None:
            self._asking.discard(answer)
            if not answer.done():
                answer.set_result([b"NONE"] if isinstance(reply, ResponseError) else reply)

        named = (self._keys.nodes, self._keys.session(session))
        milliseconds = int(patience * 1000)
        command = ("EVALSHA", TAKE.digest, len(named), *named, self._node, generation, whose, milliseconds)
        self._call(Call(command, answered))
        return await answer


def _away() -> Unavailable:
    return Unavailable("Redis is away, which knows where your session is; try again in a moment.")


def _said(note: Note) -> tuple[str | bytes | int, ...]:
    return note.generation, note.oldest, note.whose, _pack(note.rooms), note.left
