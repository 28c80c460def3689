"""Accounts for every message in flight: delivered, lost, duplicated or reordered."""

from __future__ import annotations


class Ledger:
    """The messages of some senders, each with one receiver. A message is identified by its sender and time of sending.

    `delivered`: messages that arrived at least once. `duplicated`: arrivals beyond the first. `reordered`: messages
    that arrived after one that the same sender sent later.
    """

    def __init__(self, senders: int) -> None:
        self.sent = self.delivered = self.duplicated = self.reordered = 0
        self._in_flight: list[set[int]] = [set() for _ in range(senders)]
        self._last_sent = [0] * senders
        self._last_arrived = [0] * senders

    @property
    def lost(self) -> int:
        """Messages that have not arrived so far."""
        return self.sent - self.delivered

    def send(self, sender: int, now: int) -> int:
        """Record a message sent at `now` ns. Return the time to write into it, later than that of any before it."""
        sent_at = self._last_sent[sender] = max(now, self._last_sent[sender] + 1)
        self._in_flight[sender].add(sent_at)
        self.sent += 1
        return sent_at

    def arrive(self, sender: int, sent_at: int) -> bool:
        """Record the arrival of the message sent at `sent_at`. Return whether it is the first."""
        in_flight = self._in_flight[sender]
        if sent_at not in in_flight:
            self.duplicated += 1
            return False
        in_flight.remove(sent_at)
        self.delivered += 1
        if sent_at < self._last_arrived[sender]:
            self.reordered += 1
        else:
            self._last_arrived[sender] = sent_at
        return True

    def missing(self, sender: int) -> frozenset[int]:
        """Return when the messages of a sender that have not arrived so far were sent."""
        return frozenset(self._in_flight[sender])

    def balance(self) -> dict[str, float]:
        """Return all counts, and as `amiss` the sum of those that should be 0."""
        wrong = {"lost": self.lost, "duplicated": self.duplicated, "reordered": self.reordered}
        return {"sent": self.sent, "delivered": self.delivered, **wrong, "amiss": sum(wrong.values())}
