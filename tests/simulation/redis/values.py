"""Values of keys of the simulated Redis: sorted sets and streams; strings, hashes and sets are Python's own."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

NODE = 100
"""Entries of a node of a stream: trimming with `~` drops whole nodes."""

LAST = 2**64 - 1


class EntryId(NamedTuple):
    """The id of an entry of a stream."""

    ms: int
    sequence: int

    def __bytes__(self) -> bytes:
        return b"%d-%d" % self


class Entry(NamedTuple):
    """An entry of a stream: its id, fields and values."""

    id: EntryId
    fields: list[bytes]


class SortedSet(dict[bytes, float]):
    """Scores by member."""

    def ordered(self) -> list[tuple[bytes, float]]:
        """Members and scores in order."""
        return sorted(self.items(), key=lambda item: (item[1], item[0]))


class Stream:
    """Entries in order. `node`: how many are trimmed together."""

    def __init__(self, node: int = NODE) -> None:
        self.entries: list[Entry] = []
        self.last = EntryId(0, 0)
        self._node = node

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, ms: int, fields: list[bytes]) -> EntryId:
        """Append an entry with an id of the server."""
        last = self.last
        self.last = EntryId(ms, 0) if ms > last.ms else EntryId(last.ms, last.sequence + 1)
        self.entries.append(Entry(self.last, fields))
        return self.last

    def trim_length(self, limit: int) -> int:
        """Drop whole nodes of the oldest entries, as long as so many are left."""
        count = max(0, (len(self.entries) - limit) // self._node * self._node)
        del self.entries[:count]
        return count

    def delete(self, one: EntryId) -> bool:
        """Delete an entry; return whether it was there."""
        place = bisect_left(self.entries, one, key=lambda entry: entry.id)
        found = place < len(self.entries) and self.entries[place].id == one
        if found:
            del self.entries[place]
        return found

    def trim_before(self, first: EntryId) -> int:
        """Drop whole nodes of entries before an id."""
        count = bisect_left(self.entries, (first,)) // self._node * self._node
        del self.entries[:count]
        return count

    def after(self, last: EntryId, count: int | None) -> list[Entry]:
        """The entries after an id."""
        first = bisect_right(self.entries, last, key=lambda entry: entry.id)
        return self.entries[first : None if count is None else first + count]

    def between(self, first: EntryId, last: EntryId) -> list[Entry]:
        """The entries from an id to another."""
        begin = bisect_left(self.entries, first, key=lambda entry: entry.id)
        return self.entries[begin : bisect_right(self.entries, last, key=lambda entry: entry.id)]


Value = bytes | dict[bytes, bytes] | dict[bytes, None] | SortedSet | Stream


class Set(dict[bytes, None]):
    """The members of a set, in the order in which they were added."""


class Hash(dict[bytes, bytes]):
    """Values by field, in the order in which they were added."""


def kind_of(value: object) -> str:
    """The name of a type."""
    match value:
        case None:
            return "none"
        case bytes():
            return "string"
        case Hash():
            return "hash"
        case Set():
            return "set"
        case SortedSet():
            return "zset"
        case _:
            return "stream"
