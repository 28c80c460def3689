"""The base of the clients of a trial: peers in rooms of two, each of which sends numbered messages to the other."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.signaling.account import Account

ENTER_TIMEOUT = 30.0
"""Seconds that all peers together may take to join."""

LEAVE_TIMEOUT = 10.0


class Clients(ABC):
    """The peers of a trial. `urls`: where each of them connects, as ws://host:port."""

    def __init__(self, urls: Sequence[str], account: Account) -> None:
        self._urls = urls
        self._account = account

    @abstractmethod
    async def enter(self) -> None:
        """Connect all peers and join. Raises TimeoutError."""

    @abstractmethod
    async def leave(self) -> None:
        """Disconnect all peers."""

    def send(self, peer: int) -> None:
        """Send a message to the other peer in the room."""
        self._write(peer, self._account.send(peer, time.monotonic_ns()))

    @abstractmethod
    def _write(self, peer: int, sent_at: int) -> None:
        """Send the message of a peer that the account knows by `sent_at`."""


def room_of(peer: int) -> str:
    """Return the room of a peer."""
    return f"room-{peer // 2:06d}"


def name_of(peer: int) -> str:
    """Return the id of a peer."""
    return f"peer-{peer:06d}"


def other(peer: int) -> int:
    """Return the other peer in the room of a peer."""
    return peer ^ 1
