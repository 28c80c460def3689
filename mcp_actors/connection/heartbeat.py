"""The signs of life of one client: answers to pings, bytes that arrive, and bytes that it takes."""

from __future__ import annotations

import secrets

MAX_UNANSWERED = 64
"""Pings that are remembered until they are answered."""

CLIENT_FRAME_HEADER = 6
"""Bytes of a client's control frame beside its data: two, and a mask."""

PATIENCE = 2
"""Rounds in which a client may take nothing of what waits for it."""


ROUNDS_TO_ANSWER = 3
"""Rounds after which a ping behind a message has been answered, or the connection is closed: one passes until the ping,
and one until the answer."""

NOTHING_SENT = (0,) * ROUNDS_TO_ANSWER


class Heartbeat:
    """Records what a client did since the last round.

    A pong that answers no ping proves nothing: a client can send it without reading anything.
    """

    __slots__ = ("_received", "_sent", "_stuck_for", "_taken", "_takes", "_unanswered", "_unasked")

    def __init__(self) -> None:
        self._unanswered: list[bytes] = []
        self._received = -1
        self._unasked = 0  # bytes of pongs that answer no ping
        self._taken: int | None = None
        self._stuck_for = 0
        self._takes = False
        self._sent = NOTHING_SENT

    def ping(self, number: int) -> bytes:
        """Return the data of a new ping: a number to be acknowledged, and a mark that cannot be guessed."""
        data = b"%d.%08x" % (number, secrets.randbits(32))
        self._unanswered.append(data)
        del self._unanswered[:-MAX_UNANSWERED]
        return data

    def answered(self, data: bytes) -> int | None:
        """Return the number of the ping that a pong answers, with all pings before it; None if it answers none."""
        if data not in self._unanswered:
            self._unasked += CLIENT_FRAME_HEADER + len(data)
            return None
        del self._unanswered[: self._unanswered.index(data) + 1]
        return int(data.partition(b".")[0])

    def take_heard(self, received: int) -> bool:
        """Return whether anything but pongs that nobody asked for arrived since the last call.

        A client that has much to read, and takes some of it, counts as heard, too: the ping is behind that.
        `received`: the bytes that have arrived so far.
        """
        received -= self._unasked
        heard, self._received = received > self._received or self._takes, received
        return heard

    def sent_long_ago(self, number: int) -> int:
        """Note in each round the number of the last message that was sent; return that of `ROUNDS_TO_ANSWER` ago."""
        before, *later = self._sent
        self._sent = (*later, number)
        return before

    def is_stuck(self, taken: int | None) -> bool:
        """Return whether the client has taken nothing for `PATIENCE` rounds, though something waited all the time.

        `taken`: the bytes that it has taken so far; None if nothing waits.
        """
        self._takes = taken is not None and self._taken is not None and taken > self._taken
        self._stuck_for = self._stuck_for + 1 if taken is not None and taken == self._taken else 0
        self._taken = taken
        return self._stuck_for >= PATIENCE
