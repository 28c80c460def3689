"""The messages of a session that its client may not have received yet."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mcp_actors.protocol.codec import JSON
from mcp_actors.protocol.handover import SessionState
from mcp_actors.protocol.subject import subject

if TYPE_CHECKING:
    from mcp_actors.protocol.identifiers import RoomId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HELD_LIMIT = 2
"""Times the limits that a buffer may exceed them while it holds messages: what comes behind these is kept, too."""

SPARE = 8
"""Such a part of the limits is made free at once when rooms are weighed against each other, as that takes a while."""

MAX_DROPPED = 16
"""Times the limit of messages that a buffer may have places of dropped ones between those that it keeps."""

DROPPED: tuple[bytes, bytes, RoomId | None] = (b"", b"", None)
"""The place of a message that was dropped from between others: its body is empty, as that of no message is."""


class ReplayBuffer:
    """Numbers messages from 1, and keeps the latest until the client acknowledges them.

    A message is kept without its opening brace and number, in two parts, with its room; the second part is often shared
    by many receivers. The last one has the number `last`, and `bytes` are kept. Beyond `max_frames` or `max_bytes`, the
    oldest are lost of the room that has most, so that a flood in one room pushes out none of another. Those that are
    held are not lost, whose senders were told that they wait: `has_room` says whether one more may be.
    """

    __slots__ = (
        *("_dropped", "_frames", "_gap", "_held", "_held_bytes", "_held_to", "_max_bytes", "_max_frames", "_room"),
        *("_room_since", "bytes", "last"),
    )

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self.last = self.bytes = 0
        self._frames: list[tuple[bytes, bytes, RoomId | None]] = []
        self._dropped = 0  # places in `_frames` without a message
        self._held = self._held_bytes = 0  # of the latest messages: held, or behind one that is
        self._held_to = 0
        self._gap = 0  # messages were lost just before the one with this number
        self._room: RoomId | None = None  # of the last message, and of all since this number:
        self._room_since = 1
        self._max_frames = max_frames
        self._max_bytes = max_bytes

    def __len__(self) -> int:
        return len(self._frames) - self._dropped

    def bodies(self) -> Iterator[bytes]:
        """Return the second parts of the messages that are kept."""
        return (body for _, body, _ in self.kept())

    @property
    def _before(self) -> int:
        """The number before that of the first message that is kept."""
        return self.last - len(self._frames)

    def has_room(self, size: int, room: RoomId | None = None, *, alone: bool = True) -> bool:
        """Whether one more message of so many bytes may be held.

        Unless its room is `alone`, it may hold as much as is free, so that something is left for other rooms.
        """
        held, held_bytes = self._held, self._held_bytes
        if held >= self._max_frames or held_bytes + size > self._max_bytes:
            return False
        if alone or (2 * held < self._max_frames and 2 * (held_bytes + size) <= self._max_bytes):
            return True
        frames = self._frames
        own = [len(head) + len(body) for head, body, of in frames[len(frames) - held :] if of == room]
        return len(own) < self._max_frames - held and sum(own) + size <= self._max_bytes - held_bytes

    def append(self, head: bytes, body: bytes, room: RoomId | None = None, *, hold: bool = False) -> int:
        """Keep a message and return its number."""
        frames, size = self._frames, len(head) + len(body)
        frames.append((head, body, room))
        self.bytes = total = self.bytes + size
        self.last = number = self.last + 1
        if room != self._room:
            self._room, self._room_since = room, number
        if hold:
            self._held_to = number
        if hold or self._held:
            self._held += 1
            self._held_bytes += size
        if total > self._max_bytes or len(frames) > self._max_frames:
            self._make_room()
        return number

    def keep(self, head: bytes, body: bytes, room: RoomId | None = None, *, hold: bool, alone: bool = True) -> None:
        """Keep a message for a client that is away. It is lost if there is no room behind those that are held."""
        if self._held and not self.has_room(len(head) + len(body), room, alone=alone):
            self._gap = self.last + 1
        else:
            self.append(head, body, room, hold=hold)

    def mark_gap(self) -> None:
        """Note that the client will miss a message behind those that are here."""
        self._gap = self.last + 1

    def acknowledge(self, received: int) -> None:
        """Drop the messages up to a number."""
        count = received - self._before
        if self._dropped or self._held:
            self._drop(count)
            if received >= self._held_to:
                self._held = self._held_bytes = 0
        elif count > 0:
            frames = self._frames
            self.bytes -= sum([len(head) + len(body) for head, body, _ in frames[:count]])
            del frames[:count]

    def after(self, received: int) -> list[tuple[int, bytes, bytes]]:
        """Return the messages above a number, as far as they are kept: the number and both parts of each."""
        start = max(received - self._before, 0)
        numbered = enumerate(self._frames[start:], self._before + start + 1)
        return [(number, frame[0], frame[1]) for number, frame in numbered if frame[1]]

    def kept(self) -> list[tuple[bytes, bytes, RoomId | None]]:
        """Return all messages that are kept: both parts of each, and its room."""
        return [frame for frame in self._frames if frame[1]]

    def withhold(self, received: int, is_refused: Callable[[bytes], bool]) -> None:
        """Forget messages above a number if their text is refused; others move up, so that no number is missing."""
        before, frames, first_held = self._before, self._frames, len(self._frames) - self._held
        above = range(max(received - before, 0), len(frames))
        gone = [i for i in above if frames[i][1] and is_refused(b"{%b%b" % frames[i][:2])]
        sizes = {i: len(frames[i][0]) + len(frames[i][1]) for i in gone}
        held = [i for i in gone if i >= first_held]
        self._frames = [frame for i, frame in enumerate(frames) if i not in sizes]
        self.last -= len(gone)
        self.bytes -= sum(sizes.values())
        self._held -= len(held)
        self._held_bytes -= sum(sizes[i] for i in held)
        self._held_to -= sum(before + i < self._held_to for i in gone)
        self._gap -= sum(before + i + 1 < self._gap for i in gone)
        self._room, self._room_since = None, self.last + 1

    def is_complete(self, received: int) -> bool:
        """Whether a client that has the messages up to a number gets all others."""
        return max(self._before, self._gap) <= received <= self.last

    def state(self) -> SessionState:
        """Return what another node needs to continue."""
        numbered = enumerate(self._frames, self._before + 1)
        kept = [JSON.prefix(frame[0], number) + frame[1] if frame[1] else b"" for number, frame in numbered]
        return SessionState(self.last, kept, self._gap)

    def restore(self, state: SessionState, *, lossy: bool) -> None:
        """Continue from the state at another node instead; `lossy`: messages after that state were lost."""
        first = state.number - len(state.kept) + 1
        self._frames = [
            (b"", frame[len(JSON.prefix(b"", number)) :], subject(frame)[0]) if frame else DROPPED
            for number, frame in enumerate(state.kept, first)
        ]
        self._dropped = sum(not frame[1] for frame in self._frames)
        self.bytes = self._held_bytes = sum(len(body) for _, body, _ in self._frames)
        self.last = self._held_to = self._room_since = state.number
        self._room = self._frames[-1][2] if self._frames else None
        self._held = len(self._frames)
        self._gap = state.number + 1 if lossy else state.gap
        self._drop(0)

    def _make_room(self) -> None:
        """Drop what the limits demand."""
        if self._room_since <= self._before + 1:
            self._drop(0)
        elif self._is_over(len(self), self.bytes):
            self._drop_heaviest()
        if len(self._frames) > MAX_DROPPED * self._max_frames:
            self._drop(len(self._frames) - MAX_DROPPED * self._max_frames)

    def _drop(self, count: int) -> None:
        """Drop at least so many messages, the oldest, and as many as the limits demand."""
        frames, size, left = self._frames, self.bytes, len(self)
        total, dropped = len(frames), 0
        first_held = total - self._held
        while dropped < total and (dropped < count or not frames[dropped][1] or self._is_over(left, size)):
            frame = frames[dropped]
            length = len(frame[0]) + len(frame[1])
            size -= length
            if dropped >= first_held:
                self._held -= 1
                self._held_bytes -= length
            if not frame[1]:
                self._dropped -= 1
            else:
                left -= 1
            dropped += 1
        self.bytes = size
        del frames[:dropped]

    def _drop_heaviest(self) -> None:
        """Drop messages of the rooms that have most, the oldest first; held ones only if there are no others."""
        frames, before = self._frames, self._before
        end, times = len(frames) - self._held, 1
        if not any(frame[1] for frame in frames[:end]):
            end, times = len(frames), HELD_LIMIT
        weights: dict[RoomId | None, int] = {}
        oldest: dict[RoomId | None, deque[int]] = {}
        for i, frame in enumerate(frames):
            if frame[1]:
                weights[frame[2]] = weights.get(frame[2], 0) + self._weight(frame)
                if i < end:
                    oldest.setdefault(frame[2], deque()).append(i)
        most, most_bytes = (limit * times - limit // SPARE for limit in (self._max_frames, self._max_bytes))
        while oldest and (len(self) > most or self.bytes > most_bytes):
            room = max(oldest, key=weights.__getitem__)
            i = oldest[room].popleft()
            if not oldest[room]:
                del oldest[room]
            weights[room] -= self._weight(frames[i])
            self._lose(i, before + i + 1)
        self._drop(0)

    def _lose(self, i: int, number: int) -> None:
        """Drop one message from between others."""
        head, body, _ = self._frames[i]
        self._frames[i] = DROPPED
        self._dropped += 1
        self.bytes -= len(head) + len(body)
        if i >= len(self._frames) - self._held:
            self._held_bytes -= len(head) + len(body)
        self._gap = max(self._gap, number)

    def _weight(self, frame: tuple[bytes, bytes, RoomId | None]) -> int:
        """The part of the limits, of bytes and of messages, that a message takes."""
        return (len(frame[0]) + len(frame[1])) * self._max_frames + self._max_bytes

    def _is_over(self, left: int, size: int) -> bool:
        """Whether the first of the messages that are left, which have so many bytes, must go."""
        times = HELD_LIMIT if left <= self._held else 1
        return left > times * self._max_frames or size > times * self._max_bytes
