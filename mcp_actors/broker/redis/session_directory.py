"""Which node has which session, in Redis, so that any node can take one over.

A record that Redis did not acknowledge is written again over the next link, and all of them if Redis lost its data. One
that it refused is written again after a while; until then no other node can take the session over.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

import msgspec
from redis.exceptions import ResponseError

from mcp_actors.broker import AcquiredSession
from mcp_actors.broker.redis.connection import LinkLost, words
from mcp_actors.broker.redis.log_limit import LogLimit
from mcp_actors.broker.redis.scripts import ACQUIRE_SESSION, DELETE_SESSION, SAVE_SESSION
from mcp_actors.broker.redis.write_queue import Call
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.protocol.events import Removal
from mcp_actors.protocol.identifiers import RoomId

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.broker import SessionRecord
    from mcp_actors.broker.redis.connection import Command, Reply
    from mcp_actors.broker.redis.executor import Executor
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.broker.redis.settings import RedisSettings
    from mcp_actors.protocol.identifiers import NodeId

RECORD_LIFE = 600.0
"""Seconds that Redis keeps a record that its node does not renew, or four resume windows if that is longer."""

RENEWED_AT_ONCE = 100

RETRY_REFUSED = 5.0
"""Seconds after which records that Redis refused are written again."""

RETRY = 0.05
"""Seconds between attempts at a session that another node is taking over."""

UNKNOWN = "The server cannot find out where your session is; try again in a moment."

_pack = msgspec.json.Encoder().encode
_unpack_rooms = msgspec.json.Decoder(list[tuple[str, str, str, bool]]).decode
_unpack_removed = msgspec.json.Decoder(dict[RoomId, Removal]).decode


class SessionDirectory:
    """The records of one bucket. `stamp` converts a time of `clock` to that of Redis, if it is known."""

    def __init__(
        self,
        keys: Keys,
        node: NodeId,
        executor: Executor,
        clock: Callable[[], float],
        stamp: Callable[[float], int | None],
        settings: RedisSettings,
    ) -> None:
        self._keys = keys
        self._node = node
        self._executor = executor
        self._clock = clock
        self._stamp = stamp
        self._life = max(RECORD_LIFE, 4 * settings.resume_window)
        self._records: dict[str, SessionRecord] = {}
        self._written_at: dict[str, float] = {}  # the earliest first
        self._unwritten: dict[str, None] = {}
        self._refused: dict[str, float] = {}  # and when that was, the earliest first
        self._log = LogLimit(clock)

    @property
    def unwritten(self) -> int:
        """How many records Redis has not acknowledged."""
        return len(self._unwritten)

    @property
    def refused(self) -> int:
        """How many records Redis refuses, mostly because its memory is full."""
        return len(self._refused)

    def save(self, record: SessionRecord) -> None:
        """Write the record of a session of this node."""
        self._records[record.session] = record
        self._write(record.session)

    def delete(self, session: str) -> None:
        """Delete the record of a session of this node."""
        if self._records.pop(session, None) is not None:
            self._written_at.pop(session, None)
            self._write(session)

    def disown(self, session: str) -> None:
        """Forget a session that another node has now."""
        self._records.pop(session, None)
        self._written_at.pop(session, None)
        self._unwritten.pop(session, None)
        self._refused.pop(session, None)

    def refresh(self) -> None:
        """Write records again that Redis refused, and others before it forgets them."""
        now = self._clock()
        for times, age in ((self._refused, RETRY_REFUSED), (self._written_at, self._life / 2)):
            for session, since in list(islice(times.items(), RENEWED_AT_ONCE)):
                if since > now - age:
                    break
                self._write(session)

    def on_node_reaped(self, session: str, dead: NodeId) -> None:
        """Delete the record of a session of a dead node, unless another node has taken it over."""
        if self._executor.up.is_set():
            self._executor.call(Call(self._delete_command(session, dead), lambda _reply: None))

    def link_up(self, *, lost: bool) -> None:
        """Write what the last link did not acknowledge, or everything if Redis may have lost it."""
        if lost:
            self._unwritten |= dict.fromkeys(self._records)
        for session in list(self._unwritten):
            self._write(session)

    def _write(self, session: str) -> None:
        self._unwritten[session] = None
        record = self._records.get(session)
        if record is not None:
            self._written_at.pop(session, None)
            self._written_at[session] = self._clock()
        self._refused.pop(session, None)
        if not self._executor.up.is_set():
            return

        def answered(reply: Reply) -> None:
            if self._records.get(session) is not record:
                return
            if isinstance(reply, ResponseError):
                self._refused[session] = self._clock()
                self._log.warning("redis refuses session records, no other node can resume these", reason=str(reply))
            else:
                self._unwritten.pop(session, None)

        command = self._delete_command(session, self._node) if record is None else self._save_command(record)
        self._executor.call(Call(command, answered))

    def _save_command(self, record: SessionRecord) -> Command:
        who = (self._node, record.generation, record.oldest, record.whose)
        removed = _pack(record.out) if record.out else b""
        what = (_pack(record.rooms), record.left, removed, int(self._life * 1000), record.epoch)
        asked_at = self._asked_at(record.asked_at)
        return SAVE_SESSION.call([self._keys.session(record.session)], [*who, *what, asked_at])

    def _asked_at(self, at: float) -> int | str:
        found = self._stamp(at) if at else None
        return "" if found is None else found

    def _delete_command(self, session: str, node: NodeId) -> Command:
        return DELETE_SESSION.call([self._keys.session(session)], [node])

    async def acquire(
        self, session: str, generation: int, whose: str, patience: float, asked_at: float = 0.0
    ) -> AcquiredSession | None:
        """See `SessionStore.acquire_session`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while True:
            word, *rest = await self._acquire(session, generation, whose, patience, asked_at)
            if word == b"OK":
                return self._acquired(rest)
            if word == b"NONE":
                return None
            if word == b"SUPERSEDED":
                raise Unavailable("A later connection has resumed your session; use that one, or try again.")
            if word != b"LATER":
                raise Unavailable(UNKNOWN)
            if loop.time() > until:
                raise Unavailable("Another connection is taking your session over; try again in a moment.")
            await asyncio.sleep(RETRY)

    def _acquired(self, record: list[bytes]) -> AcquiredSession | None:
        """The session of a record; None if nobody can read it."""
        try:
            new, oldest, rooms, left, removed, epoch = record
            out = _unpack_removed(removed) if removed else {}
            return AcquiredSession(int(new), int(oldest), _unpack_rooms(rooms), left, out, int(epoch))
        except (ValueError, msgspec.DecodeError) as error:
            self._log.warning("session record unreadable", reason=repr(error))
            return None

    async def _acquire(
        self, session: str, generation: int, whose: str, patience: float, asked_at: float
    ) -> list[bytes]:
        keys = (self._keys.nodes, self._keys.session(session), self._keys.config)
        who = (self._node, generation, whose, int(patience * 1000), self._asked_at(asked_at))
        command = ACQUIRE_SESSION.call(keys, who)
        try:
            (reply,) = await self._executor.run([command])
            if isinstance(reply, ResponseError):
                self._log.warning("redis refuses to tell where a session is", reason=str(reply))
            return words(reply)
        except LinkLost:
            raise Unavailable(UNKNOWN) from None
