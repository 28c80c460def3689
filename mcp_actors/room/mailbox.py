"""The messages of one room that have not reached their receivers yet, where they wait for peers that are absent."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mcp_actors.protocol.identifiers import Incarnation, PeerId
    from mcp_actors.protocol.messages import Targeted

LETTER_OVERHEAD = 512
"""Bytes that a message takes beside its text."""


class Letter(NamedTuple):
    """A message of one peer to another, in the sender's own text."""

    sender: PeerId
    target: PeerId
    request: Targeted
    frame: bytes

    @property
    def size(self) -> int:
        """The bytes of memory that it takes."""
        return len(self.frame) + LETTER_OVERHEAD


class Mailbox:
    """At most `max_bytes` of messages, of which `max_messages` of one sender wait for peers that are not there.

    Others are on their way to peers of other nodes, until their receipts arrive.
    """

    __slots__ = ("_batches", "_bytes", "_in_flight", "_last", "_max_bytes", "_max_messages", "_sent", "_waiting")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._bytes = self._last = 0
        self._waiting: dict[PeerId, list[Letter]] = {}  # by target, in their order
        self._sent: dict[PeerId, int] = {}  # waiting messages by sender
        self._batches: dict[tuple[PeerId, PeerId], int] = {}  # of each sender and target that have waiting messages
        self._in_flight: dict[Incarnation, dict[tuple[Incarnation, int], Letter]] = {}  # by target

    @property
    def bytes(self) -> int:
        """The memory that all messages take."""
        return self._bytes

    def put(self, letter: Letter) -> int | None:
        """Keep a message for an absent peer. Return the number of a new batch, 0 if there is one; None if it is full.

        A batch is all that waits between the same two peers.
        """
        sent = self._sent.get(letter.sender, 0)
        if sent >= self._max_messages or not self._take(letter):
            return None
        self._sent[letter.sender] = sent + 1
        self._waiting.setdefault(letter.target, []).append(letter)
        pair = (letter.sender, letter.target)
        if pair in self._batches:
            return 0
        self._last += 1
        self._batches[pair] = self._last
        return self._last

    def collect(self, target: PeerId) -> list[Letter]:
        """Remove and return what waits for a peer."""
        return [self._forget(letter) for letter in self._waiting.pop(target, ())]

    def expire(self, sender: PeerId, target: PeerId, batch: int) -> bool:
        """Remove a batch; False if it is not there any more."""
        if self._batches.get((sender, target)) != batch:
            return False
        waiting = self._waiting[target]
        kept = [letter for letter in waiting if letter.sender != sender]
        for letter in waiting:
            if letter.sender == sender:
                self._forget(letter)
        if kept:
            self._waiting[target] = kept
        else:
            del self._waiting[target]
        return True

    def track(self, sender: Incarnation, target: Incarnation, letter: Letter) -> int:
        """Keep a message that goes to another node; return the number for its receipt, 0 if there is no space."""
        if not self._take(letter):
            return 0
        self._last += 1
        self._in_flight.setdefault(target, {})[sender, self._last] = letter
        return self._last

    def arrived(self, sender: Incarnation, target: Incarnation, number: int) -> Letter | None:
        """Remove and return a message whose receipt has arrived."""
        sent = self._in_flight.get(target, {})
        letter = sent.pop((sender, number), None)
        if letter is not None:
            self._bytes -= letter.size
            if not sent:
                del self._in_flight[target]
        return letter

    def lost(self, target: Incarnation) -> list[Letter]:
        """Remove and return the messages to a member that no receipt will come for."""
        letters = list(self._in_flight.pop(target, {}).values())
        self._bytes -= sum(letter.size for letter in letters)
        return letters

    def forget(self, sender: Incarnation) -> None:
        """Forget the messages of a member that are on their way, as it has left and no receipt comes for them."""
        for target, sent in list(self._in_flight.items()):
            for key in [key for key in sent if key[0] == sender]:
                self.arrived(sender, target, key[1])

    def clear(self) -> None:
        """Forget all messages."""
        for table in (self._waiting, self._sent, self._batches, self._in_flight):
            table.clear()
        self._bytes = 0

    def _take(self, letter: Letter) -> bool:
        if self._bytes + letter.size > self._max_bytes:
            return False
        self._bytes += letter.size
        return True

    def _forget(self, letter: Letter) -> Letter:
        """Take a waiting message out of the books."""
        self._bytes -= letter.size
        self._batches.pop((letter.sender, letter.target), None)
        self._sent[letter.sender] -= 1
        if not self._sent[letter.sender]:
            del self._sent[letter.sender]
        return letter
