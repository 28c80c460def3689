"""Events for the application: what happens in the rooms of this process, in order, to each observer by itself."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from msgspec import Struct

from mcp_actors.protocol.events import Kind, LeaveReason, Member

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.protocol.identifiers import RoomId

log = structlog.get_logger("mcp_actors.observers")

CLOSE_TIMEOUT = 1.0
"""Seconds for observers to take the last events when the server stops."""


class RoomOpened(Struct, frozen=True):
    """A room has its first member at this process."""

    room: str


class RoomEnded(Struct, frozen=True):
    """A room has no member at this process any more."""

    room: str


class MemberEvent(Struct, frozen=True):
    """An event about a member at this process: a peer, or one connection of a user. `id`: its `peer_id` or `user_id`.

    `verified`: a token or the application says who it is.
    """

    room: str
    kind: Kind
    id: str
    verified: bool
    metadata: dict[str, Any]


class MemberJoined(MemberEvent, frozen=True):
    """A member has joined, or its session has moved to this process."""


class MemberLeft(MemberEvent, frozen=True):
    """A member has left; `reason` is None if its session has moved to another process."""

    reason: LeaveReason | None


class MessageSent(MemberEvent, frozen=True):
    """A user at this process has sent a message to the users of a room; `text` is its content as JSON."""

    text: bytes

    @property
    def content(self) -> Any:
        """The content of the message."""
        return msgspec.json.decode(self.text)


class EventsDropped(Struct, frozen=True):
    """So many events were dropped here, as the observer is too slow."""

    count: int


RoomEvent = RoomOpened | RoomEnded | MemberJoined | MemberLeft | MessageSent | EventsDropped
Observer = Callable[[RoomEvent], Awaitable[None] | None]
"""Called with one event after the other; the next one comes when what it returns is done."""


class _Feed:
    """The events of one observer, at most `limit` of which wait."""

    def __init__(self, observer: Observer, limit: int) -> None:
        self._observer = observer
        self._limit = limit
        self._waiting: deque[RoomEvent] = deque()
        self._dropped = 0
        self._has_failed = self._closed = False
        self._task: asyncio.Task[None] | None = None

    def put(self, event: RoomEvent) -> None:
        if self._closed:
            return
        if len(self._waiting) >= self._limit:
            if not self._dropped:
                log.warning("observer is too slow, dropping events", observer=_name(self._observer))
            self._dropped += 1
            return
        if self._dropped:
            self._waiting.append(EventsDropped(self._dropped))
            self._dropped = 0
        self._waiting.append(event)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._waiting:
            event = self._waiting.popleft()
            try:
                result = self._observer(event)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                if not self._has_failed:
                    self._has_failed = True
                    log.exception("observer failed", observer=_name(self._observer), on=type(event).__name__)

    async def close(self) -> None:
        self._closed = True
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CLOSE_TIMEOUT)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class Observing:
    """All observers. One that is slow or fails delays no client and no other observer; a failure is logged once.

    Of each, at most `limit` events wait; what comes then is dropped, and the observer is told how many were.
    """

    def __init__(self, observers: Sequence[Observer], limit: int) -> None:
        self._feeds = [_Feed(observer, limit) for observer in observers]
        self._open: set[RoomId] = set()
        self._all_ended = asyncio.Event()
        self._all_ended.set()

    def room_opened(self, room: RoomId) -> None:
        """See `MembershipObserver`."""
        self._open.add(room)
        self._all_ended.clear()
        self._put(RoomOpened(room))

    def room_closed(self, room: RoomId) -> None:
        """See `MembershipObserver`."""
        self._put(RoomEnded(room))
        self._open.discard(room)
        if not self._open:
            self._all_ended.set()

    def member_joined(self, room: RoomId, member: Member) -> None:
        """See `MembershipObserver`."""
        self._put(MemberJoined(room, *_fields(member)))

    def member_left(self, room: RoomId, member: Member, reason: LeaveReason | None) -> None:
        """See `MembershipObserver`."""
        self._put(MemberLeft(room, *_fields(member), reason))

    def message_sent(self, room: RoomId, member: Member, content: bytes) -> None:
        """See `MessageObserver`."""
        self._put(MessageSent(room, *_fields(member), content))

    async def close(self) -> None:
        """Wait for the end of all rooms, for a moment, and until the observers have taken what waits; and end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._all_ended.wait()
        await asyncio.gather(*(feed.close() for feed in self._feeds))

    def _put(self, event: RoomEvent) -> None:
        for feed in self._feeds:
            feed.put(event)


def _fields(member: Member) -> tuple[Kind, str, bool, dict[str, Any]]:
    return member.kind, member.id, member.verified, member.metadata


def _name(observer: Observer) -> str:
    return getattr(observer, "__qualname__", type(observer).__name__)
