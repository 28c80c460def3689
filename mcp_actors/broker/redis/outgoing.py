"""What waits to be written to Redis: pure, so that what happens on each failure can be tested without one.

Frames for one inbox travel together, as one entry. What Redis did not answer is written again, in its old place; what
it answered lately is kept for a while, to be written again should it come back without it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import ResponseError

from mcp_actors.broker.redis.entries import MAX_FRAME_BYTES, MAX_FRAMES, Frame, pack_frame, pack_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcp_actors.broker.redis.connection import Command, Reply

MAX_BATCH = 256
"""Commands that are written in one go."""


class Parcel(NamedTuple):
    """A frame on its way to an inbox."""

    inbox: str
    frame: Frame
    packed: bytes


class Call(NamedTuple):
    """A command, and who is told the reply."""

    command: Command
    answered: Callable[[Reply], None]


class Batch(NamedTuple):
    """What is written in one go. Each command is one call, or the entry of several parcels."""

    commands: list[Command]
    contents: list[Call | list[Parcel]]


class _Entry:
    """An entry in the making. It is closed when a call comes behind it: what follows must not overtake that."""

    __slots__ = ("closed", "parcels", "size")

    def __init__(self) -> None:
        self.parcels: list[Parcel] = []
        self.size = 0
        self.closed = False

    def has_room_for(self, parcel: Parcel) -> bool:
        size = self.size + len(parcel.packed)
        return not self.closed and len(self.parcels) < MAX_FRAMES and size <= MAX_FRAME_BYTES

    def add(self, parcel: Parcel) -> None:
        self.parcels.append(parcel)
        self.size += len(parcel.packed)


class Outgoing:
    """The queue to one bucket of Redis. Times are seconds of any one clock.

    `max_frames`, `max_bytes`: what may wait. `max_entries`: what an inbox may hold. `keep`, `max_kept_bytes`: how long,
    and how much at most, what was written is kept to be written again. `patience`: how long an inbox may be missing.
    """

    def __init__(
        self,
        *,
        max_frames: int,
        max_bytes: int,
        max_entries: int,
        keep: float,
        max_kept_bytes: int,
        patience: float,
    ) -> None:
        self._max_frames, self._max_bytes = max_frames, max_bytes
        self._max_entries = max_entries
        self._keep, self._max_kept_bytes = keep, max_kept_bytes
        self._patience = patience
        self._queue: deque[Parcel | Call] = deque()
        self._held: dict[str, list[Parcel]] = {}  # for inboxes that are not there: dead, or lost and not back yet
        self._missing: dict[str, float] = {}  # since when
        self._written: deque[tuple[float, Parcel]] = deque()
        self._written_bytes = 0
        self.frames = self.bytes = 0
        """Of parcels that wait, the unanswered included."""

    def __bool__(self) -> bool:
        return bool(self._queue)

    @property
    def full(self) -> bool:
        """Whether no more is taken."""
        return self.frames >= self._max_frames or self.bytes >= self._max_bytes

    # -------------------------------------------------------------------------------------------------------- filling

    def put(self, inbox: str, frame: Frame) -> None:
        """Add a frame; the caller has looked whether there is room."""
        parcel = Parcel(inbox, frame, pack_frame(frame))
        self._count(parcel)
        held = self._held.get(inbox)
        if held is not None:
            held.append(parcel)
        else:
            self._queue.append(parcel)

    def call(self, call: Call) -> None:
        """Add a command, behind all that waits."""
        self._queue.append(call)

    def call_first(self, calls: Iterable[Call]) -> None:
        """Add commands, before all that waits."""
        self._queue.extendleft(reversed(list(calls)))

    def _count(self, parcel: Parcel, sign: int = 1) -> None:
        self.frames += sign
        self.bytes += sign * len(parcel.packed)

    # -------------------------------------------------------------------------------------------------------- writing

    def take(self) -> Batch:
        """What to write next: calls in their place among the frames, and one entry for an inbox at most.

        With two, the second could find the inbox that the first one missed, and overtake it.
        """
        batch = Batch([], [])
        entries: dict[str, _Entry] = {}
        while self._queue and len(batch.contents) < MAX_BATCH:
            item = self._queue[0]
            if isinstance(item, Call):
                for made in entries.values():
                    made.closed = True
                batch.contents.append(item)
            else:
                entry = entries.get(item.inbox)
                if entry is None:
                    entry = entries[item.inbox] = _Entry()
                    batch.contents.append(entry.parcels)
                elif not entry.has_room_for(item):
                    break
                entry.add(item)
            self._queue.popleft()
        batch.commands.extend(map(self._command, batch.contents))
        return batch

    def _command(self, content: Call | list[Parcel]) -> Command:
        if isinstance(content, Call):
            return content.command
        value = pack_frames([parcel.packed for parcel in content])
        limit = ("NOMKSTREAM", "MAXLEN", "~", self._max_entries)
        return ("XADD", content[0].inbox, *limit, "*", "r", value)

    def settle(self, batch: Batch, replies: list[Reply], now: float) -> None:
        """Note what Redis answered. An inbox that is not there has its frames held.

        What a call's `answered` raises is raised when all is noted.
        """
        failure: Exception | None = None
        for content, reply in zip(batch.contents, replies, strict=True):
            if isinstance(content, Call):
                try:
                    content.answered(reply)
                except Exception as error:
                    failure = error
            elif reply is None or isinstance(reply, ResponseError):
                self._hold(content, now)
            else:
                self._missing.pop(content[0].inbox, None)
                self._remember(content, now)
        if failure is not None:
            raise failure

    def give_back(self, batch: Batch) -> None:
        """Take back what Redis did not answer. Calls are dropped: who made them makes them anew."""
        for content in reversed(batch.contents):
            if not isinstance(content, Call):
                self._queue.extendleft(reversed(content))

    def drop_calls(self) -> None:
        """Drop the calls that wait: who made them makes them anew."""
        self._queue = deque(item for item in self._queue if not isinstance(item, Call))

    def _hold(self, parcels: list[Parcel], now: float) -> None:
        inbox = parcels[0].inbox
        self._missing.setdefault(inbox, now)
        held = self._held.setdefault(inbox, [])
        held.extend(parcels)
        kept: deque[Parcel | Call] = deque()
        for item in self._queue:
            if isinstance(item, Parcel) and item.inbox == inbox:
                held.append(item)
            else:
                kept.append(item)
        self._queue = kept

    def _remember(self, parcels: list[Parcel], now: float) -> None:
        for parcel in parcels:
            self._count(parcel, -1)
            self._written.append((now, parcel))
            self._written_bytes += len(parcel.packed)
        self._forget_old(now)

    def _forget_old(self, now: float) -> None:
        written = self._written
        while written and (written[0][0] < now - self._keep or self._written_bytes > self._max_kept_bytes):
            _, parcel = written.popleft()
            self._written_bytes -= len(parcel.packed)

    # ------------------------------------------------------------------------------------------------------- mishaps

    def retry_held(self, now: float) -> list[Frame]:
        """Try again for the inboxes that were not there; return the frames for those that were so for too long."""
        lost: list[Frame] = []
        for inbox, parcels in self._held.items():
            if now - self._missing.setdefault(inbox, now) <= self._patience:
                self._queue.extend(parcels)
                continue
            del self._missing[inbox]
            lost.extend(parcel.frame for parcel in parcels)
            for parcel in parcels:
                self._count(parcel, -1)
        self._held.clear()
        return lost

    def tend(self, now: float) -> None:
        """Forget what was written long ago."""
        self._forget_old(now)

    def attached(self) -> None:
        """The server is back: nodes whose inboxes are missing have their time from now on."""
        self._missing.clear()

    def replay(self, now: float) -> int:
        """Write what was written lately again, before what waits; return how many frames that is."""
        self._forget_old(now)
        again = [parcel for _, parcel in self._written]
        for parcel in again:
            self._count(parcel)
        held = [parcel for parcels in self._held.values() for parcel in parcels]
        self._queue.extendleft(reversed([*again, *held]))
        self._held.clear()
        self._written.clear()
        self._written_bytes = 0
        return len(again)

    def clear(self) -> None:
        """Drop all: the node was declared dead, and nobody would take anything from it."""
        self._queue.clear()
        self._held.clear()
        self._missing.clear()
        self._written.clear()
        self.frames = self.bytes = self._written_bytes = 0
