"""Who has said nothing yet, the longest first."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class FirstWords(Generic[T]):
    """The connections that have said nothing valid yet, and which of them had `patience` seconds to; 0 is for ever."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: dict[T, float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def opened(self, connection: T, now: float) -> None:
        """A connection is there. Each `now` is no earlier than the one before."""
        if self._patience:
            self._since[connection] = now

    def done(self, connection: T) -> None:
        """It has said something, or is gone."""
        self._since.pop(connection, None)

    def late(self, now: float) -> list[T]:
        """Those whose time is over, which are told only once."""
        late = []
        for connection, since in self._since.items():
            if now - since < self._patience:
                break
            late.append(connection)
        for connection in late:
            del self._since[connection]
        return late
