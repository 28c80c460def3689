"""The queue of commands and frames for one bucket of Redis, without I/O.

Frames for one inbox travel together as one entry. Calls of scripts are written a few at a time, and frames of other
rooms pass those that wait, so that clients that cause many calls do not delay the messages of others. Frames that Redis
did not acknowledge keep their place and are written again, also those that it refused because its memory is full;
frames that it acknowledged lately are kept, to be written again if it comes back without them.

Frames for different inboxes keep their order while the memory of Redis is full: the earlier messages of a client must
be written before its session is handed over. As Redis may refuse an entry and accept the next, if memory is freed in
between, a handover is in a later batch than these messages.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import NoPermissionError, OutOfMemoryError, ResponseError

from mcp_actors.broker.redis.connection import AccessDenied
from mcp_actors.broker.redis.entries import MAX_FRAME_BYTES, MAX_FRAMES, Frame, pack, pack_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcp_actors.broker.redis.connection import Command, Reply
    from mcp_actors.broker.redis.settings import RedisSettings
    from mcp_actors.protocol.identifiers import RoomId

MAX_BATCH = 256
"""How many commands are written at once."""

MAX_CALLS = 16
"""How many of them are calls: a script takes Redis 50 to 150 us, an entry of frames some 5."""

MAX_POSTPONED = 256
"""How many calls and frames that have to wait are passed in search of others that need not."""

RETRY_REFUSED = 1.0
"""Seconds after which frames that Redis refused are written again."""


class QueuedFrame(NamedTuple):
    """A frame on its way to an inbox."""

    inbox: str
    frame: Frame
    packed: bytes


def _ignore() -> None:
    pass


class Call(NamedTuple):
    """A command, with the callback for its reply, and the one for when the link breaks first.

    `room`: later frames of this room must not overtake it.
    """

    command: Command
    answered: Callable[[Reply], None]
    dropped: Callable[[], None] = _ignore
    room: RoomId | None = None


class Batch(NamedTuple):
    """A batch of commands that is written at once; each is a call, or an entry of several frames."""

    commands: list[Command]
    contents: list[Call | list[QueuedFrame]]


@dataclass(slots=True)
class _Entry:
    """The frames of one entry, and the rooms whose calls come after it in its batch."""

    frames: list[QueuedFrame]
    size: int
    behind: set[RoomId | None]

    def has_room_for(self, queued: QueuedFrame) -> bool:
        """Whether one more frame fits."""
        return self.size + len(queued.packed) <= MAX_FRAME_BYTES and len(self.frames) < MAX_FRAMES

    def take(self, queued: QueuedFrame) -> bool:
        """Take one more frame if it overtakes no call of its room."""
        if queued.frame.room in self.behind:
            return False
        self.frames.append(queued)
        self.size += len(queued.packed)
        return True


class _Selection:
    """Selects the contents of one batch, item by item. The calls and frames of a room keep their order.

    There are up to `MAX_CALLS` calls, and one entry for each inbox: with two, the second could find an inbox that was
    missing for the first, and overtake it.
    """

    __slots__ = ("_calls", "_entries", "_postponed", "contents", "full")

    def __init__(self) -> None:
        self.contents: list[Call | list[QueuedFrame]] = []
        self.full = False
        """Whether no more is to be selected."""
        self._calls = 0
        self._entries: dict[str, _Entry] = {}
        self._postponed: set[RoomId | None] = set()

    def take(self, item: QueuedFrame | Call) -> bool:
        """Take an item, unless it has to wait for the next batch."""
        if isinstance(item, Call):
            room = item.room
            taken = room not in self._postponed and self._take_call(item)
        else:
            room = item.frame.room
            taken = room not in self._postponed and self._take_frame(item)
        if not taken and room is not None:
            self._postponed.add(room)
        return taken

    def _take_call(self, call: Call) -> bool:
        if self._calls >= MAX_CALLS:
            return False
        self._calls += 1
        self._append(call)
        for entry in self._entries.values():
            entry.behind.add(call.room)
        return True

    def _take_frame(self, queued: QueuedFrame) -> bool:
        if queued.frame.kind == "handover" and self._has_messages_elsewhere(queued):
            self.full = True
            return False
        entry = self._entries.get(queued.inbox)
        if entry is None:
            entry = self._entries[queued.inbox] = _Entry([queued], len(queued.packed), set())
            self._append(entry.frames)
            return True
        if entry.has_room_for(queued):
            return entry.take(queued)
        self.full = True
        return False

    def _has_messages_elsewhere(self, handover: QueuedFrame) -> bool:
        """Whether earlier messages of a member that is handed over are in entries for other inboxes."""
        others = [entry for inbox, entry in self._entries.items() if inbox != handover.inbox]
        return any(one.frame.source == handover.frame.target for entry in others for one in entry.frames)

    def _append(self, content: Call | list[QueuedFrame]) -> None:
        self.contents.append(content)
        self.full = len(self.contents) >= MAX_BATCH


class WriteQueue:
    """The queue to one bucket. Times are seconds of a clock that stands still while the link is down."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._queue: deque[QueuedFrame | Call] = deque()
        self._held: dict[str, list[QueuedFrame]] = {}  # for missing inboxes: their nodes are dead, or not back yet
        self._missing_since: dict[str, float] = {}
        self._retry_at: dict[str, float] = {}  # for inboxes that Redis refuses to write
        self._stalled: list[QueuedFrame] = []  # for all other inboxes, in order, while the memory of Redis is full
        self._stalled_until = 0.0
        self.refusal = ""
        """Why Redis refuses frames, if it does."""
        self._written: deque[tuple[float, QueuedFrame]] = deque()
        self._written_bytes = 0
        self.frames = self.bytes = 0
        """The size of the frames that Redis has not acknowledged."""

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether no more frames are accepted."""
        return self.frames >= self._settings.max_remote_messages or self.bytes >= self._settings.max_remote_bytes

    @property
    def replay_bytes(self) -> int:
        """The bytes of frames that Redis has acknowledged, and that are kept in case it loses them."""
        return self._written_bytes

    def put(self, inbox: str, frame: Frame) -> None:
        """Append a frame; the caller checks `full`."""
        queued = QueuedFrame(inbox, frame, pack(frame))
        self._count(queued)
        self._held.get(inbox, self._stalled or self._queue).append(queued)

    def call(self, call: Call) -> None:
        """Append a command."""
        self._queue.append(call)

    def call_first(self, calls: Iterable[Call]) -> None:
        """Put commands before everything that waits."""
        self._queue.extendleft(reversed(list(calls)))

    def _count(self, frame: QueuedFrame, sign: int = 1) -> None:
        self.frames += sign
        self.bytes += sign * len(frame.packed)

    def take(self) -> Batch:
        """Take the next batch: calls and frames of a room keep their order, and pass those of other rooms that wait."""
        selection, queue, postponed = _Selection(), self._queue, list[QueuedFrame | Call]()
        while queue and not selection.full and len(postponed) < MAX_POSTPONED:
            item = queue.popleft()
            if not selection.take(item):
                postponed.append(item)
        queue.extendleft(reversed(postponed))
        return Batch([self._command(content) for content in selection.contents], selection.contents)

    def _command(self, content: Call | list[QueuedFrame]) -> Command:
        if isinstance(content, Call):
            return content.command
        value = pack_frames([frame.packed for frame in content])
        limit = ("NOMKSTREAM", "MAXLEN", "~", self._settings.max_inbox_entries)
        return ("XADD", content[0].inbox, *limit, "*", "frames", value)

    def settle(self, batch: Batch, replies: list[Reply], now: float) -> None:
        """Process the replies to a batch; frames for a missing inbox are held.

        An exception of a callback is raised after all replies are processed.
        """
        failure: Exception | None = None
        unwritten: list[QueuedFrame] = []
        for content, reply in zip(batch.contents, replies, strict=True):
            if isinstance(content, Call):
                try:
                    content.answered(reply)
                except Exception as error:
                    failure = error
            elif reply is None:
                self._retry_at.pop(content[0].inbox, None)
                self._missing_since.setdefault(content[0].inbox, now)
                self._hold(content)
            elif isinstance(reply, OutOfMemoryError):
                self.refusal = str(reply)
                unwritten += content
            elif isinstance(reply, ResponseError):
                failure = AccessDenied(str(reply)) if isinstance(reply, NoPermissionError) else failure
                self.refusal = str(reply)
                self._missing_since.pop(content[0].inbox, None)
                self._retry_at[content[0].inbox] = now + RETRY_REFUSED
                self._hold(content)
            else:
                self._retry_at.pop(content[0].inbox, None)
                self.refusal = self.refusal if self._retry_at else ""
                self._missing_since.pop(content[0].inbox, None)
                self._remember(content, now)
        if unwritten:
            self._stall(unwritten, now)
        if failure is not None:
            raise failure

    def give_back(self, batch: Batch) -> None:
        """Put an unacknowledged batch back, without its calls: their callers repeat them."""
        for content in reversed(batch.contents):
            if isinstance(content, Call):
                content.dropped()
            else:
                self._queue.extendleft(reversed(content))

    def drop_calls(self) -> None:
        """Drop the calls that wait: their callers repeat them."""
        waiting, self._queue = self._queue, deque()
        for item in waiting:
            if isinstance(item, Call):
                item.dropped()
            else:
                self._queue.append(item)

    def _hold(self, frames: list[QueuedFrame]) -> None:
        inbox = frames[0].inbox
        held = self._held.setdefault(inbox, [])
        held.extend(frames)
        waiting, self._queue = self._queue, deque()
        for item in waiting:
            if isinstance(item, QueuedFrame) and item.inbox == inbox:
                held.append(item)
            else:
                self._queue.append(item)

    def _stall(self, frames: list[QueuedFrame], now: float) -> None:
        waiting = [item for item in self._queue if isinstance(item, QueuedFrame)]
        self._queue = deque(item for item in self._queue if isinstance(item, Call))
        self._stalled = [*frames, *waiting, *self._stalled]
        self._stalled_until = now + RETRY_REFUSED

    def _remember(self, frames: list[QueuedFrame], now: float) -> None:
        for frame in frames:
            self._count(frame, -1)
            self._written.append((now, frame))
            self._written_bytes += len(frame.packed)
        self.forget_old(now)

    def forget_old(self, now: float) -> None:
        """Drop acknowledged frames that no restart of Redis can lose any more, or that are too many."""
        written, settings = self._written, self._settings
        oldest = now - settings.replay_seconds
        while written and (
            written[0][0] < oldest
            or len(written) > settings.max_replay_messages
            or self._written_bytes > settings.max_replay_bytes
        ):
            _, frame = written.popleft()
            self._written_bytes -= len(frame.packed)

    def retry_held(self, now: float) -> list[Frame]:
        """Queue held frames again; return those whose inbox has been missing for too long."""
        lost: list[Frame] = []
        if self._stalled_until <= now:
            self._queue.extend(self._stalled)
            self._stalled = []
        for inbox in [inbox for inbox in self._held if self._retry_at.get(inbox, now) <= now]:
            frames = self._held.pop(inbox)
            refused = inbox in self._retry_at  # so it is not missing
            if refused or now - self._missing_since.setdefault(inbox, now) <= self._settings.grace:
                self._queue.extend(frames)
                continue
            del self._missing_since[inbox]
            lost.extend(queued.frame for queued in frames)
            for queued in frames:
                self._count(queued, -1)
        return lost

    def link_up(self) -> None:
        """Redis is back: the nodes whose inboxes are missing get all their time again."""
        self._missing_since.clear()

    def replay(self, now: float) -> int:
        """Queue the frames written lately again, before everything that waits; return how many they are."""
        self.forget_old(now)
        again = [frame for _, frame in self._written]
        for frame in again:
            self._count(frame)
        held = [frame for frames in self._held.values() for frame in frames]
        self._queue.extendleft(reversed([*again, *held, *self._stalled]))
        self._held.clear()
        self._stalled = []
        self._written.clear()
        self._written_bytes = 0
        return len(again)

    def clear(self) -> None:
        """Drop everything: this node was fenced, and no node would accept its frames."""
        self.drop_calls()
        self._queue.clear()
        self._held.clear()
        self._stalled = []
        self._missing_since.clear()
        self._retry_at.clear()
        self.refusal = ""
        self._written.clear()
        self.frames = self.bytes = self._written_bytes = 0
