"""A queue that serves the clients of all addresses in turn, however many wait of one of them."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Entries by address: the first of each address, then the second of each, and so on."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[T]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, address: str, entry: T) -> None:
        """Add an entry behind those of its address."""
        self._waiting.setdefault(address, deque()).append(entry)
        self._count += 1

    def pop(self) -> T:
        """Remove and return the entry whose turn it is. Raises `StopIteration` if there is none."""
        address = next(iter(self._waiting))
        entries = self._waiting.pop(address)
        entry = entries.popleft()
        if entries:
            self._waiting[address] = entries
        self._count -= 1
        return entry
