"""The memory that a session takes, charged to the address of its latest connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mcp_actors.memory_budget import MESSAGE_OVERHEAD
from mcp_actors.protocol.errors import CloseCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcp_actors.memory_budget import MemoryBudget
    from mcp_actors.sessions.replay_buffer import ReplayBuffer

COUNT_EVERY = 8192
"""Bytes that are counted at once; the heartbeat counts the rest."""


class KeepingSession(Protocol):
    """A session, as it is seen here."""

    replay: ReplayBuffer

    def close(self, code: CloseCode) -> None:
        """Close the connection and end the session."""


class Kept:
    """Counts the messages that a session keeps. Call `count` when more bytes are kept than `count_above`.

    Also counts the messages of the client that wait in rooms for its joins, until none of these is pending.
    """

    kind = "session"

    __slots__ = ("_account", "_session", "_waiting", "count_above")

    def __init__(self, session: KeepingSession, memory: MemoryBudget, address: str) -> None:
        self.count_above = COUNT_EVERY
        self._session: KeepingSession | None = session
        self._waiting = 0
        self._account = memory.account(address, self)

    @property
    def address(self) -> str:
        """The address that is charged."""
        return self._account.address

    @property
    def size(self) -> int:
        """The bytes that were counted last."""
        return self._account.size

    def count(self) -> None:
        """Count what is kept now."""
        if self._session is not None:
            replay = self._session.replay
            self._account.set(replay.bytes + len(replay) * MESSAGE_OVERHEAD + self._waiting)
            self.count_above = replay.bytes + COUNT_EVERY

    def wait(self, size: int) -> None:
        """Count a message of the client that may wait for a join."""
        self._waiting += size + MESSAGE_OVERHEAD
        self._account.add(size + MESSAGE_OVERHEAD)

    def joined(self) -> None:
        """Note that no message waits for a join any more."""
        self._account.add(-self._waiting)
        self._waiting = 0

    def move(self, address: str) -> None:
        """Charge another address from now on."""
        self._account.move(address)

    def close(self) -> None:
        """Count nothing any more, as the session has ended."""
        self._account.close()
        self._waiting = 0
        self._session = None  # they refer to each other

    def kept_bodies(self) -> Iterable[bytes]:
        """See `Holder`."""
        self.count()
        return () if self._session is None else self._session.replay.bodies()

    def pay(self) -> None:
        """See `Holder`: the session ends."""
        if self._session is not None:
            self._session.close(CloseCode.SLOW_PEER)
